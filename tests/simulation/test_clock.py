"""Simulated time and processes."""

from __future__ import annotations

from random import Random

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from css.simulation.clock import START_SECONDS, Process, Timeline
from css.simulation.network import Wire


class TimelineTests(SynchronousTestCase):
    """The heap."""

    def setUp(self) -> None:
        self.timeline = Timeline(100.0)
        self.made: list[str] = []

    def run_until(self, until: float) -> None:
        """Make every call that is due by then."""
        while self.timeline.step(until):
            pass

    def test_interface(self) -> None:
        """Timelines and processes are what Twisted calls a clock."""
        self.assertTrue(verifyObject(IReactorTime, self.timeline))
        self.assertTrue(verifyObject(IReactorTime, Process(self.timeline, Random(1), "p")))

    def test_order(self) -> None:
        """By time; at one instant in the order of asking, also for what is asked for meanwhile."""
        for name, delay in (("late", 2.0), ("first", 1.0), ("second", 1.0)):
            self.timeline.callLater(delay, self.made.append, name)
        self.timeline.callLater(1.0, lambda: self.timeline.callLater(0, self.made.append, "third"))
        self.run_until(101.5)
        self.assertEqual(self.made, ["first", "second", "third"])
        self.assertEqual(self.timeline.seconds(), 101.5)

    def test_cancelled_and_moved(self) -> None:
        """What is cancelled is not made, what is put off is made once, when it is due."""
        gone = self.timeline.callLater(1.0, self.made.append, "gone")
        gone.cancel()
        moved = self.timeline.callLater(1.0, self.made.append, "moved")
        moved.reset(3.0)
        moved.delay(1.0)
        self.assertEqual(self.timeline.getDelayedCalls(), [moved])
        self.run_until(103.9)
        self.assertEqual(self.made, [])
        self.run_until(104.0)
        self.assertEqual(self.made, ["moved"])
        self.assertRaises(AlreadyCancelled, gone.cancel)
        self.assertRaises(AlreadyCalled, moved.reset, 1.0)

    def test_looping_call(self) -> None:
        """Twisted's own loops run on it, and idle time is skipped."""
        process = Process(self.timeline, Random(1), "p")
        loop = LoopingCall(self.made.append, "tick")
        loop.clock = process
        self.assertFalse(loop.start(10.0, now=False).called)
        self.run_until(100.0 + 3600.0)
        self.assertEqual(len(self.made), 360)
        self.assertEqual(self.timeline.steps, 360)
        loop.stop()
        self.assertEqual(process.getDelayedCalls(), [])


class ProcessTests(SynchronousTestCase):
    """Death, frost, wrong clocks."""

    def setUp(self) -> None:
        self.timeline = Timeline()
        self.process = Process(self.timeline, Random(3), "p")
        self.made: list[str] = []

    def pass_time(self, seconds: float) -> None:
        """Make every call that is due within that time."""
        until = self.timeline.now + seconds
        while self.timeline.step(until):
            pass

    def test_killed(self) -> None:
        """Nothing happens in a dead process, and its death is told once."""
        deaths: list[str] = []
        self.process.on_death = lambda: deaths.append("dead")
        self.process.callLater(1.0, self.made.append, "timer")
        self.process.kill()
        self.process.kill()
        self.process.run(self.made.append, "message")
        self.pass_time(2.0)
        self.assertEqual((self.made, deaths), ([], ["dead"]))

    def test_killed_before_an_event(self) -> None:
        """It dies in the place of the n-th event from now."""
        self.process.kill_after(3)
        for number in range(5):
            self.process.run(self.made.append, str(number))
        self.assertEqual(self.made, ["0", "1"])
        self.assertFalse(self.process.alive)

    def test_frozen(self) -> None:
        """What a frozen process misses it finds when it goes on, in order."""
        self.process.callLater(2.0, self.made.append, "timer 2")
        self.process.callLater(1.0, self.made.append, "timer 1")
        self.process.freeze()
        self.pass_time(5.0)
        self.process.run(self.made.append, "message 1")
        self.process.run(self.made.append, "message 2")
        self.assertEqual(self.made, [])
        self.process.resume()
        self.pass_time(0.0)
        self.assertEqual([each for each in self.made if "timer" in each], ["timer 1", "timer 2"])
        self.assertEqual([each for each in self.made if "message" in each], ["message 1", "message 2"])

    def test_cancelled_while_frozen(self) -> None:
        """A timer that another one cancels after the frost is not made."""
        second = self.process.callLater(2.0, self.made.append, "second")
        self.process.callLater(1.0, second.cancel)
        self.process.freeze()
        self.pass_time(5.0)
        self.process.resume()
        self.pass_time(5.0)
        self.assertEqual(self.made, [])

    def test_clock_jumps(self) -> None:
        """A clock set back puts timers off, one set forward makes them due: as with Twisted's own."""
        self.process.callLater(10.0, self.made.append, "timer")
        self.process.jump(-3600.0)
        self.assertEqual(self.process.seconds(), START_SECONDS - 3600.0)
        self.pass_time(60.0)
        self.assertEqual(self.made, [])
        self.process.jump(3600.0)
        self.pass_time(0.0)
        self.assertEqual(self.made, ["timer"])


class WireTests(SynchronousTestCase):
    """What lies between."""

    def setUp(self) -> None:
        self.timeline = Timeline()
        self.wire = Wire(self.timeline, Random(5))
        self.got: list[int] = []

    def pass_time(self, seconds: float) -> None:
        """Make every call that is due within that time."""
        until = self.timeline.now + seconds
        while self.timeline.step(until):
            pass

    def test_in_order(self) -> None:
        """However long each takes, nothing overtakes; and everything takes a while."""
        for number in range(2000):
            self.wire.send(self.got.append, number)
        self.pass_time(0.0001)
        self.assertEqual(self.got, [])
        self.pass_time(10.0)
        self.assertEqual(self.got, list(range(2000)))

    def test_clogged(self) -> None:
        """What is sent into a clogged wire waits."""
        self.wire.send(self.got.append, 1)
        self.wire.clog()
        self.wire.send(self.got.append, 2)
        self.pass_time(10.0)
        self.assertEqual(self.got, [1])
        self.wire.clear()
        self.wire.send(self.got.append, 3)
        self.pass_time(10.0)
        self.assertEqual(self.got, [1, 2, 3])

    def test_cut(self) -> None:
        """What was on its way is lost, what is sent later arrives."""
        self.wire.send(self.got.append, 1)
        self.wire.cut()
        self.wire.send(self.got.append, 2)
        self.pass_time(10.0)
        self.assertEqual(self.got, [2])
