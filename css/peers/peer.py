"""What every simulated peer does: declare, consume, decode, keep, route, publish until confirmed, stop in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from random import Random
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from css.messages.base import Message
from css.messages.codec import Malformed, decode, wire_type
from css.peers.inbox import Inbox, Received
from css.ports.bus import BusError, Delivery, IBus, IConsumer, NotConnected, Outgoing, Topology, Unroutable

Route = Callable[[Any, Delivery], Awaitable[None]]
Place = tuple[str, str]
"""An exchange and a routing key."""

PREFETCH = 200
RETRY_SECONDS = (0.2, 0.5)
"""A publish that failed is tried again after a pause between these, and twice as long a one each further time."""
LONGEST_RETRY_SECONDS = 5.0
KEPT_MALFORMED = 1000


class Fault(msgspec.Struct, frozen=True):
    """A message from CSS that breaks the contract, or that this peer should never get."""

    queue: str
    reason: str
    body: bytes


class Peer:
    """One simulated application on one broker, with its own queues.

    The bus is started and stopped by whoever made it. All randomness is `random`, all time is the reactor's.
    """

    log = Logger()
    handles_repeats: ClassVar[bool] = True
    """Whether a message that came before is handled once more (a request is answered again)."""

    def __init__(self, bus: IBus, reactor: IReactorTime, random: Random, name: str, keep: int = 10_000) -> None:
        self.bus = bus
        self.reactor = reactor
        self.random = random
        self.name = name
        self.inbox = Inbox(keep)
        self.faults: list[Fault] = []
        """Messages that are malformed or came to the wrong peer; at most 1,000 are kept."""
        self.unroutable = 0
        """How many of its messages reached no queue."""
        self.running = False
        self._consumers: dict[str, IConsumer] = {}
        self._pauses: dict[Deferred[None], None] = {}
        self._later: set[IDelayedCall] = set()
        self._work: set[Deferred[Any]] = set()
        self._routes: dict[type[Message], Route] = self.routes()

    def topology(self) -> Topology:
        """What this peer declares: its queues, and every exchange that it publishes to."""
        raise NotImplementedError

    def routes(self) -> dict[type[Message], Route]:
        """What it does with each kind of message; others that are not `expected` are faults."""
        raise NotImplementedError

    def expected(self, message: Message) -> bool:
        """Whether a message that has no route is fine, and only kept."""
        return False

    def start(self) -> None:
        """Declare what it needs and consume its queues."""
        self.running = True
        topology = self.topology()
        self.bus.declare(topology)
        for queue in topology.queues:
            self.consume(queue.name)

    def stop(self) -> Deferred[None]:
        """Consume no more, and drop what waits to be sent.

        @return: fires when nothing is under way.
        """
        self.running = False
        for call in list(self._later):
            call.cancel()
        self._later.clear()
        for pause in list(self._pauses):
            pause.cancel()
        consumed = self.consume_no_more(list(self._consumers))
        return gatherResults([consumed, *self._work]).addCallback(lambda _: None)

    def consume(self, queue: str) -> None:
        """Consume a queue, if it is not consumed already."""
        if queue not in self._consumers:
            self._consumers[queue] = self.bus.consume(queue, self.take, PREFETCH)

    def consume_no_more(self, queues: Iterable[str]) -> Deferred[None]:
        """@return: fires when the last delivery of these queues is handled."""
        cancelled = [self._consumers.pop(queue).cancel() for queue in queues if queue in self._consumers]
        return gatherResults(cancelled).addCallback(lambda _: None)

    async def take(self, delivery: Delivery) -> None:
        """Handle one delivery."""
        try:
            message = decode(delivery.body)
        except Malformed as malformed:
            self.blame(delivery, malformed.reason)
            return
        is_new = self.inbox.add(self._received(message, delivery))
        route = self._routes.get(type(message))
        if route is None:
            if not self.expected(message):
                self.blame(delivery, "not for this peer")
        elif is_new or self.handles_repeats:
            await route(message, delivery)

    def blame(self, delivery: Delivery, reason: str) -> None:
        """CSS has broken the contract."""
        self.log.error("{name}: bad message in {queue}: {reason}", name=self.name, queue=delivery.queue, reason=reason)
        if len(self.faults) < KEPT_MALFORMED:
            self.faults.append(Fault(delivery.queue, reason, delivery.body))

    def new_id(self) -> str:
        """A unique id."""
        return f"{self.random.getrandbits(128):032x}"

    def now(self) -> int:
        """Seconds since the epoch, by this peer's clock."""
        return int(self.reactor.seconds())

    async def send(self, place: Place, body: bytes, **properties: Any) -> bool:
        """Publish until it is confirmed, always with the same `message_id`.

        @return: False if no queue is there, or this peer was stopped meanwhile.
        """
        message_id = properties.pop("message_id", "") or self.new_id()
        message = Outgoing(place[0], place[1], body, message_id, **properties)
        for failures in count():
            try:
                await self.bus.publish(message)
                return True
            except Unroutable:
                self.unroutable += 1
                return False
            except BusError:
                if not await self._pause(failures):
                    return False
        return False

    def post(self, place: Place, body: bytes, **properties: Any) -> None:
        """As `send`, for those who do not want to know the outcome."""
        self.track(Deferred.fromCoroutine(self.send(place, body, **properties)))

    def track(self, work: Deferred[Any]) -> None:
        """Let `stop` wait for this; should it fail, log that."""
        self._work.add(work)
        _ = work.addErrback(self._work_failed).addBoth(lambda _: self._work.discard(work))

    def report(self, place: Place, body: bytes) -> None:
        """Publish once: what will be reported again soon need not be kept."""
        if self.bus.connected:
            self.track(self.bus.publish(Outgoing(*place, body, self.new_id())).addErrback(self._report_lost))

    def reply(self, delivery: Delivery, default: Place, body: bytes, delay_seconds: float = 0.0) -> Awaitable[object]:
        """Answer a request where it asks for it, with its correlation id.

        @param default: where the answer goes if the request names no place.
        @return: what to await before the request is acknowledged; a late answer does not hold it up.
        """
        place = ("", delivery.reply_to) if delivery.reply_to else default
        if delay_seconds:
            self.later(delay_seconds, lambda: self.post(place, body, correlation_id=delivery.correlation_id))
            return _nothing()
        return self.send(place, body, correlation_id=delivery.correlation_id)

    def later(self, seconds: float, action: Callable[[], object]) -> IDelayedCall:
        """Do something later, unless stopped before."""

        def act() -> None:
            self._later.discard(call)
            action()

        call = self.reactor.callLater(seconds, act)
        self._later.add(call)
        return call

    def cancel(self, call: IDelayedCall) -> None:
        """Cancel what `later` returned, if it has not happened."""
        if call in self._later:
            self._later.discard(call)
            call.cancel()

    async def _pause(self, failures: int) -> bool:
        """Wait for the link, and a little more, before the next try. @return: whether there is to be one."""
        while self.running and not self.bus.connected:
            if not await self._over(self.bus.when_connected()):
                return False
        seconds = min(LONGEST_RETRY_SECONDS, self.random.uniform(*RETRY_SECONDS) * 2 ** min(failures, 10))
        if self.running and not await self._over(deferLater(self.reactor, seconds)):
            return False
        return self.running

    async def _over(self, pause: Deferred[None]) -> bool:
        """Wait for the end of a pause. @return: False if it was broken off."""
        self._pauses[pause] = None
        try:
            await pause
        except (CancelledError, NotConnected):
            return False
        finally:
            del self._pauses[pause]
        return True

    def _work_failed(self, failure: Failure) -> None:
        self.log.failure("{name}: failed", failure, name=self.name)

    def _report_lost(self, failure: Failure) -> None:
        failure.trap(BusError)
        if failure.check(Unroutable):
            self.unroutable += 1

    def _received(self, message: Message, delivery: Delivery) -> Received:
        return Received(
            wire_type(message),
            getattr(message, "confE164", "") or getattr(message, "e164", ""),
            delivery.body,
            delivery.queue,
            delivery.message_id,
            delivery.correlation_id,
            delivery.reply_to,
            delivery.headers,
            self.reactor.seconds(),
        )


async def _nothing() -> None:
    """Nothing to wait for."""
