"""`IBus` over AMQP: one link at a time to one broker, and all that outlives the link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.consumer import AmqpConsumer
from css.adapters.amqp.declare import Declarer
from css.adapters.amqp.link import Link
from css.adapters.amqp.publisher import Publisher
from css.adapters.backoff import Backoff
from css.adapters.linkstate import LinkState
from css.adapters.pending import PendingPublishes
from css.ports.bus import BusFull, Handler, IBus, IConsumer, NotConnected, Outgoing, Topology, Unconfirmed, Unroutable


class AmqpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a bus behaves. Times in seconds."""

    queue_type: str = "classic"
    """`classic` or `quorum`: of the durable queues that it declares."""
    heartbeat_seconds: int = 10
    """A broker silent for twice as long is given up."""
    connect_timeout_seconds: float = 10.0
    """For connecting and logging in; then for each answer of the broker to a declaration."""
    confirm_timeout_seconds: float = 30.0
    max_unconfirmed: int = 10_000
    max_unconfirmed_bytes: int = 64 * 1024 * 1024
    reconnect_seconds: tuple[float, float] = (0.25, 10.0)
    """The pause before the first attempt to reconnect, and the longest one."""


@implementer(IBus)
class AmqpBus:
    """A broker, or a cluster: one of `addresses` is tried after the other. `name` appears in log lines."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        addresses: Sequence[AmqpAddress],
        settings: AmqpSettings | None = None,
        *,
        name: str = "css",
        random: Random | None = None,
    ) -> None:
        if not addresses:
            raise ValueError("a bus needs an address")
        self.reactor = reactor
        self.random = random or Random()
        self.name = name
        self.blocked = False
        self._addresses = tuple(addresses)
        self._settings = settings = settings or AmqpSettings()
        self._attempts = 0
        self._state = LinkState()
        self._backoff = Backoff(self.random, *settings.reconnect_seconds)
        self._pending = PendingPublishes(
            reactor, settings.max_unconfirmed, settings.max_unconfirmed_bytes, settings.confirm_timeout_seconds
        )
        self._topologies: list[Topology] = []
        self._consumers: list[AmqpConsumer] = []
        self._attempt: Deferred[None] | None = None
        self._retry: IDelayedCall | None = None
        self._link: Link | None = None
        self._publisher: Publisher | None = None
        self._heard_at = float("-inf")
        self._stopping: list[Deferred[None]] = []

    @property
    def connected(self) -> bool:
        return self._state.connected

    @property
    def _entered(self) -> Link | None:
        """The link, unless it is still logging in: then all that was declared and consumed follows by itself."""
        return self._link if self._attempt is None else None

    def start(self) -> None:
        """See `IBus.start`."""
        self._state.stopped = False
        if self._link is None and self._retry is None and self._attempt is None:
            self._connect()

    def stop(self) -> Deferred[None]:
        """See `IBus.stop`."""
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        self._publisher = None
        self._state.stop()
        self._pending.fail_all(Unconfirmed("the bus was stopped"))
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._attempt.cancel()
        elif self._link is not None:
            self._link.leave()
        else:
            self._now_stopped()
        return stopped

    def when_connected(self) -> Deferred[None]:
        """See `IBus.when_connected`."""
        return self._state.wait()

    def on_state_change(self, listener: Callable[[bool], None]) -> None:
        """See `IBus.on_state_change`."""
        self._state.listen(listener)

    def declare(self, topology: Topology) -> None:
        """See `IBus.declare`. Publishes wait until it is done."""
        self._topologies.append(topology)
        link = self._entered
        if link is not None:
            self._submit_declare(link, topology)

    def publish(self, message: Outgoing) -> Deferred[None]:
        """See `IBus.publish`. A message that AMQP can't carry (a name over 255 bytes …) is `Unroutable`."""
        publisher = self._publisher
        if publisher is None:
            return fail(NotConnected(f"{self.name} is not connected"))
        if self.blocked or self._pending.is_full():
            return fail(BusFull(f"{self.name}: {len(self._pending)} publishes wait, blocked: {self.blocked}"))
        try:
            return publisher.publish(message)
        except ValueError as error:
            return fail(Unroutable(f"AMQP can't carry this message: {error}"))

    def consume(self, queue: str, handler: Handler, prefetch: int = 20) -> IConsumer:
        """See `IBus.consume`."""
        consumer = AmqpConsumer(self, queue, handler, prefetch)
        self._consumers.append(consumer)
        link = self._entered
        if link is not None:
            link.submit(partial(consumer.begin, link))
        return consumer

    def last_round_trip_seconds_ago(self) -> float:
        """See `IBus.last_round_trip_seconds_ago`."""
        heard_at = self._heard_at if self._link is None else self._link.heard_at
        return self.reactor.seconds() - heard_at

    # What consumers ask for

    def consumer_ends(self, consumer: AmqpConsumer) -> None:
        """A consumer is cancelled: tell the broker, then the consumer."""
        link = self._entered
        if link is None:
            consumer.told()
        else:
            link.submit(partial(consumer.end, link))

    def consumer_drained(self, consumer: AmqpConsumer) -> None:
        """The last delivery of a cancelled consumer is settled."""
        link = self._entered
        if link is None:
            consumer.ended()
        else:
            link.submit(partial(consumer.close, link))

    def forget(self, consumer: AmqpConsumer) -> None:
        """A cancelled consumer has come to its end."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    # What the link tells

    def link_lost(self, link: Link, reason: str) -> None:
        """The link is gone, whoever ended it."""
        if link is not self._link:
            return
        was_connected = self._state.connected
        self._heard_at = link.heard_at
        self._link = self._publisher = None
        self.blocked = False
        self._state.change(False)
        for consumer in list(self._consumers):
            consumer.link_lost()
        self._pending.fail_all(Unconfirmed(f"the link was lost: {reason}"))
        if not self._state.stopped:
            what = "Link lost to" if was_connected else "Cannot use"
            self._try_again(what, link.address, reason)

    def link_closed(self, link: Link) -> None:
        """The link's socket is closed, too."""
        if self._link is None:
            self._now_stopped()

    def block_changed(self, link: Link, reason: str | None) -> None:
        """The broker blocks publishers, or (None) does so no longer."""
        self.blocked = reason is not None
        if self.blocked:
            self.log.warn("{name}: the broker takes no messages: {reason}", name=self.name, reason=reason)
        else:
            self.log.info("{name}: the broker takes messages again", name=self.name)

    def consumer_cancelled(self, link: Link, number: int) -> None:
        """The broker has cancelled a consumer, because its queue was deleted or has moved: have it again."""
        for consumer in self._consumers:
            if consumer.number == number:
                self.log.warn(
                    "{name}: the broker cancelled the consumer of {queue}: declaring and consuming again",
                    name=self.name,
                    queue=consumer.queue,
                )
                for topology in self._topologies:
                    self._submit_declare(link, topology)
                link.submit(partial(consumer.begin, link))

    # Connecting

    def _connect(self) -> None:
        self._retry = None
        address = self._addresses[self._attempts % len(self._addresses)]
        self._attempts += 1
        attempt = Deferred.fromCoroutine(self._establish(address))
        self._attempt = attempt
        _ = attempt.addTimeout(self._settings.connect_timeout_seconds, self.reactor)
        _ = attempt.addCallbacks(self._established, self._not_established, errbackArgs=(address,))

    async def _establish(self, address: AmqpAddress) -> None:
        settings = self._settings
        endpoint = address.endpoint(self.reactor, settings.connect_timeout_seconds)
        link = Link(
            self.reactor, self, address, self.name, settings.heartbeat_seconds, settings.connect_timeout_seconds
        )
        factory = Factory.forProtocol(lambda: link)
        factory.noisy = False
        await endpoint.connect(factory)
        self._link = link
        await link.enter()

    def _established(self, _: None) -> None:
        self._attempt = None
        link = self._link
        if link is None:
            return
        if self._state.stopped:
            link.leave()
            return
        for topology in self._topologies:
            self._submit_declare(link, topology)
        link.submit(partial(self._open_publisher, link))
        for consumer in list(self._consumers):
            link.submit(partial(consumer.begin, link))
        link.submit(partial(self._ready, link))

    def _not_established(self, failure: Any, address: AmqpAddress) -> None:
        self._attempt = None
        if failure.check(TimeoutError):
            reason = f"no answer in {self._settings.connect_timeout_seconds} seconds"
        else:
            reason = str(failure.value) or failure.type.__name__
        if self._link is not None:
            self._link.give_up(f"logging in failed: {reason}")
        elif self._state.stopped:
            self._now_stopped()
        elif self._retry is None:
            self._try_again("Cannot connect to", address, reason)

    async def _open_publisher(self, link: Link) -> None:
        channel = await link.open_channel()
        publisher = Publisher(link, channel.id, self._pending)
        link.publisher = publisher
        link.receivers[channel.id] = publisher.receiver
        await link.answer(channel.confirm_select())

    async def _ready(self, link: Link) -> None:
        if link is self._link and not self._state.stopped:
            self._publisher = link.publisher
            self._backoff.reset()
            self.log.info(
                "{name}: connected to {address}: {queues} queues declared, {consumers} consumers",
                name=self.name,
                address=link.address,
                queues=sum(len(topology.queues) for topology in self._topologies),
                consumers=len(self._consumers),
            )
            self._state.change(True)

    def _submit_declare(self, link: Link, topology: Topology) -> None:
        publisher = link.publisher
        if publisher is not None:
            publisher.hold()

        async def declare() -> None:
            await Declarer(link, self._settings.queue_type, self.random).declare(topology)
            if publisher is not None:
                publisher.release()

        link.submit(declare)

    def _try_again(self, what: str, address: AmqpAddress, reason: str) -> None:
        delay = self._backoff.next_seconds()
        self.log.warn(
            "{name}: {what} {address}: {reason}; trying again in {delay:.1f} s",
            name=self.name,
            what=what,
            address=address,
            reason=reason,
            delay=delay,
        )
        self._retry = self.reactor.callLater(delay, self._connect)

    def _now_stopped(self) -> None:
        stopping, self._stopping = self._stopping, []
        for stopped in stopping:
            stopped.callback(None)
