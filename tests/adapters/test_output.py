"""Ways out: all bytes leave, in order, however little room there is."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.output import BufferedOutput, DirectOutput, output_to


class Socket(FileDescriptor):
    """Takes so many bytes at a time, then none until the next turn."""

    def __init__(self, room: list[int]) -> None:
        super().__init__(MemoryReactor())
        self.connected = True
        self.taken = b""
        self.room = room

    def fileno(self) -> int:
        return 1

    def writeSomeData(self, data: bytes) -> Any:  # noqa: N802 (Twisted's name)
        size = self.room.pop(0) if self.room else len(data)
        if size < 0:
            return CONNECTION_LOST
        self.taken += bytes(data)[:size]
        return min(size, len(data))


class Outputs(SynchronousTestCase):
    def test_choice(self) -> None:
        self.assertIsInstance(output_to(Socket([]), lambda: None), DirectOutput)
        self.assertIsInstance(output_to(StringTransport(), lambda: None), BufferedOutput)

    def test_at_once(self) -> None:
        socket = Socket([])
        output = output_to(socket, lambda: None)
        output.write(b"abc")
        self.assertEqual(socket.taken, b"abc")
        self.assertFalse(output.full)
        self.assertEqual(socket.reactor.getWriters(), [])

    @given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.lists(st.integers(0, 30), max_size=60))
    def test_in_order_whatever_the_room(self, pieces: list[bytes], room: list[int]) -> None:
        socket = Socket(list(room))
        left = list(pieces)

        def go_on() -> None:
            while left and not output.full:
                output.write(left.pop(0))

        output = output_to(socket, go_on)
        go_on()
        while output.full:
            socket.doWrite()
        self.assertEqual(left, [])
        self.assertEqual(socket.taken, b"".join(pieces))

    def test_lost(self) -> None:
        socket = Socket([-1, -1])
        output = output_to(socket, self.fail)
        output.write(b"abc")
        self.assertTrue(output.full)
        self.assertIs(socket.doWrite(), CONNECTION_LOST)

    def test_rest_is_sent_after_close(self) -> None:
        socket = Socket([1, 1])
        output = output_to(socket, self.fail)
        output.write(b"abc")
        output.close()
        socket.loseConnection()
        socket.doWrite()
        socket.doWrite()
        self.assertEqual(socket.taken, b"abc")
