"""Commands on standard input, by a table; and how lines are read without hindering the reactor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

LONGEST_LINE = 4096


class Command(msgspec.Struct, frozen=True):
    """One command.

    @ivar arguments: as the help shows them.
    @ivar run: gets the rest of the line; raises `ValueError`, with words for the user, if that is no good.
    """

    arguments: str
    meaning: str
    run: Callable[[str], object]


class Commands:
    """Runs lines of text; `help` comes for free.

    @param table: commands by name.
    @param say: shows text to the user.
    """

    def __init__(self, table: Mapping[str, Command], say: Callable[[str], object]) -> None:
        self._say = say
        self._table = {**table, "help": Command("", "say what can be typed", self._help)}

    def take(self, line: str) -> None:
        """Do what a line asks for."""
        name, _, rest = line.strip().partition(" ")
        if not name:
            return
        command = self._table.get(name.lower())
        if command is None:
            self._say(f"There is no command {name!r}: type help")
            return
        try:
            command.run(rest.strip())
        except ValueError as error:
            self._say(f"{name}: {error}")

    def _help(self, _: str) -> None:
        rows = {f"{name} {command.arguments}".strip(): command.meaning for name, command in self._table.items()}
        width = max(map(len, rows))
        self._say("\n".join(f"  {usage:<{width}}  {meaning}" for usage, meaning in rows.items()))


@implementer(IReadDescriptor)
class Input:
    """Reads lines from a file descriptor until it ends; that end stops nothing else.

    The descriptor is left in blocking mode: a terminal's is that of its output too. It is read only when there is
    something.

    @param reactor: provides `IReactorFDSet`.
    """

    def __init__(self, reactor: Any, descriptor: int, take: Callable[[str], object]) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._take = take
        self._rest = b""
        self._reading = False

    def start(self) -> None:
        """Begin to read."""
        self._reading = True
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Read no more; fine if it has ended."""
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    def fileno(self) -> int:
        """See `IFileDescriptor.fileno`."""
        return self._descriptor

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """See `ILoggingContext.logPrefix`."""
        return "input"

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor.connectionLost`: how some reactors tell the end of a pipe."""
        self._reading = False
        self._taken(b"\n")

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """See `IReadDescriptor.doRead`."""
        try:
            data = os.read(self._descriptor, LONGEST_LINE)
        except OSError:
            data = b""  # the terminal has gone, or belongs to another process group
        if not data:
            self.stop()
            data = b"\n"
        self._taken(data)

    def _taken(self, data: bytes) -> None:
        """More input; its end is given as an end of line, which the last one may lack."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = b""
        for line in lines:
            self._take(line.decode(errors="replace"))
