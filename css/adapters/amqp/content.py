"""What arrives on one channel with content: the deliveries of a consumer, and the publishes that came back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from css.adapters.amqp.codec import FRAME_END
from css.adapters.amqp.frames import (
    ACK,
    ACK_FRAME,
    METHOD,
    NACK,
    TAG_AND_FLAG,
    Properties,
    read_properties,
    read_short_string,
)
from css.ports.bus import KEPT_OF_TOO_LARGE, MAX_BODY_BYTES, Delivery

Returned = Callable[[str, str, str], None]
"""Called with exchange, routing key and message id."""

if TYPE_CHECKING:
    from css.adapters.amqp.consumer import AmqpConsumer
    from css.adapters.amqp.framing import FrameProtocol


class Receiver(ABC):
    """Puts header and body frames of one channel together. Of a body that is too large it keeps the beginning only."""

    __slots__ = ("_chunks", "_kept", "_missing", "_properties")

    def __init__(self) -> None:
        self._properties: Properties | None = None
        self._chunks: list[bytes] = []
        self._kept = 0
        self._missing = 0

    @abstractmethod
    def begin(self, data: bytes, position: int) -> None:
        """The method frame, whose arguments begin at `position`."""

    @abstractmethod
    def finish(self, properties: Properties, body: bytes) -> None:
        """Header and body are complete."""

    def header(self, data: bytes, position: int) -> None:
        """The header frame."""
        self._properties = properties = read_properties(data, position)
        self._missing = properties[0]
        if not self._missing:
            self._properties = None
            self.finish(properties, b"")

    def body(self, data: bytes, start: int, stop: int) -> None:
        """A body frame."""
        properties = self._properties
        if properties is None:
            raise ValueError("a body without a header")
        size = stop - start
        if size == properties[0]:
            whole = data[start:stop]
        else:
            self._missing -= size
            self._keep(data, start, stop, properties[0])
            if self._missing > 0:
                return
            whole = b"".join(self._chunks)
            self._chunks, self._kept = [], 0
        self._properties = None
        self.finish(properties, whole)

    def _keep(self, data: bytes, start: int, stop: int, size: int) -> None:
        if size > MAX_BODY_BYTES:
            stop = min(stop, start + KEPT_OF_TOO_LARGE - self._kept)
        if stop > start:
            self._chunks.append(data[start:stop])
            self._kept += stop - start


class DeliveryChannel(Receiver):
    """The channel of one consumer, as long as its link lasts: deliveries in, acknowledgements out."""

    __slots__ = (
        "_acks",
        "_consumer",
        "_link",
        "_many",
        "_queue",
        "_redelivered",
        "_settled_early",
        "_settled_to",
        "_tag",
        "number",
    )

    def __init__(self, link: FrameProtocol, number: int, consumer: AmqpConsumer) -> None:
        super().__init__()
        self.number = number
        self._link = link
        self._consumer = consumer
        self._queue = consumer.queue
        self._many = max(1, consumer.prefetch // 2)
        self._tag = 0
        self._redelivered = False
        self._acks: list[int] = []
        self._settled_to = 0
        self._settled_early: set[int] = set()

    @property
    def is_open(self) -> bool:
        return self._link.is_open

    def begin(self, data: bytes, position: int) -> None:
        tag, flag = TAG_AND_FLAG.unpack_from(data, position + 1 + data[position])
        self._tag = tag
        self._redelivered = flag != 0

    def finish(self, properties: Properties, body: bytes) -> None:
        size, message_id, correlation_id, reply_to, headers = properties
        delivery = Delivery(
            self._queue,
            body,
            message_id,
            correlation_id,
            reply_to,
            headers,
            self._redelivered,
            size if size > MAX_BODY_BYTES else 0,
        )
        self._consumer.take(delivery, (self, self._tag))

    def acknowledge(self, tag: int) -> None:
        """Acknowledge a delivery with the link's next write, or soon; several in a row go as one."""
        acks = self._acks
        if not acks:
            self._link.has_acks(self)
        acks.append(tag)
        if len(acks) >= self._many:
            self._link.acks_are_due()

    def give_back(self, tag: int) -> None:
        """Have a delivery put back in its queue."""
        self._settled_early.add(tag)
        self._link.write_soon(ACK_FRAME.pack(METHOD, self.number, 13, NACK, tag, 2, FRAME_END[0]))

    def ack_frames(self) -> bytes:
        """@return: the acknowledgements that wait: one frame for all up to the first gap, one each beyond."""
        acks, self._acks = self._acks, []
        acks.sort()
        settled_to = self._settled_to
        early = self._settled_early
        together = 0
        if not early and acks[-1] - settled_to == len(acks):
            settled_to = acks[-1]
            together = len(acks)
        else:
            for tag in acks:
                settled_to = self._skip_early(settled_to)
                if tag != settled_to + 1:
                    break
                settled_to = tag
                together += 1
            settled_to = self._skip_early(settled_to)
        self._settled_to = settled_to
        frames = []
        if together:
            multiple = 1 if together > 1 else 0
            frames.append(self._ack_frame(acks[together - 1], multiple))
        for tag in acks[together:]:
            early.add(tag)
            frames.append(self._ack_frame(tag, 0))
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _skip_early(self, settled_to: int) -> int:
        early = self._settled_early
        while early and settled_to + 1 in early:
            settled_to += 1
            early.discard(settled_to)
        return settled_to

    def _ack_frame(self, tag: int, multiple: int) -> bytes:
        return ACK_FRAME.pack(METHOD, self.number, 13, ACK, tag, multiple, FRAME_END[0])


class ReturnReceiver(Receiver):
    """Publishes that the broker returns, on the channel that they were published on."""

    __slots__ = ("_address", "_returned")

    def __init__(self, returned: Returned) -> None:
        super().__init__()
        self._returned = returned
        self._address = ("", "")

    def begin(self, data: bytes, position: int) -> None:
        _, position = read_short_string(data, position + 2)
        exchange, position = read_short_string(data, position)
        self._address = (exchange, read_short_string(data, position)[0])

    def finish(self, properties: Properties, body: bytes) -> None:
        self._returned(*self._address, properties[1])
