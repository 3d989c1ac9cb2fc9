"""txamqp's client with its reading and writing replaced: messages go the short way, everything rare through txamqp."""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from txamqp.connection import Frame
from txamqp.delegate import Delegate
from txamqp.protocol import AMQChannel, AMQClient
from txamqp.queue import TimeoutDeferredQueue

from css.adapters.amqp.codec import HEARTBEAT_FRAME, decode_method, encode_method, load_spec
from css.adapters.amqp.content import DeliveryChannel, Receiver
from css.adapters.amqp.frames import ACK, BODY, DELIVER, FRAME_START, HEADER, METHOD, NACK, RETURN, TAG_AND_FLAG
from css.adapters.amqp.publisher import Publisher
from css.adapters.output import Output, output_to

FRAME_OVERHEAD = 8
"""Bytes of a frame around its payload."""

MIN_FRAME = 4096
"""What both sides must take before they have agreed on more."""


class Channel(AMQChannel):
    """txamqp's channel, on the client's clock instead of the global reactor."""

    def __init__(self, id: int, outgoing: Any, client: FrameProtocol) -> None:
        super().__init__(id, outgoing, client)
        self.incoming = TimeoutDeferredQueue(client.clock)
        self.responses = TimeoutDeferredQueue(client.clock)


ACK_DELAY_SECONDS = 0.002
"""How long an acknowledgement waits for company."""


class FrameProtocol(AMQClient):
    """Reads frames from the buffer where they lie, and joins what is written in one turn into one write."""

    log = Logger()
    channelClass = Channel  # noqa: N815 (txamqp's name)

    def __init__(self, reactor: IReactorTime, delegate: Delegate, vhost: str) -> None:
        super().__init__(delegate, vhost, load_spec(), heartbeat=0, clock=reactor)
        self.output: Output
        self.publisher: Publisher | None = None
        self.receivers: dict[int, Receiver] = {}
        self.max_payload = MIN_FRAME - FRAME_OVERHEAD
        self.heard_at = reactor.seconds()
        self.wrote = False
        """Set at each write; who sends heartbeats clears it."""
        self.failure = ""
        """Why this side has given the link up, or the broker has."""
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0
        self._reading = False
        self._ended = False
        self._out: list[bytes] = []
        self._with_acks: list[DeliveryChannel] = []
        self._acks_are_due = False
        self._ack_call: IDelayedCall | None = None
        self._flush_call: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.output = output_to(self.transport, self.flush)
        self.output.write(b"AMQP\x00\x00\x09\x01")

    def connectionLost(self, reason: Any) -> None:
        self._ended = True
        if self._flush_call is not None:
            self._flush_call.cancel()
            self._flush_call = None
        if self._ack_call is not None:
            self._ack_call.cancel()
            self._ack_call = None
        self._out.clear()
        self._with_acks.clear()
        super().connectionLost(reason)

    def do_close(self, reason: Any) -> None:
        for channel in list(self.channels.values()):
            channel.close(reason)
        self.delegate.close(reason)

    def give_up(self, reason: str) -> None:
        """Abort the link: what the broker has sent, or has failed to send, leaves no other way."""
        if not self._ended:
            self._ended = True
            self.failure = self.failure or reason
            self.transport.abortConnection()

    @property
    def is_open(self) -> bool:
        """False once it has been given up or lost."""
        return not self._ended

    # Writing

    def write_soon(self, data: bytes) -> None:
        """Write at the end of this turn, or of what is being read."""
        if self._ended:
            return
        self._out.append(data)
        if not self._reading and self._flush_call is None:
            self._flush_call = self.clock.callLater(0, self._flush_later)

    def has_acks(self, channel: DeliveryChannel) -> None:
        """Have a channel's acknowledgements written with the next write, or `ACK_DELAY_SECONDS` from now."""
        if not self._ended:
            self._with_acks.append(channel)
            if self._ack_call is None:
                self._ack_call = self.clock.callLater(ACK_DELAY_SECONDS, self._acks_now)

    def acks_are_due(self) -> None:
        """The broker must not wait for acknowledgements any longer, or it runs out of what it may deliver."""
        if not self._ended and not self._acks_are_due:
            self._acks_are_due = True
            if not self._reading and self._flush_call is None:
                self._flush_call = self.clock.callLater(0, self._flush_later)

    def flush(self, with_acks: bool = False) -> None:
        """Write what waits, unless there is no room. Acknowledgements alone wait for more, unless they are due.

        A write of each acknowledgement alone would cost as much as all else that is done for a message.
        """
        if self._ended or self.output.full:
            return
        out = self._out
        if self._with_acks and (out or self._acks_are_due or with_acks):
            out.extend([channel.ack_frames() for channel in self._with_acks])
            self._with_acks.clear()
            self._acks_are_due = False
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self.wrote = True
            self.output.write(data)

    def _acks_now(self) -> None:
        self._ack_call = None
        self.flush(with_acks=True)

    def send_heartbeat(self) -> None:
        self.write_soon(HEARTBEAT_FRAME)

    def send_frame(self, frame: Frame) -> None:
        self.write_soon(encode_method(frame.channel, frame.payload))

    def _flush_later(self) -> None:
        self._flush_call = None
        self.flush()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        self.heard_at = self.clock.seconds()
        if self._need:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._need = 0
        self._reading = True
        try:
            self._read(data)
        except Exception as error:
            self.log.failure("What the broker sent is not understood, the link is given up")
            self.give_up(f"protocol error: {error!r}")
        finally:
            self._reading = False
        self.flush()

    def _read(self, data: bytes) -> None:  # noqa: C901 (calls would cost a third of its speed)
        """Read all frames that are whole; keep the rest."""
        end = len(data)
        position = 0
        receivers = self.receivers
        need = FRAME_OVERHEAD
        while end - position >= FRAME_OVERHEAD and not self._ended:
            kind, number, size = FRAME_START.unpack_from(data, position)
            start = position + 7
            stop = start + size
            if stop >= end:
                need = size + FRAME_OVERHEAD
                if size > self.max_payload:
                    raise ValueError(f"a frame of {size} bytes")
                break
            if data[stop] != 0xCE:
                raise ValueError("a frame without an end")
            position = stop + 1
            if kind == METHOD:
                method = data[start : start + 4]
                if method == DELIVER or method == RETURN:  # noqa: SIM109 (a tuple would be slower)
                    receivers[number].begin(data, start + 4)
                elif method == ACK and self.publisher is not None:
                    tag, flag = TAG_AND_FLAG.unpack_from(data, start + 4)
                    self.publisher.confirmed(tag, flag != 0)
                else:
                    self._read_rare(number, method, data[start:stop])
            elif kind == HEADER:
                receivers[number].header(data, start)
            elif kind == BODY:
                receivers[number].body(data, start, stop)
        if position < end:
            self._chunks.append(data[position:] if position else data)
            self._have = end - position
            self._need = need

    def _read_rare(self, number: int, method: bytes, payload: bytes) -> None:
        if method == NACK and self.publisher is not None:
            tag, flags = struct.unpack_from(">QB", payload, 4)
            self.publisher.refused(tag, flags & 1 != 0)
            return
        frame = decode_method(number, payload)
        channel = self.channels.get(number)
        if channel is None:
            channel = self.channels[number] = self.channelFactory(number, self.outgoing, self)
        channel.dispatch(frame, self.work)
