"""A consumer on an AMQP broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from css.adapters.amqp.content import DeliveryChannel
from css.adapters.consuming import Consumer
from css.ports.bus import Handler

if TYPE_CHECKING:
    from css.adapters.amqp.bus import AmqpBus
    from css.adapters.amqp.link import Link

Token = tuple[DeliveryChannel, int]
CONSUMER_TAG = "c"
"""Each consumer has a channel of its own, so all can have the same tag."""


class AmqpConsumer(Consumer[Token]):
    """Consumes one queue, on a channel of its own of whatever link the bus has."""

    def __init__(self, bus: AmqpBus, queue: str, handler: Handler, prefetch: int) -> None:
        super().__init__(bus.reactor, bus.random, queue, handler, prefetch)
        self._bus = bus
        self._link: Link | None = None
        self.number = 0
        """Of its channel on the present link; 0: none."""

    async def begin(self, link: Link) -> None:
        """Consume on a link, for the first time or again after the broker has cancelled the consumer."""
        if self.cancelled:
            return
        if link is not self._link:
            channel = await link.open_channel()
            self._link, self.number = link, channel.id
            link.receivers[channel.id] = DeliveryChannel(link, channel.id, self)
            await link.answer(channel.basic_qos(prefetch_count=self.prefetch))
        channel = await link.channel(self.number)
        await link.answer(channel.basic_consume(queue=self.queue, consumer_tag=CONSUMER_TAG))

    async def end(self, link: Link) -> None:
        """Tell the broker to send no more."""
        if link is self._link:
            channel = await link.channel(self.number)
            await link.answer(channel.basic_cancel(consumer_tag=CONSUMER_TAG))
        self.told()

    async def close(self, link: Link) -> None:
        """Close the channel, now that the last delivery is settled."""
        if link is self._link:
            link.flush(with_acks=True)
            await link.close_channel(await link.channel(self.number))
        self.ended()

    def link_lost(self) -> None:
        self._link = None
        self.number = 0
        super().link_lost()

    def acknowledge(self, token: Token) -> None:
        channel, tag = token
        channel.acknowledge(tag)

    def give_back(self, token: Token) -> None:
        channel, tag = token
        channel.give_back(tag)

    def is_lost(self, token: Token) -> bool:
        return not token[0].is_open

    def tell_cancelled(self) -> None:
        self._bus.consumer_ends(self)

    def release(self) -> None:
        self._bus.consumer_drained(self)

    def ended(self) -> None:
        self._bus.forget(self)
        super().ended()
