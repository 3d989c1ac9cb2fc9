"""What the demo shows: one readable line an event, in colour on a terminal only."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

PLATFORM_WIDTH = 10
NUMBER_WIDTH = 8


class Tone(enum.Enum):
    """How a line is meant; the value is its colour's code."""

    PLAIN = ""
    QUIET = "2"
    GOOD = "32"
    BAD = "31"
    ENDED = "33"


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Colour is for terminals, and for those who have not refused it by NO_COLOR."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class Screen:
    """Prints lines. When nobody reads them any more it falls silent and says so to `on_gone`, once.

    @param seconds: the time of day, seconds since the epoch.
    """

    def __init__(self, stream: TextIO, colour: bool, seconds: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._colour = colour
        self._seconds = seconds
        self._gone = False
        self.on_gone: Callable[[], None] = lambda: None

    def event(self, platform: str, e164: str, what: str, tone: Tone = Tone.PLAIN) -> None:
        """Something has happened to a conference."""
        place, number = f"{platform:<{PLATFORM_WIDTH}}", f"{e164:<{NUMBER_WIDTH}}"
        self._line(f"{self._time()}  {self._paint(place, '36')}  {self._paint(number, '1')}  ", what, tone)

    def say(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Anything else; as it is, without the time."""
        for line in text.splitlines() or [""]:
            self._line("", line, tone)

    def warn(self, text: str) -> None:
        """Something that the one who watches should know."""
        self._line(f"{self._time()}  ", f"WARNING: {text}", Tone.BAD)

    def _time(self) -> str:
        return self._paint(time.strftime("%H:%M:%S", time.localtime(self._seconds())), "2")

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text

    def _line(self, head: str, text: str, tone: Tone) -> None:
        if self._gone:
            return
        # A name may hold anything; it must not move the cursor.
        clean = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
        try:
            self._stream.write(f"{head}{self._paint(clean, tone.value)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True
            self.on_gone()


@implementer(ILogObserver)
class Warnings:
    """Shows what the service logs as a warning or worse; the whole of it is in the log file.

    @param log_name: what to call the log file.
    """

    def __init__(self, screen: Screen, log_name: str) -> None:
        self._screen = screen
        self._log_name = log_name

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if not isinstance(level, type(LogLevel.warn)) or level < LogLevel.warn:
            return
        text = formatEvent(event).strip().splitlines()
        more = f" (see {self._log_name})" if len(text) > 1 or "log_failure" in event else ""
        failure = event.get("log_failure")
        why = f": {failure.getErrorMessage()}" if failure is not None else ""
        self._screen.warn(f"{text[0] if text else 'something failed'}{why}{more}")
