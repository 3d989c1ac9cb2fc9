"""The embedded broker's side: queues, exchanges, links and the turns in which it works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from css.ports.bus import BusError, Outgoing, Topology, Unroutable


class Refused(Exception):
    """The broker refuses a declaration or a consumer: it closes the link."""


class Client(Protocol):
    """What the broker tells the bus at the other end of a link."""

    def settled(self, link: Link, tag: int, error: BusError | None) -> None: ...
    def link_lost(self, link: Link, reason: str) -> None: ...
    def block_changed(self, link: Link) -> None: ...


class Receiver(Protocol):
    """What the broker tells a consumer."""

    def deliver(self, subscription: Subscription, entry: Entry) -> None: ...
    def cancelled_by_broker(self, subscription: Subscription) -> None: ...


class Link:
    """One connection. What it holds when it closes goes back."""

    __slots__ = ("client", "is_open", "unacked")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.is_open = True
        self.unacked: dict[int, tuple[Entry, Subscription]] = {}


class Entry:
    """A message in a queue."""

    __slots__ = ("expires_at", "message", "redelivered", "sequence")

    def __init__(self, message: Outgoing, sequence: int, expires_at: float) -> None:
        self.message = message
        self.sequence = sequence
        self.expires_at = expires_at
        self.redelivered = False


class Subscription:
    """A consumer on a queue, for as long as its link lasts."""

    __slots__ = ("active", "link", "prefetch", "queue", "receiver", "unacked_count")

    def __init__(self, link: Link, queue: MemoryQueue, prefetch: int, receiver: Receiver) -> None:
        self.link = link
        self.queue = queue
        self.prefetch = prefetch
        self.receiver = receiver
        self.active = True
        self.unacked_count = 0


class MemoryQueue:
    """Messages in order, and who consumes them."""

    __slots__ = ("name", "owner", "ready", "subscriptions")

    def __init__(self, name: str, owner: Link | None) -> None:
        self.name = name
        self.owner = owner
        self.ready: deque[Entry] = deque()
        self.subscriptions: deque[Subscription] = deque()

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Return messages to the places that they came from."""
        returned = sorted(entries, key=_sequence)
        for entry in returned:
            entry.redelivered = True
        if self.ready and returned and returned[-1].sequence > self.ready[0].sequence:
            self.ready = deque(sorted([*returned, *self.ready], key=_sequence))
        else:
            self.ready.extendleft(reversed(returned))

    def drop_expired(self, now: float) -> None:
        ready = self.ready
        while ready and ready[0].expires_at <= now:
            ready.popleft()

    def next_free(self) -> Subscription | None:
        """@return: the consumer whose turn it is, of those that may have one more."""
        subscriptions = self.subscriptions
        for _ in range(len(subscriptions)):
            subscription = subscriptions[0]
            subscriptions.rotate(-1)
            if subscription.unacked_count < subscription.prefetch:
                return subscription
        return None


def _sequence(entry: Entry) -> int:
    return entry.sequence


NEVER = float("inf")


class BrokerCore:
    """Direct exchanges and queues. All that crosses a link takes a turn of the reactor: it is posted, in order."""

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self.running = True
        self.blocked = False
        self.hung_since: float | None = None
        self.links: list[Link] = []
        self._queues: dict[str, MemoryQueue] = {}
        self._exchanges: dict[str, dict[str, list[str]]] = {}
        self._steps: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._held: list[tuple[Link, int, Outgoing]] = []
        self._sequence = 0

    def post(self, step: Callable[..., None], *arguments: object) -> None:
        """Have something done in the reactor's next turn, after all that was posted before."""
        if not self._steps and self.hung_since is None:
            self.reactor.callLater(0, self._turn)
        self._steps.append((step, arguments))

    def _turn(self) -> None:
        if self.hung_since is not None:
            return
        steps, self._steps = self._steps, []
        for step, arguments in steps:
            step(*arguments)

    def open_link(self, client: Client) -> Link:
        """@raise Refused: if the broker is stopped or hangs."""
        if not self.running or self.hung_since is not None:
            raise Refused("the broker does not answer")
        link = Link(client)
        self.links.append(link)
        return link

    def close_link(self, link: Link) -> None:
        """Return what was not acknowledged, and delete the link's exclusive queues."""
        if not link.is_open:
            return
        link.is_open = False
        self.links.remove(link)
        touched: dict[str, list[Entry]] = {}
        for entry, subscription in link.unacked.values():
            touched.setdefault(subscription.queue.name, []).append(entry)
        link.unacked.clear()
        for queue in list(self._queues.values()):
            queue.subscriptions = deque(one for one in queue.subscriptions if one.link is not link)
            if queue.owner is link:
                self._remove(queue)
            elif queue.name in touched:
                queue.put_back(touched[queue.name])
                self._dispatch(queue)

    def declare(self, link: Link, topology: Topology) -> None:
        """@raise Refused: if a queue is another link's own, or what is to be bound is missing."""
        for exchange in topology.exchanges:
            self._exchanges.setdefault(exchange, {})
        for queue in topology.queues:
            known = self._queues.get(queue.name)
            if known is None:
                self._queues[queue.name] = MemoryQueue(queue.name, link if queue.exclusive else None)
            elif known.owner not in (None, link):
                raise Refused(f"queue {queue.name} is exclusive to another link")
        for binding in topology.bindings:
            if binding.queue not in self._queues or binding.exchange not in self._exchanges:
                raise Refused(f"cannot bind {binding.queue} to {binding.exchange}: there is no such queue or exchange")
            bound = self._exchanges[binding.exchange].setdefault(binding.routing_key, [])
            if binding.queue not in bound:
                bound.append(binding.queue)

    def subscribe(self, link: Link, name: str, prefetch: int, receiver: Receiver) -> Subscription:
        """@raise Refused: if there is no such queue, or it is another link's own."""
        queue = self._queues.get(name)
        if queue is None or queue.owner not in (None, link):
            raise Refused(f"cannot consume {name}: there is no such queue, or it is exclusive to another link")
        subscription = Subscription(link, queue, prefetch, receiver)
        queue.subscriptions.append(subscription)
        self._dispatch(queue)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver no more to a consumer. An exclusive queue goes with its last one."""
        subscription.active = False
        queue = subscription.queue
        if subscription in queue.subscriptions:
            queue.subscriptions.remove(subscription)
            if queue.owner is not None and not queue.subscriptions:
                self._remove(queue)

    def route(self, link: Link, tag: int, message: Outgoing) -> None:
        """A publish arrives."""
        if not link.is_open:
            return
        if self.blocked:
            self._held.append((link, tag, message))
            return
        if message.exchange:
            names: Iterable[str] = self._exchanges.get(message.exchange, {}).get(message.routing_key, ())
        else:
            names = (message.routing_key,)
        error: BusError | None = Unroutable(f"no queue for {message.routing_key!r} of exchange {message.exchange!r}")
        for name in names:
            queue = self._queues.get(name)
            if queue is not None:
                error = None
                self._enqueue(queue, message)
        self.post(link.client.settled, link, tag, error)

    def acknowledge(self, link: Link, sequence: int) -> None:
        held = link.unacked.pop(sequence, None)
        if held is not None:
            subscription = held[1]
            subscription.unacked_count -= 1
            self._dispatch(subscription.queue)

    def give_back(self, link: Link, sequence: int) -> None:
        held = link.unacked.pop(sequence, None)
        if held is not None:
            entry, subscription = held
            subscription.unacked_count -= 1
            if self._queues.get(subscription.queue.name) is subscription.queue:
                subscription.queue.put_back((entry,))
                self._dispatch(subscription.queue)

    def release_held(self) -> None:
        """Publishers are no longer blocked: take what they had sent meanwhile."""
        held, self._held = self._held, []
        for publish in held:
            self.route(*publish)

    def _enqueue(self, queue: MemoryQueue, message: Outgoing) -> None:
        self._sequence += 1
        ttl_ms = message.expiration_ms
        expires_at = self.reactor.seconds() + ttl_ms / 1000 if ttl_ms else NEVER
        queue.ready.append(Entry(message, self._sequence, expires_at))
        self._dispatch(queue)

    def _dispatch(self, queue: MemoryQueue) -> None:
        if not queue.subscriptions:
            return
        now = self.reactor.seconds()
        while True:
            queue.drop_expired(now)
            if not queue.ready:
                return
            subscription = queue.next_free()
            if subscription is None:
                return
            entry = queue.ready.popleft()
            subscription.unacked_count += 1
            subscription.link.unacked[entry.sequence] = (entry, subscription)
            self.post(self._deliver, subscription, entry)

    def _deliver(self, subscription: Subscription, entry: Entry) -> None:
        link = subscription.link
        if not link.is_open:
            return
        if subscription.active:
            subscription.receiver.deliver(subscription, entry)
        else:
            self.give_back(link, entry.sequence)

    def _remove(self, queue: MemoryQueue) -> None:
        del self._queues[queue.name]
        for keys in self._exchanges.values():
            for bound in keys.values():
                if queue.name in bound:
                    bound.remove(queue.name)
        for subscription in queue.subscriptions:
            subscription.active = False
            self.post(subscription.receiver.cancelled_by_broker, subscription)
        queue.subscriptions.clear()
