"""The end time, and the notices before it (seed 9.3)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from css.domain import expiry
from css.domain.conference import Conference
from css.domain.effects import EndReason, FreeLoad, ReleaseOnMcu, TellReleased, WarnOfEnd
from css.domain.events import DeadlinePassed
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import EPOCH, NOW, NOW_MS, RULES

END = NOW + 3_600


def running(**changes: Any) -> Conference:
    """One that ends an hour from now."""
    return expiry.schedule(samples.ongoing(endtime=END, **changes), NOW_MS)


def at(seconds: int) -> DeadlinePassed:
    """A deadline that comes so long after its end (negative: before)."""
    return DeadlinePassed(now_ms=(END + seconds) * 1000, placement=None)


class Schedule(SynchronousTestCase):
    """The next thing that the end time asks for."""

    def test_whole_life(self) -> None:
        """5 minutes, 1 minute, the end."""
        c = running()
        self.assertEqual(c.due_ms, (END - 300) * 1000)
        first = decide(c, at(-300), RULES)
        assert first.record is not None
        self.assertEqual((first.effects, first.record.due_ms), ((WarnOfEnd(5),), (END - 60) * 1000))
        second = decide(first.record, at(-60), RULES)
        assert second.record is not None
        self.assertEqual((second.effects, second.record.due_ms), ((WarnOfEnd(1),), END * 1000))
        last = decide(second.record, at(0), RULES)
        self.assertIs(last.ended, EndReason.EXPIRED)
        self.assertEqual(
            last.effects[:3],
            (
                ReleaseOnMcu("10.0.0.1", "11", EPOCH, "pA"),
                FreeLoad("10.0.0.1", c.placement, "pA"),
                TellReleased(EndReason.EXPIRED),
            ),
        )

    def test_not_a_millisecond_early(self) -> None:
        """Deadlines are kept."""
        early = DeadlinePassed(now_ms=(END - 300) * 1000 - 1, placement=None)
        self.assertFalse(decide(running(), early, RULES).changed)

    def test_without_an_end(self) -> None:
        """Until released."""
        c = expiry.schedule(samples.ongoing(endtime=0, warned=5), NOW_MS)
        self.assertEqual((c.due_ms, c.warned), (0, 0))
        self.assertFalse(decide(c, at(0), RULES).changed)

    def test_notices_already_past_when_it_begins_are_skipped(self) -> None:
        """A conference of three minutes gets one, of half a minute none."""
        three = expiry.schedule(samples.ongoing(endtime=NOW + 180), NOW_MS)
        self.assertEqual(three.due_ms, (NOW + 120) * 1000)
        half = expiry.schedule(samples.ongoing(endtime=NOW + 30), NOW_MS)
        self.assertEqual(half.due_ms, (NOW + 30) * 1000)
        at_its_moment = expiry.schedule(samples.ongoing(endtime=END), (END - 300) * 1000)
        self.assertEqual(at_its_moment.due_ms, (END - 60) * 1000)

    def test_not_warned_twice_after_a_restore(self) -> None:
        """What was said stays said."""
        c = expiry.schedule(samples.ongoing(endtime=END, warned=5), NOW_MS)
        self.assertEqual(c.due_ms, (END - 60) * 1000)

    def test_held_up_for_long(self) -> None:
        """Four and a half minutes late, what is said is true: one minute, once."""
        decision = decide(running(), at(-30), RULES)
        assert decision.record is not None
        self.assertEqual((decision.effects, decision.record.due_ms), ((WarnOfEnd(1),), END * 1000))

    def test_held_up_past_the_end(self) -> None:
        """No notice any more."""
        self.assertIs(decide(running(), at(9), RULES).ended, EndReason.EXPIRED)

    def test_end_that_has_moved(self) -> None:
        """A deadline of an end time that is no more is set anew."""
        moved = samples.ongoing(endtime=END + 6_000, due_ms=(END - 300) * 1000)
        decision = decide(moved, at(-300), RULES)
        assert decision.record is not None
        self.assertEqual((decision.effects, decision.record.due_ms), ((), (END + 5_700) * 1000))


class Over(SynchronousTestCase):
    """Whether its time is up, of one that waits."""

    def test_to_the_millisecond(self) -> None:
        """At its end time it is; one without an end never."""
        c = samples.pending_restore(endtime=END)
        self.assertEqual([expiry.is_over(c, END * 1000 + ms) for ms in (-1, 0, 1)], [False, True, True])
        self.assertFalse(expiry.is_over(samples.pending_restore(endtime=0), END * 1000))


class MinutesLeft(SynchronousTestCase):
    """What a restored conference still has."""

    def test_rounded_up(self) -> None:
        """Never 0, which means *no end*."""
        for seconds, minutes in ((1, 1), (60, 1), (61, 2), (3_600, 60)):
            c = samples.ongoing(endtime=NOW + seconds)
            self.assertEqual(expiry.minutes_left(c, NOW * 1000), minutes)
        self.assertEqual(expiry.minutes_left(samples.ongoing(endtime=0), NOW_MS), 0)
