"""Work in flight, so that a stop can wait for it and no failure is dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")


class Tracker:
    """Runs coroutines that nobody awaits; logs their failures; `drained` tells when all are done."""

    log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()
        self._waiting: list[Deferred[None]] = []

    @property
    def in_flight(self) -> int:
        """How many are running."""
        return len(self._running)

    def run(self, work: Coroutine[Deferred[Any], Any, Any], what: str) -> None:
        """Run a coroutine to its end; a failure is logged with `what`."""
        running = Deferred.fromCoroutine(work)
        if running.called and not running.paused and not isinstance(running.result, Failure):
            return
        self._running.add(running)

        def done(result: object) -> None:
            self._running.discard(running)
            if isinstance(result, Failure):
                self.log.failure("{what} failed", failure=result, what=what)
            if not self._running:
                waiting, self._waiting = self._waiting, []
                for each in waiting:
                    each.callback(None)

        _ = running.addBoth(done)

    def drained(self) -> Deferred[None]:
        """@return: fires when nothing is running any more."""
        waiting: Deferred[None] = Deferred()
        if self._running:
            self._waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting


async def all_of(works: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """Run coroutines at the same time, all to their end. @return: what they return. Fails with the first failure."""
    running = [Deferred.fromCoroutine(work) for work in works]
    results: list[tuple[bool, Any]] = await DeferredList(running, consumeErrors=True)
    for ok, result in results:
        if not ok:
            result.raiseException()
    return [result for _, result in results]


async def ended_by(until: float, clock: IReactorTime, *ends: Deferred[Any]) -> bool:
    """Wait for all of these, but no longer than until then, seconds of the clock. @return: whether all ended in time.
    Never fails."""
    waiting = DeferredList(ends, consumeErrors=True)
    late = clock.callLater(max(0.0, until - clock.seconds()), waiting.cancel)
    await waiting
    in_time = late.active()
    if in_time:
        late.cancel()
    return in_time


class NumberLocks:
    """One step at a time for each conference, within this instance; across instances the record's version decides."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Deferred[None]]] = {}
        self._turns: deque[Deferred[None]] = deque()
        self._handing_over = False

    async def run(self, e164: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` when every earlier one of the number has ended."""
        turn = self.enter(e164)
        if turn is not None:
            await turn
        try:
            return await work()
        finally:
            self.leave(e164)

    def enter(self, e164: str) -> Deferred[None] | None:
        """Queue up for a number. @return: what to wait for before its turn has come; None: it has."""
        queue = self._queues.get(e164)
        if queue is None:
            self._queues[e164] = deque()
            return None
        turn: Deferred[None] = Deferred()
        queue.append(turn)
        return turn

    def leave(self, e164: str) -> None:
        """The turn is over: the next one's has come."""
        queue = self._queues[e164]
        if not queue:
            del self._queues[e164]
            return
        self._turns.append(queue.popleft())
        if self._handing_over:
            return  # a release further down the stack goes on with it: steps that never wait must not pile up there
        self._handing_over = True
        try:
            while self._turns:
                self._turns.popleft().callback(None)
        finally:
            self._handing_over = False
