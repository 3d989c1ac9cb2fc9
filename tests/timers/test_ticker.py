"""A ticker survives its errors, never overlaps itself, and stops in order."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from css.ports.bus import NotConnected
from css.ports.sql import SqlError
from css.ports.store import StoreError
from css.timers.ticker import Ticker


class TickerCase(SynchronousTestCase):
    """One that ticks every two seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.began: list[float] = []
        self.errors: list[Exception | None] = []
        self.gate: Deferred[None] | None = None
        self.ticker = Ticker(self.clock, "test work", 2.0, self.work)

    async def work(self) -> None:
        """A round; waits for the gate, if there is one; fails with the next error, if there is one."""
        self.began.append(self.clock.seconds())
        if self.gate is not None:
            await self.gate
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def tearDown(self) -> None:
        self.successResultOf(self.ticker.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Rounds(TickerCase):
    """When it works."""

    def test_every_so_often(self) -> None:
        """First after one interval, or at once if so wanted."""
        self.ticker.start()
        self.ticker.start()
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.began, [2.0, 4.0, 6.0])

    def test_at_once(self) -> None:
        """The first round is not waited for."""
        self.ticker.start(at_once=True)
        self.assertEqual(self.began, [0.0])

    def test_does_not_overlap(self) -> None:
        """A round that takes longer delays the next."""
        self.gate = Deferred()
        self.ticker.start()
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.began, [2.0])
        gate, self.gate = self.gate, None
        gate.callback(None)
        self.clock.pump([1.0] * 2)
        self.assertEqual(len(self.began), 2)

    def test_idle(self) -> None:
        """A round that would find nothing to do is none; after a failure there is one, to tell that it works again."""
        idle = True
        self.ticker = Ticker(self.clock, "test work", 2.0, self.work, lambda: idle)
        self.ticker.start()
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.began, [])
        idle = False
        self.errors.append(StoreError("away"))
        self.clock.pump([1.0])
        self.assertEqual(self.began, [6.0])
        idle = True
        self.clock.pump([1.0] * 6)
        self.assertEqual(self.began, [6.0, 8.0])

    def test_again_after_a_stop(self) -> None:
        """Nothing while stopped."""
        self.ticker.start()
        self.clock.pump([1.0] * 2)
        self.successResultOf(self.ticker.stop())
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.began, [2.0])
        self.ticker.start()
        self.clock.pump([1.0] * 2)
        self.assertEqual(len(self.began), 2)


class Errors(TickerCase):
    """What goes wrong in a round."""

    def test_dependency_away(self) -> None:
        """Said once when it begins and once when it is over, however long it lasts."""
        self.errors = [StoreError("a"), NotConnected("b"), SqlError("c"), None, None]
        with capturedLogs() as events:
            self.ticker.start()
            self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.began), 5)
        said = [str(event["log_format"]).partition(": ")[0] for event in events if "log_format" in event]
        self.assertEqual(said, ["{name} can't work", "{name} works again"])

    def test_anything_else(self) -> None:
        """Logged with its traceback; the next round comes all the same."""
        self.errors = [KeyError("x"), KeyError("y")]
        self.ticker.start()
        self.clock.pump([1.0] * 6)
        self.assertEqual(len(self.began), 3)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)


class Stop(TickerCase):
    """The end."""

    def test_waits_for_the_round(self) -> None:
        """It has ended when the round under way has; no other begins."""
        self.gate = Deferred()
        self.ticker.start()
        self.clock.pump([1.0] * 2)
        stopped = self.ticker.stop()
        self.assertNoResult(stopped)
        self.gate.callback(None)
        self.successResultOf(stopped)
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.began, [2.0])

    def test_waits_for_a_round_that_fails(self) -> None:
        """The error is the round's, not the stop's."""
        self.gate = Deferred()
        self.errors = [KeyError("x")]
        self.ticker.start()
        self.clock.pump([1.0] * 2)
        stopped = self.ticker.stop()
        self.gate.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_never_started(self) -> None:
        """At once; nothing begins after that."""
        self.assertIsNone(self.successResultOf(self.ticker.stop()))
        self.clock.pump([1.0] * 4)
        self.assertEqual((self.began, self.clock.getDelayedCalls()), ([], []))
