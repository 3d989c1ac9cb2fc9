"""The embedded broker behind a simulated network: each process has its own link, which can be slow, clogged or cut."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime

from css.adapters.memory.broker import Entry, Link, MemoryQueue, Refused, Subscription
from css.adapters.memory.bus import MemoryBroker, MemoryBus
from css.adapters.pending import PendingPublishes
from css.ports.bus import Outgoing, Topology
from css.simulation.clock import Action, Process, Timeline
from css.simulation.network import Wire

HEARTBEAT_TIMEOUT_SECONDS = 30.0
"""A client that is silent for so long loses its link."""
CONFIRM_TIMEOUT_SECONDS = 30.0

Published = Callable[[Outgoing, bool], None]
"""Told of each message that arrives, and whether it reached a queue."""


class SimulatedBroker(MemoryBroker):
    """One platform's broker."""

    def __init__(self, timeline: Timeline, random: Random, moid: str) -> None:
        super().__init__(timeline, random)
        self.moid = moid
        self.faces: list[Face] = []
        self.copies: Callable[[str, Outgoing], list[float]] | None = None
        """For a message that enters a queue: in how many seconds each copy of it does. None: once, at once."""
        self.on_published: Published = lambda message, routed: None
        self.on_lost: Callable[[str, Outgoing], None] = lambda queue, message: None
        """Told of each message that a queue was deleted with."""

    def face(self, process: Process) -> Face:
        """The broker as a process meets it."""
        face = Face(self, process)
        self.faces.append(face)
        return face

    def post(self, step: Callable[..., None], *arguments: object) -> None:
        """What the broker has to tell travels over the link that it is about."""
        first = arguments[0] if arguments else None
        link = first.link if isinstance(first, Subscription) else first if isinstance(first, Link) else None
        if link is None:
            super().post(step, *arguments)
        else:
            _face_of(link).tell(step, arguments)

    def drop(self, link: Link, reason: str) -> None:
        """Close a link; the client learns of it when it gets there."""
        self.close_link(link)
        _face_of(link).tell(link.client.link_lost, (link, reason))

    def route(self, link: Link, tag: int, message: Outgoing) -> None:
        """See `BrokerCore.route`."""
        if link.is_open and not self.blocked:
            self.on_published(message, self.reaches(message))
        super().route(link, tag, message)

    def reaches(self, message: Outgoing) -> bool:
        """Whether there is a queue for a message."""
        if not message.exchange:
            return message.routing_key in self._queues
        return bool(self._exchanges.get(message.exchange, {}).get(message.routing_key))

    def cancel_consumers(self, name: str) -> None:
        """Stop delivering a queue, which stays, to those who consume it; they are told."""
        queue = self._queues.get(name)
        if queue is None:
            return
        subscriptions = list(queue.subscriptions)
        queue.subscriptions.clear()
        for subscription in subscriptions:
            subscription.active = False
            self.post(subscription.receiver.cancelled_by_broker, subscription)

    def delete_queue(self, name: str) -> None:
        """See `MemoryBroker.delete_queue`."""
        queue = self._queues.get(name)
        if queue is not None:
            held = [
                entry
                for link in self.links
                for entry, subscription in link.unacked.values()
                if subscription.queue is queue
            ]
            for entry in (*queue.ready, *held):
                self.on_lost(name, entry.message)
        super().delete_queue(name)

    def most_unacknowledged(self) -> tuple[int, str]:
        """The longest row of deliveries that one consumer of a queue of CSS holds, and its queue."""
        rows = ((s.unacked_count, q.name) for q in self._queues.values() for s in q.subscriptions)
        return max((row for row in rows if row[1].startswith("MAU.")), default=(0, ""))

    def longest_queue(self) -> tuple[int, str]:
        """How many messages are ready in the longest queue, and its name."""
        return max(((len(queue.ready), queue.name) for queue in self._queues.values()), default=(0, ""))

    def _enqueue(self, queue: MemoryQueue, message: Outgoing) -> None:
        if self.copies is None:
            super()._enqueue(queue, message)
            return
        for seconds in self.copies(queue.name, message):
            if seconds:
                self.reactor.callLater(seconds, self._enqueue_late, queue.name, message)
            else:
                super()._enqueue(queue, message)

    def _enqueue_late(self, name: str, message: Outgoing) -> None:
        queue = self._queues.get(name)
        if queue is None:
            self.on_lost(name, message)
        else:
            super()._enqueue(queue, message)


def _face_of(link: Link) -> Face:
    return cast("Face", cast("MemoryBus", link.client).broker)


class Face:
    """What a `MemoryBus` has for its broker: the same methods, with the process's clock and a network between."""

    def __init__(self, broker: SimulatedBroker, process: Process) -> None:
        self.server = broker
        self.process = process
        self.reactor: IReactorTime = process
        self.random = broker.random
        self.out = Wire(process.timeline, broker.random)
        self.back = Wire(process.timeline, broker.random)
        self.link: Link | None = None
        self.hung_since: float | None = None
        self.route = broker.route
        self.acknowledge = broker.acknowledge
        self.give_back = broker.give_back

    @property
    def blocked(self) -> bool:
        return self.server.blocked

    def bus(self, name: str) -> MemoryBus:
        """The process's bus to this broker."""
        pending = PendingPublishes(self.process, 10_000, 64 * 1024 * 1024, CONFIRM_TIMEOUT_SECONDS)
        return MemoryBus(cast("MemoryBroker", self), name, pending)

    def open_link(self, client: Any) -> Link:
        """See `BrokerCore.open_link`."""
        if self.out.clogged or self.back.clogged:
            raise Refused("the network is clogged")
        self.link = self.server.open_link(client)
        return self.link

    def post(self, step: Action, *arguments: object) -> None:
        """What the client sends; steps of its own come back to it when the broker has had its turn."""
        if not self.process.alive:
            return
        if getattr(step, "__self__", None) is self.server:
            self.out.send(step, *arguments)
        else:
            self.out.send(self.process.run, step, *arguments)

    def tell(self, step: Action, arguments: tuple[Any, ...]) -> None:
        """What the broker sends."""
        self.back.send(self.process.run, step, *arguments)

    def drop(self, link: Link, reason: str) -> None:
        """Close the client's link."""
        self.server.drop(link, reason)

    def declare(self, link: Link, topology: Topology) -> None:
        """See `BrokerCore.declare`."""
        self._demand_open(link)
        self.server.declare(link, topology)

    def subscribe(self, link: Link, name: str, prefetch: int, receiver: Any) -> Subscription:
        """See `BrokerCore.subscribe`."""
        self._demand_open(link)
        return self.server.subscribe(link, name, prefetch, receiver)

    def unsubscribe(self, subscription: Subscription) -> None:
        """See `BrokerCore.unsubscribe`."""
        self.server.unsubscribe(subscription)

    def reset(self) -> None:
        """The connection is cut: what is on its way is lost, in either direction."""
        link = self.link
        if link is None or not link.is_open:
            return
        self.out.cut()
        self.back.cut()
        self.server.drop(link, "connection reset")

    def clog(self) -> None:
        """Let nothing through, in either direction."""
        self.out.clog()
        self.back.clog()

    def clear(self) -> None:
        """Let everything through again."""
        self.out.clear()
        self.back.clear()

    def died(self) -> None:
        """The process is dead: what it had sent arrives, then the broker sees the end; or all is lost."""
        if self.link is not None:
            if self.random.random() < 0.5:
                self.out.cut()
            self.out.clear()
            self.out.send(self.server.close_link, self.link)

    def _demand_open(self, link: Link) -> None:
        if not link.is_open:
            raise Refused("the link is gone")


__all__ = ["HEARTBEAT_TIMEOUT_SECONDS", "Entry", "Face", "SimulatedBroker"]
