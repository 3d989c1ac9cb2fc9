"""Who counts as silent, and when nobody may be judged."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.handlers.clocks import StoreClocks
from css.handlers.liveness import Liveness
from css.ports.store import McuSeen, StoreError

TIMEOUT_MS = 15_000
TICK_SECONDS = 0.5


class FakeState:
    """Takes signs of life, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.seen: list[McuSeen] = []

    async def note_seen(self, seen: list[McuSeen]) -> None:
        if self.away:
            raise StoreError("away")
        self.seen += seen


class LivenessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.state = FakeState()
        self.liveness = Liveness("A", lambda: self.state, StoreClocks(self.clock), TIMEOUT_MS)  # type: ignore[arg-type,return-value]
        self.liveness.begin_to_consume()

    def work(self, seconds: float) -> None:
        """Let time pass as it does in an instance that is well: it writes what it hears twice a second."""
        for _ in range(round(seconds / TICK_SECONDS)):
            self.clock.advance(TICK_SECONDS)
            _ = Deferred.fromCoroutine(self.liveness.flush()).addErrback(lambda failure: failure.trap(StoreError))

    def judges(self) -> bool:
        """Whether silence counts; if so it must be counted by the time-out."""
        before_ms = self.liveness.silent_before_ms()
        self.assertIn(before_ms, (0, self.clock.seconds() * 1000 - TIMEOUT_MS))
        return before_ms > 0

    def test_after_one_time_out(self) -> None:
        self.work(14.5)
        self.assertFalse(self.judges())
        self.work(1)
        self.assertTrue(self.judges())

    def test_who_was_frozen_judges_nobody_for_one_time_out(self) -> None:
        """What was said meanwhile is not yet heard when the first request after it is handled."""
        self.work(60)
        self.clock.advance(20)
        self.assertFalse(self.judges())
        self.work(14.5)
        self.assertFalse(self.judges())
        self.work(1)
        self.assertTrue(self.judges())

    def test_while_the_broker_is_away_nobody_is_judged(self) -> None:
        self.work(60)
        self.liveness.link_changed(False)
        self.work(20)
        self.assertFalse(self.judges())
        self.liveness.link_changed(True)
        self.work(14.5)
        self.assertFalse(self.judges())
        self.work(1)
        self.assertTrue(self.judges())

    def test_a_short_stall_changes_nothing(self) -> None:
        self.work(60)
        self.clock.advance(4)
        self.assertTrue(self.judges())
        self.work(0.5)
        self.assertTrue(self.judges())

    def test_who_could_not_write_what_it_heard_judges_nobody_for_one_time_out(self) -> None:
        self.work(60)
        self.state.away = True
        for _ in range(4):
            self.liveness.note("10.0.0.1", "1")
            self.work(5)
        self.assertFalse(self.judges())
        self.state.away = False
        self.work(14.5)
        self.assertFalse(self.judges())
        self.assertEqual([each.ip for each in self.state.seen], ["10.0.0.1"])
        self.work(1)
        self.assertTrue(self.judges())
