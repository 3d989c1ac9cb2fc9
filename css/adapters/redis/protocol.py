"""txredisapi's protocol with its slow and unsafe parts replaced: one queue of commands, one time-out, no conversion.

Stock, a command passes several Deferreds and a delayed call of its own, and a late reply could meet another command.
Here a reply always belongs to the oldest command, and when that one is overdue the whole connection is dropped.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import hiredis
import txredisapi
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from css.adapters.output import Output, output_to
from css.adapters.redis.scripts import Script
from css.ports.store import StoreError, WrongType

_GRACE_SECONDS = 0.05
"""A reply may be waiting in the socket when this process itself was late: it is given one more turn of the reactor."""

_WRONG_SERVER = ("READONLY", "MASTERDOWN")

_Pending = tuple["Deferred[Any]", float, Script | None, tuple[bytes, ...]]


class StoreProtocol(txredisapi.HiredisProtocol):
    """One connection. Replies are bytes, ints, None and lists of these; an error reply is a `StoreError`."""

    def __init__(self, reactor: IReactorTime, timeout_seconds: float, max_in_flight: int) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self._clock = reactor
        self._timeout_seconds = timeout_seconds
        self._max_in_flight = max_in_flight
        self._pending: deque[_Pending] = deque()
        self._output: Output
        self._out: list[bytes] = []
        self._reading = False
        self._flush_call: IDelayedCall | None = None
        self._check: IDelayedCall | None = None
        self._suspect: Deferred[Any] | None = None
        self._closing = "the connection is not open"
        self._lost = False
        self._waiting_for_loss: list[Deferred[None]] = []
        self._waiting_for_close: list[Deferred[None]] = []

    @property
    def in_flight(self) -> int:
        """How many commands wait for their reply."""
        return len(self._pending)

    @property
    def reason(self) -> str:
        """Why it is closed, empty while it is open."""
        return self._closing

    def when_lost(self) -> Deferred[None]:
        """@return: fires when the connection is of no more use: dropped, or lost. Never fails."""
        return _when(bool(self._closing), self._waiting_for_loss)

    def when_closed(self) -> Deferred[None]:
        """@return: fires when the connection has gone. Never fails."""
        return _when(self._lost, self._waiting_for_close)

    def connectionMade(self) -> None:
        # The stock method does AUTH and SELECT here, and gives up for ever when the link is lost in them.
        self._closing = ""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._output = output_to(self.transport, self._flush)

    def run_script(self, script: Script, arguments: tuple[bytes, ...]) -> Deferred[Any]:
        """Call a script without keys; one that the server has forgotten is sent again with its text."""
        return self._send(script.call(arguments), script, arguments)

    def execute_command(self, *words: Any, **options: Any) -> Deferred[Any]:
        """What all commands of txredisapi come down to."""
        result = self._send(hiredis.pack_command(words), None, ())
        convert = options.get("post_proc")
        return result.addCallback(convert) if convert is not None else result

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self._reading = True
        try:
            self._read(data)
        finally:
            self._reading = False
        self._flush()

    def _read(self, data: bytes) -> None:
        """Hand over the replies that are whole; what is asked for in consequence leaves in one write afterwards."""
        reader, pending = self._reader, self._pending
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not False and pending:
                if isinstance(reply, txredisapi.ResponseError):
                    self._refused(str(reply), pending.popleft())
                else:
                    pending.popleft()[0].callback(reply)
                reply = reader.gets()
            if reply is not False and not self._closing:
                self.drop("the server sent what nobody asked for")
        except txredisapi.InvalidData as error:
            self.drop(f"the server answers no Redis protocol: {error}")

    def drop(self, reason: str) -> None:
        """Close at once; whatever is under way fails, and nothing that still arrives can be taken for its reply."""
        self._give_up(reason)
        self.transport.abortConnection()

    def connectionLost(self, why: Failure) -> None:
        self.connected = 0
        self._lost = True
        for call in (self._check, self._flush_call):
            if call is not None:
                call.cancel()
        self._check = self._flush_call = None
        self._give_up(f"connection lost: {why.getErrorMessage()}")
        _fire(self._waiting_for_close)

    def _send(self, command: bytes, script: Script | None, arguments: tuple[bytes, ...]) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        if self._closing:
            result.errback(StoreError(self._closing))
        elif len(self._pending) >= self._max_in_flight:
            result.errback(StoreError("too many commands are in flight"))
        else:
            self._write(command, (result, self._clock.seconds(), script, arguments))
        return result

    def _write(self, command: bytes, entry: _Pending) -> None:
        self._pending.append(entry)
        self._out.append(command)
        if self._flush_call is None and not self._reading:
            self._flush_call = self._clock.callLater(0, self._flush_later)
        if self._check is None:
            self._check = self._clock.callLater(self._timeout_seconds, self._check_oldest)

    def _flush_later(self) -> None:
        self._flush_call = None
        self._flush()

    def _flush(self) -> None:
        """Write all that was asked for in this turn at once, unless there is no room."""
        out = self._out
        if out and not self._closing and not self._output.full:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._output.write(data)

    def _refused(self, message: str, entry: _Pending) -> None:
        result, _, script, arguments = entry
        if script is not None and message.startswith("NOSCRIPT") and not self._closing:
            self._write(script.call(arguments, with_source=True), (result, self._clock.seconds(), None, ()))
            return
        # A script's error begins with its own words in older servers.
        result.errback((WrongType if "WRONGTYPE" in message else StoreError)(message))
        if message.startswith(_WRONG_SERVER):
            self.drop(f"not a master: {message}")

    def _check_oldest(self) -> None:
        self._check = None
        if not self._pending:
            return
        result, sent, _, _ = self._pending[0]
        left = sent + self._timeout_seconds - self._clock.seconds()
        if left <= 0 and self._suspect is result:
            self.drop(f"no answer within {self._timeout_seconds} s")
            return
        self._suspect = result if left <= 0 else None
        self._check = self._clock.callLater(max(left, _GRACE_SECONDS), self._check_oldest)

    def _give_up(self, reason: str) -> None:
        self._closing = self._closing or reason
        failed = list(self._pending)
        self._pending.clear()
        self._out.clear()
        # First those who say that the store is away: a failed command may be tried again at once.
        _fire(self._waiting_for_loss)
        for result, *_ in failed:
            result.errback(StoreError(reason))


def _when(happened: bool, waiting: list[Deferred[None]]) -> Deferred[None]:
    result: Deferred[None] = Deferred()
    if happened:
        result.callback(None)
    else:
        waiting.append(result)
    return result


def _fire(waiting: list[Deferred[None]]) -> None:
    fired = list(waiting)
    waiting.clear()
    for each in fired:
        each.callback(None)
