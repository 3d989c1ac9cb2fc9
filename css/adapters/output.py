"""The way out of a link: what it writes to, and when that is full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer


class Output(Protocol):
    """Takes bytes while it is not full; calls `on_room` when it is so no longer."""

    full: bool

    def write(self, data: bytes) -> None: ...
    def close(self) -> None:
        """Take no more; what has been taken is still sent."""


def output_to(transport: Any, on_room: Callable[[], None]) -> Output:
    """@return: the fastest way out through a transport."""
    # Not by asking for `writeSomeData`: a TLS transport has it too, of the socket below, where all is in the clear.
    if isinstance(transport, FileDescriptor):
        return DirectOutput(transport, on_room)
    return BufferedOutput(transport, on_room)


@implementer(IPullProducer)
class DirectOutput:
    """Sends at once, not in the reactor's next turn, which saves a poll and two changes of what is polled for."""

    def __init__(self, transport: FileDescriptor, on_room: Callable[[], None]) -> None:
        self.full = False
        self._transport = transport
        self._on_room = on_room
        self._registering = False

    def write(self, data: bytes) -> None:
        sent = self._transport.writeSomeData(data)
        if sent == len(data):
            return
        # The socket is full, or has an error: the reactor takes over the rest, and will notice which.
        self.full = True
        self._transport.write(data[sent:] if isinstance(sent, int) else data)
        self._registering = True
        self._transport.registerProducer(self, False)
        self._registering = False

    def resumeProducing(self) -> None:
        """The rest has been sent; or, while registering, the transport asks for more before it has sent anything."""
        if not self._registering:
            self._transport.unregisterProducer()
            self.full = False
            self._on_room()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    def close(self) -> None:
        self._transport.unregisterProducer()


@implementer(IPushProducer)
class BufferedOutput:
    """Writes to the transport's buffer until that asks for a pause."""

    def __init__(self, transport: Any, on_room: Callable[[], None]) -> None:
        self.full = False
        self.write = transport.write
        self._transport = transport
        self._on_room = on_room
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False
        self._on_room()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    def close(self) -> None:
        self._transport.unregisterProducer()
