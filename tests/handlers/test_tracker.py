"""Work in flight, one step at a time, counts, and the stores' clocks."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.store import MemoryStore
from css.handlers.clocks import StoreClocks
from css.handlers.tally import Tally
from css.handlers.tracker import NumberLocks, Tracker, ended_by
from css.ports.store import StoreError


async def waits_for(deferred: Deferred[Any]) -> None:
    """Work that ends when a test says so."""
    await deferred


class Tracking(SynchronousTestCase):
    """What nobody awaits."""

    def setUp(self) -> None:
        self.tracker = Tracker()

    def test_drained(self) -> None:
        """Fires when all are done; at once if nothing runs."""
        self.successResultOf(self.tracker.drained())
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()
        self.tracker.run(waits_for(first), "first")
        self.tracker.run(waits_for(second), "second")
        drained = self.tracker.drained()
        self.assertEqual(self.tracker.in_flight, 2)
        first.callback(None)
        self.assertNoResult(drained)
        second.callback(None)
        self.successResultOf(drained)
        self.assertEqual(self.tracker.in_flight, 0)

    def test_failure_is_logged(self) -> None:
        """At once or later; and it counts as done."""
        late: Deferred[None] = Deferred()
        self.tracker.run(waits_for(late), "late")
        late.errback(ValueError("x"))

        async def fails() -> None:
            raise KeyError("x")

        self.tracker.run(fails(), "now")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.successResultOf(self.tracker.drained())


class Locks(SynchronousTestCase):
    """One step at a time for each number."""

    def setUp(self) -> None:
        self.locks = NumberLocks()
        self.order: list[str] = []

    def step(self, e164: str, name: str, until: Deferred[None] | None = None) -> Deferred[str]:
        """Begin a step that ends when `until` fires."""

        async def work() -> str:
            self.order.append(f"{name} begins")
            if until is not None:
                await until
            self.order.append(f"{name} ends")
            return name

        return Deferred.fromCoroutine(self.locks.run(e164, work))

    def test_in_order(self) -> None:
        """The second begins when the first has ended, also by an error; another number does not wait."""
        gate: Deferred[None] = Deferred()
        first, second, third = self.step("1", "a", gate), self.step("1", "b"), self.step("1", "c")
        self.assertEqual(self.successResultOf(self.step("2", "x")), "x")
        self.assertEqual(self.order, ["a begins", "x begins", "x ends"])
        gate.errback(ValueError("x"))
        self.failureResultOf(first, ValueError)
        self.assertEqual((self.successResultOf(second), self.successResultOf(third)), ("b", "c"))
        self.assertEqual(self.order[3:], ["b begins", "b ends", "c begins", "c ends"])

    def test_forgotten(self) -> None:
        """No number is kept once nothing of it runs."""
        gate: Deferred[None] = Deferred()
        running, waiting = self.step("1", "a", gate), self.step("1", "b")
        self.assertEqual(list(self.locks._queues), ["1"])
        gate.callback(None)
        self.assertEqual((self.successResultOf(running), self.successResultOf(waiting)), ("a", "b"))
        self.assertEqual(self.locks._queues, {})

    def test_a_long_queue(self) -> None:
        """Thousands of messages that waited for one number do not pile up on the stack."""
        gate: Deferred[None] = Deferred()
        first = self.step("1", "a", gate)
        others = [self.step("1", str(number)) for number in range(3_000)]
        gate.callback(None)
        self.successResultOf(first)
        self.assertEqual([self.successResultOf(each) for each in others], [str(number) for number in range(3_000)])
        self.assertEqual(self.order[-1], "2999 ends")


class Counts(SynchronousTestCase):
    """Counters by name."""

    def test_counts(self) -> None:
        """One that was never used is zero, and reading it makes none."""
        tally = Tally()
        tally.count("b")
        tally.count("a", 3)
        tally.count("b")
        self.assertEqual((tally["a"], tally["b"], tally["c"]), (3, 2, 0))
        self.assertEqual(list(tally.all().items()), [("a", 3), ("b", 2)])


class SlowStore(MemoryStore):
    """A store with a clock of its own, which answers after a while."""

    def __init__(self, platform: str, clock: Clock, ahead_ms: int, seconds: float) -> None:
        super().__init__(platform, clock)
        self._clock, self._ahead_ms, self._delay = clock, ahead_ms, seconds

    async def now_ms(self) -> int:
        self._clock.advance(self._delay / 2)
        now_ms = await super().now_ms()
        self._clock.advance(self._delay / 2)
        return now_ms + self._ahead_ms


class Clocks(SynchronousTestCase):
    """The local clock plus each store's offset."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.clocks = StoreClocks(self.clock)

    def refresh(self, platform: str, ahead_ms: int, seconds: float = 0.0) -> None:
        """Measure a store."""
        store = SlowStore(platform, self.clock, ahead_ms, seconds)
        self.successResultOf(Deferred.fromCoroutine(self.clocks.refresh(store)))

    def test_offset(self) -> None:
        """Half of the round trip is taken off."""
        self.refresh("pA", 7_000, seconds=2.0)
        self.assertEqual(self.clocks.now_ms("pA") - self.clocks.local_ms(), 7_000)

    def test_each_has_its_own(self) -> None:
        """One that was never measured has that of the one measured last; at first none."""
        self.assertEqual(self.clocks.now_ms("pA"), self.clocks.local_ms())
        self.refresh("pA", 500)
        self.assertEqual(self.clocks.now_ms("pB") - self.clocks.local_ms(), 500)
        self.refresh("pB", -300)
        self.assertEqual(self.clocks.now_ms("pA") - self.clocks.local_ms(), 500)
        self.assertEqual(self.clocks.now_ms("pB") - self.clocks.local_ms(), -300)

    def test_store_away(self) -> None:
        """The last offset stays."""
        self.refresh("pA", 500)
        store = MemoryStore("pA", self.clock)
        store.fail()
        self.failureResultOf(Deferred.fromCoroutine(self.clocks.refresh(store)), StoreError)
        self.assertEqual(self.clocks.now_ms("pA") - self.clocks.local_ms(), 500)


class Waiting(SynchronousTestCase):
    """For several things, no longer than until some time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.one, self.two = Deferred[None](), Deferred[None]()
        self.waiting = Deferred.fromCoroutine(ended_by(10.0, self.clock, self.one, self.two))

    def test_all_end(self) -> None:
        """However."""
        self.one.callback(None)
        self.assertNoResult(self.waiting)
        self.two.errback(ValueError("x"))
        self.assertTrue(self.successResultOf(self.waiting))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """What ends later harms nobody."""
        self.one.callback(None)
        self.clock.advance(10)
        self.assertFalse(self.successResultOf(self.waiting))
        self.two.callback(None)

    def test_nothing_to_wait_for(self) -> None:
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(ended_by(0.0, self.clock))))
