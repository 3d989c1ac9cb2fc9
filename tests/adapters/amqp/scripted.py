"""The broker's end of a link without a network: it reads and writes AMQP by pamqp, which shares no code with ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pamqp import body, commands, frame, header, heartbeat
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from css.adapters.amqp.bus import AmqpBus, AmqpSettings

ANSWERS: dict[type, Callable[[Any], Any]] = {
    commands.Connection.StartOk: lambda _: commands.Connection.Tune(2047, 131072, 60),
    commands.Connection.Open: lambda _: commands.Connection.OpenOk(),
    commands.Connection.Close: lambda _: commands.Connection.CloseOk(),
    commands.Channel.Open: lambda _: commands.Channel.OpenOk(),
    commands.Channel.Close: lambda _: commands.Channel.CloseOk(),
    commands.Exchange.Declare: lambda _: commands.Exchange.DeclareOk(),
    commands.Queue.Declare: lambda asked: commands.Queue.DeclareOk(asked.queue, 0, 0),
    commands.Queue.Bind: lambda _: commands.Queue.BindOk(),
    commands.Basic.Qos: lambda _: commands.Basic.QosOk(),
    commands.Basic.Consume: lambda asked: commands.Basic.ConsumeOk(asked.consumer_tag),
    commands.Basic.Cancel: lambda asked: commands.Basic.CancelOk(asked.consumer_tag),
    commands.Confirm.Select: lambda _: commands.Confirm.SelectOk(),
}


class ScriptedTransport(StringTransport):
    """Hands what the client writes to the broker; counts writes."""

    def __init__(self, broker: ScriptedBroker) -> None:
        super().__init__()
        self.broker = broker
        self.writes: list[bytes] = []
        self.aborted = False
        self.ended = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.broker.received(data)

    def abortConnection(self) -> None:
        self.aborted = True
        self._end(ConnectionAborted())

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def _end(self, reason: Exception) -> None:
        if not self.ended:
            self.ended = True
            self.broker.clock.callLater(0, self.broker.lose, reason, self)


class ScriptedBroker:
    """Answers every request as a broker would that has everything; keeps what it is sent, by frames.

    It is also the address and the endpoint that a bus connects to.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answers = dict(ANSWERS)
        self.frames: list[tuple[int, Any]] = []
        self.connections = 0
        self.transport: ScriptedTransport | None = None
        self.client: Any = None
        self.chunk = 0
        """Answers are handed over in pieces of so many bytes; 0: whole."""
        self.mechanisms = "AMQPLAIN PLAIN"
        self.vhost, self.user, self.password = "会议", "用户", "密码"
        self._unread = b""

    def __str__(self) -> str:
        return "the scripted broker"

    def endpoint(self, reactor: Any, timeout_seconds: float) -> Any:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        self.connections += 1
        self._unread = b""
        self.transport = ScriptedTransport(self)
        self.client = factory.buildProtocol(None)
        self.client.makeConnection(self.transport)
        return succeed(self.client)

    def lose(self, reason: Exception, transport: ScriptedTransport | None = None) -> None:
        """The socket closes, if it still is the one that is meant."""
        if self.client is not None and transport in (None, self.transport):
            assert self.transport is not None
            self.transport.ended = True
            client, self.client = self.client, None
            client.connectionLost(Failure(reason))

    def received(self, data: bytes) -> None:
        """The client has written."""
        self._unread += data
        while self._unread:
            consumed, number, value = frame.unmarshal(self._unread)
            if not consumed:
                return
            self._unread = self._unread[consumed:]
            self.frames.append((number, value))
            if isinstance(value, header.ProtocolHeader):
                self.later(
                    0, commands.Connection.Start(server_properties={"product": "scripted"}, mechanisms=self.mechanisms)
                )
            answer = self.answers.get(type(value))
            if answer is not None:
                self.later(number, answer(value))

    def later(self, number: int, *values: Any) -> None:
        """Send frames in the next turn."""
        self.clock.callLater(0, self.send, number, *values)

    def send(self, number: int, *values: Any) -> None:
        """Send frames on a channel."""
        self.send_bytes(b"".join(frame.marshal(value, number) for value in values))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, in pieces of `chunk`."""
        pieces: Iterable[bytes] = [data]
        if self.chunk:
            pieces = [data[start : start + self.chunk] for start in range(0, len(data), self.chunk)]
        for piece in pieces:
            if self.client is not None:
                self.client.dataReceived(piece)

    def sent(self, kind: type) -> list[Any]:
        """What the client has sent of a kind."""
        return [value for _, value in self.frames if isinstance(value, kind)]

    def channel_of(self, kind: type) -> int:
        """The channel that the client last sent such a frame on."""
        return [number for number, value in self.frames if isinstance(value, kind)][-1]


def content(
    start: Any, payload: bytes, properties: commands.Basic.Properties | None = None, piece: int = 131064
) -> list[Any]:
    """Frames of a method with content, the body in pieces."""
    pieces = [body.ContentBody(payload[at : at + piece]) for at in range(0, len(payload), piece)]
    return [start, header.ContentHeader(0, len(payload), properties or commands.Basic.Properties()), *pieces]


def deliver(tag: int, payload: bytes, redelivered: bool = False, piece: int = 131064, **properties: Any) -> list[Any]:
    """Frames of a delivery."""
    method = commands.Basic.Deliver("c", tag, redelivered, "EX", "k")
    return content(method, payload, commands.Basic.Properties(**properties), piece)


def connected(clock: Clock, broker: ScriptedBroker, bus: AmqpBus) -> None:
    """Start a bus and let it connect."""
    bus.start()
    settle(clock)
    if not bus.connected:
        raise AssertionError("the bus did not connect")


def settle(clock: Clock, seconds: float = 0) -> None:
    """Let time pass, and everything happen that follows."""
    clock.advance(seconds)
    for _ in range(30):
        clock.advance(0)


def scripted_bus(clock: Clock, **settings: Any) -> tuple[ScriptedBroker, AmqpBus]:
    """A broker, and a bus to it, not started."""
    broker = ScriptedBroker(clock)
    bus = AmqpBus(clock, [broker], AmqpSettings(**settings), name="test")  # type: ignore[list-item]
    return broker, bus


HEARTBEAT = heartbeat.Heartbeat()
