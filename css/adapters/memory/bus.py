"""The embedded message bus: an in-process broker with the contract of `css.ports.bus`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from css.adapters.backoff import Backoff
from css.adapters.consuming import Consumer
from css.adapters.linkstate import LinkState
from css.adapters.memory.broker import BrokerCore, Entry, Link, Refused, Subscription
from css.adapters.pending import PendingPublishes
from css.ports.bus import (
    KEPT_OF_TOO_LARGE,
    MAX_BODY_BYTES,
    BusError,
    BusFull,
    Delivery,
    Handler,
    IBus,
    IConsumer,
    NotConnected,
    Outgoing,
    Topology,
    Unconfirmed,
)

HEARTBEAT_SECONDS = 10.0
"""An idle link hears from its broker that often."""


class MemoryBroker(BrokerCore):
    """A broker in this process, with verbs for tests and simulation. Its only randomness is `random`."""

    def __init__(self, reactor: IReactorTime, random: Random | None = None) -> None:
        super().__init__(reactor)
        self.random = random or Random(0)

    def bus(
        self,
        name: str,
        *,
        max_unconfirmed: int = 10_000,
        max_unconfirmed_bytes: int = 64 * 1024 * 1024,
        confirm_timeout_seconds: float = 30.0,
    ) -> MemoryBus:
        """@return: a new bus to this broker, not started; `name` appears in its log lines."""
        pending = PendingPublishes(self.reactor, max_unconfirmed, max_unconfirmed_bytes, confirm_timeout_seconds)
        return MemoryBus(self, name, pending)

    def stop(self) -> None:
        """The broker goes away: every link drops; durable queues and their messages stay."""
        self.running = False
        for link in list(self.links):
            self.drop(link, "the broker stopped")

    def start(self) -> None:
        """The broker is back; buses find out by themselves."""
        self.running = True

    def hang(self) -> None:
        """The broker takes and answers nothing more, on any link, until `resume`; links stay open."""
        if self.hung_since is None:
            self.hung_since = self.reactor.seconds()

    def resume(self) -> None:
        """The broker goes on where it was."""
        if self.hung_since is not None:
            self.hung_since = None
            self.reactor.callLater(0, self._turn)

    def drop(self, link: Link, reason: str) -> None:
        """Cut one link."""
        self.close_link(link)
        link.client.link_lost(link, reason)

    def block(self) -> None:
        """Take no more publishes (`connection.blocked`); what is on its way waits for `unblock`."""
        self._set_blocked(True)

    def unblock(self) -> None:
        """Take publishes again."""
        self._set_blocked(False)
        self.post(self.release_held)

    def queue_length(self, name: str) -> int:
        """@return: how many messages are ready in a queue, deliveries under way not counted; 0 if there is none."""
        return len(self.messages(name))

    def unacknowledged(self, name: str) -> int:
        """@return: how many messages of a queue are delivered, or on their way, and not acknowledged."""
        return sum(sub.queue.name == name for link in self.links for _, sub in link.unacked.values())

    def messages(self, name: str) -> list[Outgoing]:
        """@return: what is ready in a queue, first one first."""
        queue = self._queues.get(name)
        now = self.reactor.seconds()
        return [] if queue is None else [entry.message for entry in queue.ready if entry.expires_at > now]

    def queue_names(self) -> list[str]:
        """@return: names of all queues, in the order of their declaration."""
        return list(self._queues)

    def delete_queue(self, name: str) -> None:
        """Delete a queue with its messages and bindings; its consumers are told. A missing one is fine."""
        if name in self._queues:
            self._remove(self._queues[name])

    def _set_blocked(self, blocked: bool) -> None:
        self.blocked = blocked
        for link in self.links:
            self.post(link.client.block_changed, link)


@implementer(IBus)
class MemoryBus:
    """One link to a `MemoryBroker`."""

    log = Logger()

    def __init__(self, broker: MemoryBroker, name: str, pending: PendingPublishes) -> None:
        self.name = name
        self.broker = broker
        self.blocked = False
        self._state = LinkState()
        self._pending = pending
        self._backoff = Backoff(broker.random)
        self._retry: IDelayedCall | None = None
        self._link: Link | None = None
        self._topologies: list[Topology] = []
        self._consumers: list[MemoryConsumer] = []
        self._tag = 0
        self._connected_at = 0.0
        self._heard_at = float("-inf")

    @property
    def connected(self) -> bool:
        return self._state.connected

    def start(self) -> None:
        """See `IBus.start`."""
        self._state.stopped = False
        if self._link is None and self._retry is None:
            self._retry = self.broker.reactor.callLater(0, self._connect)

    def stop(self) -> Deferred[None]:
        """See `IBus.stop`."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._state.stop()
        self._pending.fail_all(Unconfirmed("the bus was stopped"))
        stopped: Deferred[None] = Deferred()
        if self.broker.hung_since is None:
            self.broker.post(self._close, stopped)
        else:
            self._close(stopped)
        return stopped

    def drop_link(self) -> None:
        """Lose the link now, as if the network had cut it. The bus reconnects after its usual pause."""
        if self._link is not None:
            self.broker.drop(self._link, "the link was cut")

    def when_connected(self) -> Deferred[None]:
        """See `IBus.when_connected`."""
        return self._state.wait()

    def on_state_change(self, listener: Callable[[bool], None]) -> None:
        """See `IBus.on_state_change`."""
        self._state.listen(listener)

    def declare(self, topology: Topology) -> None:
        """See `IBus.declare`."""
        self._topologies.append(topology)
        if self._link is not None:
            self.broker.post(self._on_link, self._link, self._declare, topology)

    def publish(self, message: Outgoing) -> Deferred[None]:
        """See `IBus.publish`."""
        if not self._state.connected:
            return fail(NotConnected(f"{self.name} is not connected"))
        if self.blocked or self._pending.is_full():
            return fail(BusFull(f"{self.name}: {len(self._pending)} publishes wait, blocked: {self.blocked}"))
        self._tag += 1
        self.broker.post(self.broker.route, self._link, self._tag, message)
        return self._pending.add(self._tag, message)

    def consume(self, queue: str, handler: Handler, prefetch: int = 20) -> IConsumer:
        """See `IBus.consume`."""
        consumer = MemoryConsumer(self, queue, handler, prefetch)
        self._consumers.append(consumer)
        if self._link is not None:
            self.broker.post(self._on_link, self._link, self._subscribe, consumer)
        return consumer

    def last_round_trip_seconds_ago(self) -> float:
        """See `IBus.last_round_trip_seconds_ago`."""
        now = self.broker.reactor.seconds()
        heard_at = self._heard_at
        if self._state.connected:
            answering_until = now if self.broker.hung_since is None else self.broker.hung_since
            beats = (answering_until - self._connected_at) // HEARTBEAT_SECONDS
            heard_at = max(heard_at, self._connected_at + beats * HEARTBEAT_SECONDS)
        return now - heard_at

    def settled(self, link: Link, tag: int, error: BusError | None) -> None:
        """The broker has confirmed or returned a publish."""
        if link is not self._link:
            return
        self.heard()
        deferred = self._pending.take(tag)
        if deferred is not None:
            if error is None:
                deferred.callback(None)
            else:
                deferred.errback(error)

    def link_lost(self, link: Link, reason: str) -> None:
        """The broker has closed the link."""
        if link is not self._link:
            return
        self._link = None
        self.blocked = False
        if self._state.stopped:
            self.log.info("{name}: link closed: {reason}", name=self.name, reason=reason)
        else:
            self.log.warn("{name}: link lost: {reason}", name=self.name, reason=reason)
            self._retry = self.broker.reactor.callLater(self._backoff.next_seconds(), self._connect)
        self._state.change(False)
        for consumer in list(self._consumers):
            consumer.link_lost()
        self._pending.fail_all(Unconfirmed(reason))

    def block_changed(self, link: Link) -> None:
        """The broker blocks publishers, or does so no longer."""
        if link is self._link:
            self.heard()
            self.blocked = self.broker.blocked

    def heard(self) -> None:
        self._heard_at = self.broker.reactor.seconds()

    def restore(self, link: Link) -> None:
        """A queue has been deleted below a consumer: declare everything and consume again."""
        self.broker.post(self._on_link, link, self._set_up)

    def consumer_ends(self, consumer: MemoryConsumer, subscription: Subscription | None) -> None:
        """A consumer is cancelled: tell the broker, then the consumer."""
        if self._link is None:
            consumer.told()
        else:
            self.broker.post(self._unsubscribe, consumer, subscription)

    def consumer_drained(self, consumer: MemoryConsumer) -> None:
        """The last delivery of a cancelled consumer is settled: tell it once the broker knows."""
        if self._link is None:
            consumer.ended()
        else:
            self.broker.post(consumer.ended)

    def forget(self, consumer: MemoryConsumer) -> None:
        """A cancelled consumer has come to its end."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    def _connect(self) -> None:
        self._retry = None
        try:
            self._link = self.broker.open_link(self)
        except Refused as error:
            delay = self._backoff.next_seconds()
            self.log.info("{name}: cannot connect: {error}", name=self.name, error=error)
            self._retry = self.broker.reactor.callLater(delay, self._connect)
            return
        self._on_link(self._link, self._set_up)

    def _set_up(self) -> None:
        for topology in self._topologies:
            self._declare(topology)
        for consumer in list(self._consumers):
            self._subscribe(consumer)
        if not self._state.connected:
            self._backoff.reset()
            self._connected_at = self.broker.reactor.seconds()
            self.heard()
            self.blocked = self.broker.blocked
            self.log.info("{name}: connected", name=self.name)
            self._state.change(True)

    def _declare(self, topology: Topology) -> None:
        if self._link is not None:
            self.broker.declare(self._link, topology)

    def _subscribe(self, consumer: MemoryConsumer) -> None:
        if self._link is not None and not consumer.cancelled and not consumer.subscribed:
            consumer.subscription = self.broker.subscribe(self._link, consumer.queue, consumer.prefetch, consumer)

    def _on_link(self, link: Link, step: Callable[..., None], *arguments: object) -> None:
        """Do something on a link that may have gone meanwhile; what the broker refuses costs the link."""
        if link is not self._link or self._state.stopped:
            return
        try:
            step(*arguments)
        except Refused as error:
            self.broker.drop(link, str(error))

    def _unsubscribe(self, consumer: MemoryConsumer, subscription: Subscription | None) -> None:
        if subscription is not None:
            self.broker.unsubscribe(subscription)
        consumer.told()

    def _close(self, stopped: Deferred[None]) -> None:
        if self._link is not None and self._state.stopped:
            self.broker.drop(self._link, "the bus was stopped")
        stopped.callback(None)


Token = tuple[Link, int]


class MemoryConsumer(Consumer[Token]):
    """A consumer of a `MemoryBus`."""

    def __init__(self, bus: MemoryBus, queue: str, handler: Handler, prefetch: int) -> None:
        super().__init__(bus.broker.reactor, bus.broker.random, queue, handler, prefetch)
        self._bus = bus
        self.subscription: Subscription | None = None

    @property
    def subscribed(self) -> bool:
        return self.subscription is not None and self.subscription.active and self.subscription.link.is_open

    def deliver(self, subscription: Subscription, entry: Entry) -> None:
        """The broker has sent a message."""
        self._bus.heard()
        message = entry.message
        body = message.body
        size = len(body)
        too_large = size > MAX_BODY_BYTES
        delivery = Delivery(
            self.queue,
            body[:KEPT_OF_TOO_LARGE] if too_large else body,
            message.message_id,
            message.correlation_id,
            message.reply_to,
            message.headers,
            entry.redelivered,
            size if too_large else 0,
        )
        self.take(delivery, (subscription.link, entry.sequence))

    def cancelled_by_broker(self, subscription: Subscription) -> None:
        """The queue was deleted."""
        if subscription is self.subscription and subscription.link.is_open and not self.cancelled:
            self.log.warn("Queue {queue} was deleted: declaring it again", queue=self.queue)
            self._bus.restore(subscription.link)

    def acknowledge(self, token: Token) -> None:
        broker = self._bus.broker
        broker.post(broker.acknowledge, *token)

    def give_back(self, token: Token) -> None:
        broker = self._bus.broker
        broker.post(broker.give_back, *token)

    def is_lost(self, token: Token) -> bool:
        return not token[0].is_open

    def tell_cancelled(self) -> None:
        self._bus.consumer_ends(self, self.subscription)

    def release(self) -> None:
        self._bus.consumer_drained(self)

    def ended(self) -> None:
        self._bus.forget(self)
        super().ended()
