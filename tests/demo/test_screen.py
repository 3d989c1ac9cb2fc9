"""What the demo prints."""

from __future__ import annotations

import io
import time

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from css.demo.screen import Screen, Tone, Warnings, wants_colour


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ScreenTests(SynchronousTestCase):
    """One readable line an event."""

    def screen(self, colour: bool) -> tuple[Screen, io.StringIO]:
        stream = io.StringIO()
        return Screen(stream, colour, lambda: 0.0), stream

    def test_plain(self) -> None:
        screen, stream = self.screen(colour=False)
        screen.event("platform-a", "0660175", "runs on MCU 10.1.0.1", Tone.GOOD)
        time_of_day = time.strftime("%H:%M:%S", time.localtime(0))
        self.assertEqual(stream.getvalue(), f"{time_of_day}  platform-a  0660175   runs on MCU 10.1.0.1\n")

    def test_colour(self) -> None:
        screen, stream = self.screen(colour=True)
        screen.event("platform-a", "0660175", "is refused: NO_RESOURCE", Tone.BAD)
        self.assertIn("\x1b[31mis refused: NO_RESOURCE\x1b[0m\n", stream.getvalue())

    def test_when_colour_is_wanted(self) -> None:
        for stream, environment, wanted in [
            (_Terminal(), {}, True),
            (_Terminal(), {"NO_COLOR": ""}, True),
            (_Terminal(), {"NO_COLOR": "1"}, False),
            (_Terminal(), {"TERM": "dumb"}, False),
            (io.StringIO(), {}, False),
        ]:
            self.assertIs(wants_colour(stream, environment), wanted, environment)

    def test_names_do_not_move_the_cursor(self) -> None:
        screen, stream = self.screen(colour=False)
        screen.event("platform-a", "1", "周会\x1b[2J\r\n")
        self.assertTrue(stream.getvalue().endswith("  周会?[2J??\n".replace("?", "\N{REPLACEMENT CHARACTER}")))

    def test_reader_that_has_gone(self) -> None:
        """As with `make run | head`: silence, and one notice."""
        screen, stream = self.screen(colour=False)
        gone: list[None] = []
        screen.on_gone = lambda: gone.append(None)
        stream.close()
        screen.say("one\ntwo")
        screen.warn("three")
        self.assertEqual(gone, [None])

    def test_warnings(self) -> None:
        """Warnings and worse are shown, in one line; a failure with its message and where to read on."""
        screen, stream = self.screen(colour=False)
        log = Logger("css.test", observer=Warnings(screen, "var/css.log"))
        log.info("quiet")
        log.warn("{name} is away", name="Redis")
        log.error("first line\nsecond line")
        log.failure("it broke", Failure(ValueError("bad value")))
        told = [line.partition("  ")[2] for line in stream.getvalue().splitlines()]
        self.assertEqual(
            told,
            [
                "WARNING: Redis is away",
                "WARNING: first line (see var/css.log)",
                "WARNING: it broke: bad value (see var/css.log)",
            ],
        )

    def test_events_of_old_loggers(self) -> None:
        """Without a level nothing is shown, and nothing breaks."""
        screen, stream = self.screen(colour=False)
        Warnings(screen, "log")({"log_format": "x", "log_level": None})
        Warnings(screen, "log")({"log_format": "x"})
        Warnings(screen, "log")({"log_format": "y", "log_level": LogLevel.critical})
        self.assertEqual(len(stream.getvalue().splitlines()), 1)
