"""Losing placements and finding others (seed 1.2, 9.1, 9.4)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import Attempt, Conference, Situation, State
from css.domain.decision import Decision
from css.domain.effects import (
    AskMcuToRestore,
    AskResources,
    EndReason,
    FreeLoad,
    Note,
    ReleaseOnMcu,
    ReportGone,
    ReportRunning,
    SaveRow,
    TakeLoad,
    TellReleased,
    TellRestored,
)
from css.domain.events import DeadlinePassed, Placement, ResourcesRefused, RestoreBegins
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import EPOCH, FRESH_EPOCH, NEXT_EPOCH, NOW, NOW_MS, RULES

BEGIN = RestoreBegins(now_ms=NOW_MS)


def record(decision: Decision) -> Conference:
    """What a decision leaves."""
    assert decision.record is not None
    return decision.record


class Base(SynchronousTestCase):
    """Short ways to say what is expected."""

    def ignores(self, decision: Decision) -> None:
        """Nothing changes, nothing follows."""
        self.assertEqual((decision.changed, decision.effects), (False, ()), decision.because)

    def waits(self, decision: Decision, due_ms: int) -> Conference:
        """`pending_restore`, without an attempt, due then."""
        after = record(decision)
        self.assertEqual((after.situation, after.due_ms), (Situation.PENDING_RESTORE, due_ms))
        return after


class LostMcu(Base):
    """Its MCU process has gone."""

    def test_keeps_its_placement(self) -> None:
        """The MCU may be fine; the place stays booked, so that nothing new goes there in its stead."""
        before = samples.ongoing()
        decision = decide(before, samples.lost(), RULES)
        after = self.waits(decision, NOW_MS)
        self.assertEqual(
            (after.ip, after.pid, after.roommoid, after.epoch), (before.ip, before.pid, before.roommoid, before.epoch)
        )
        self.assertEqual((after.lost_ms, after.recovery), (NOW_MS, "mcu:1"))
        self.assertEqual([type(each) for each in decision.effects], [Note])

    def test_of_another_process(self) -> None:
        """Another process of the host, or one it has left long ago."""
        for event in (samples.lost(pid="12"), samples.lost(ip="10.0.0.2")):
            self.ignores(decide(samples.ongoing(), event, RULES))

    def test_legacy_waits_for_its_mcu(self) -> None:
        """Not restored elsewhere; after `legacy_wait_seconds` it is lost."""
        after = self.waits(decide(samples.ongoing(legacy=True), samples.lost(), RULES), NOW_MS + 300_000)
        self.ignores(decide(after, BEGIN, RULES))
        self.ignores(decide(after, DeadlinePassed(now_ms=NOW_MS + 299_999, placement=None), RULES))
        decision = decide(after, DeadlinePassed(now_ms=NOW_MS + 300_000, placement=None), RULES)
        self.assertIs(decision.ended, EndReason.LOST)
        self.assertIn(TellReleased(EndReason.LOST), decision.effects)

    def test_end_time_is_watched(self) -> None:
        """It is looked at again at its end, if that is before its wait is over."""
        soon = NOW + 100
        self.waits(decide(samples.ongoing(legacy=True, endtime=soon), samples.lost(), RULES), soon * 1000)
        self.waits(decide(samples.ongoing(endtime=NOW - 9), samples.lost(), RULES), (NOW - 9) * 1000)


class Void(Base):
    """Its room is abnormal."""

    def test_running(self) -> None:
        """Released there under its old epoch, its place given back; nothing of the placement stays."""
        c = samples.ongoing()
        decision = decide(c, samples.void(), RULES)
        after = self.waits(decision, NOW_MS)
        self.assertEqual((after.ip, after.pid, after.roommoid, after.epoch), ("", "", "", FRESH_EPOCH))
        self.assertEqual(after.recovery, "room:1")
        self.assertEqual(
            decision.effects[:2], (FreeLoad("10.0.0.1", c.placement, "pA"), ReleaseOnMcu("10.0.0.1", "11", EPOCH, "pA"))
        )

    def test_what_still_speaks_of_the_old_placement_changes_nothing(self) -> None:
        """Its end notice, its list, its ACK."""
        after = record(decide(samples.ongoing(), samples.void(), RULES))
        self.ignores(decide(after, samples.ended(), RULES))
        for event in (samples.listed(), samples.listed(epoch=None), samples.accepted(), samples.accepted(epoch=None)):
            decision = decide(after, event, RULES)
            self.assertFalse(decision.changed)
            self.assertEqual([type(each) for each in decision.effects], [ReleaseOnMcu])
        self.ignores(decide(after, samples.absent(), RULES))

    def test_while_rms_is_asked(self) -> None:
        """The attempt is over; the answer that comes then is of the old placement."""
        after = self.waits(decide(samples.restore_asking_rms(), samples.void(), RULES), NOW_MS)
        self.ignores(decide(after, samples.given(), RULES))

    def test_while_an_mcu_is_asked(self) -> None:
        """What it starts all the same is older than the record, and ended."""
        c = samples.restoring()
        after = self.waits(decide(c, samples.void(), RULES), NOW_MS)
        late = decide(after, samples.accepted(epoch=c.epoch), RULES)
        self.assertEqual((late.changed, late.effects), (False, (ReleaseOnMcu("10.0.0.1", "11", c.epoch),)))

    def test_legacy_is_left_alone(self) -> None:
        """It can't run elsewhere."""
        self.ignores(decide(samples.ongoing(legacy=True), samples.void(), RULES))

    def test_goes_on_in_another_recovery(self) -> None:
        """The first recovery is told."""
        before = samples.pending_restore(recovery="mcu:1")
        decision = decide(before, samples.void(), RULES)
        notes = [each for each in decision.effects if isinstance(each, Note)]
        self.assertEqual(
            [(note.recovery, note.joins, note.settled) for note in notes],
            [("mcu:1", False, True), ("room:1", True, False)],
        )


class Begins(Base):
    """Its turn in the restore rate."""

    def test_rms_is_asked(self) -> None:
        """It stays `pending_restore` with its old placement: a list may show it meanwhile."""
        decision = decide(samples.pending_restore(), BEGIN, RULES)
        after = record(decision)
        self.assertEqual((after.state, after.ip, after.pid), (State.PENDING_RESTORE, "10.0.0.1", "11"))
        self.assertEqual((after.attempt, after.due_ms), (Attempt(NOW_MS + 30_000), NOW_MS + 5_000))
        self.assertEqual(decision.effects, (AskResources(),))

    def test_past_its_end(self) -> None:
        """Ended, not restored."""
        decision = decide(samples.pending_restore(endtime=NOW), BEGIN, RULES)
        self.assertIs(decision.ended, EndReason.EXPIRED)

    def test_again(self) -> None:
        """A second instance, or a second turn, begins nothing."""
        self.ignores(decide(samples.restore_asking_rms(), BEGIN, RULES))
        self.ignores(decide(samples.ongoing(), BEGIN, RULES))


class RmsAnswers(Base):
    """What RMS says, or does not."""

    def test_a_host_is_asked(self) -> None:
        """With the minutes that are left, rounded up; the old place goes back."""
        c = samples.restore_asking_rms(endtime=NOW + 61)
        decision = decide(c, samples.given(), RULES)
        after = record(decision)
        self.assertIs(after.situation, Situation.RESTORE_ASKING_MCU)
        self.assertEqual((after.ip, after.pid, after.roommoid, after.epoch), ("10.0.0.2", "", "room-2", NEXT_EPOCH))
        assert after.attempt is not None
        self.assertEqual(after.attempt.mcus, ("10.0.0.1", "10.0.0.3"))  # each is tried once
        self.assertEqual(decision.effects, (AskMcuToRestore(5_000, 2), FreeLoad("10.0.0.1", c.placement, "pA")))
        endless = decide(samples.restore_asking_rms(endtime=0), samples.given(), RULES)
        self.assertEqual(endless.effects[0], AskMcuToRestore(5_000, 0))

    def test_platform_is_where_the_host_is(self) -> None:
        """A restore on another platform moves it there: the locator of the one that it leaves forgets it (seed 7)."""
        booked = samples.given(placement=Placement("10.0.0.2", "room-2", NEXT_EPOCH, "pB"))
        decision = decide(samples.restore_asking_rms(), booked, RULES)
        self.assertEqual(record(decision).platformmoid, "pB")
        self.assertIn(ReportGone("pA"), decision.effects)
        again = decide(record(decision), samples.overdue(placement=booked.placement), RULES)
        self.assertNotIn(ReportGone, [type(effect) for effect in again.effects])

    def test_no_capacity(self) -> None:
        """No host, a refusal, silence: tried again after the restore interval, the old placement kept."""
        c = samples.restore_asking_rms()
        nothing = samples.given(placement=None)
        refused = ResourcesRefused(now_ms=NOW_MS, epoch=EPOCH)
        for event in (nothing, refused):
            after = self.waits(decide(c, event, RULES), NOW_MS + 5_000)
            self.assertEqual((after.ip, after.pid, after.epoch), ("10.0.0.1", "11", EPOCH))
        self.waits(decide(c, samples.overdue(placement=None), RULES), NOW_MS + 10_000)
        self.ignores(decide(c, samples.overdue(now_ms=NOW_MS + 4_999, placement=None), RULES))

    def test_about_another_placement(self) -> None:
        """An answer that is not this attempt's."""
        c = samples.restore_asking_rms()
        self.ignores(decide(c, samples.given(epoch=EPOCH - 1), RULES))
        self.ignores(decide(c, ResourcesRefused(now_ms=NOW_MS, epoch=EPOCH - 1), RULES))

    def test_past_its_end(self) -> None:
        """No host is asked any more; the booked place goes back."""
        decision = decide(samples.restore_asking_rms(endtime=NOW), samples.given(), RULES)
        self.assertIs(decision.ended, EndReason.EXPIRED)
        self.assertIn(FreeLoad("10.0.0.2", f"pA/0755001/{NEXT_EPOCH}", "pA"), decision.effects)


class McuAnswers(Base):
    """What the host says, or does not."""

    def test_accepted(self) -> None:
        """It runs: told to the CM, the locator and SQL; begin and end as they were."""
        c = samples.restoring(warned=5)
        decision = decide(c, samples.accepted(epoch=c.epoch, time=NOW + 3), RULES)
        after = record(decision)
        self.assertIs(after.state, State.ONGOING)
        self.assertEqual((after.pid, after.begintime, after.endtime), ("11", c.begintime, c.endtime))
        self.assertEqual((after.acked_time, after.lost_ms, after.attempt), (NOW + 3, 0, None))
        self.assertEqual(decision.effects, (TellRestored(), ReportRunning(), SaveRow()))

    def test_late_ack_of_a_host_tried_before(self) -> None:
        """It counts for nothing but its own end: the host asked now is not that one."""
        c = samples.restoring()
        for ip, epoch in (("10.0.0.1", c.epoch - 9), ("10.0.0.7", c.epoch - 9), ("10.0.0.7", None)):
            decision = decide(c, samples.accepted(ip=ip, epoch=epoch), RULES)
            self.assertFalse(decision.changed)
            self.assertEqual(decision.effects, (ReleaseOnMcu(ip, "11", epoch),))

    def test_newer_one_is_adopted(self) -> None:
        """The record's writes were lost: its load is counted there, and no more at the host that was asked."""
        c = samples.restoring()
        decision = decide(c, samples.accepted(ip="10.0.0.5", epoch=c.epoch + 9), RULES)
        after = record(decision)
        self.assertEqual((after.state, after.ip, after.epoch), (State.ONGOING, "10.0.0.5", c.epoch + 9))
        self.assertIn(TakeLoad("10.0.0.5", after.placement, "pA"), decision.effects)
        self.assertIn(FreeLoad("10.0.0.1", c.placement, "pA"), decision.effects)
        self.assertNotIn(ReportGone("pA"), decision.effects)

    def test_newer_one_on_another_platform(self) -> None:
        """It can't be reached any more on the platform that it has left."""
        c = samples.restoring()
        decision = decide(c, samples.accepted(platform="pB", epoch=c.epoch + 9), RULES)
        self.assertEqual(record(decision).platformmoid, "pB")
        self.assertIn(ReportGone("pA"), decision.effects)

    def test_next_host(self) -> None:
        """A refusal or silence moves on, under a new epoch; the one that failed is penalised."""
        c = samples.restoring(attempt=Attempt(NOW_MS + 30_000, None, "room-0", ("10.0.0.2",)))
        for event in (samples.refused(epoch=c.epoch), samples.overdue()):
            decision = decide(c, event, RULES)
            after = record(decision)
            self.assertIs(after.situation, Situation.RESTORE_ASKING_MCU)
            self.assertEqual((after.ip, after.epoch, decision.penalise), ("10.0.0.2", NEXT_EPOCH, "10.0.0.1"))
            self.assertIn(FreeLoad("10.0.0.1", c.placement, "pA"), decision.effects)

    def test_none_left(self) -> None:
        """Waits for the next attempt; nothing of this one stays but a higher epoch."""
        c = samples.restoring()
        for event in (
            samples.refused(epoch=c.epoch, placement=None),
            samples.overdue(placement=None),
            samples.ended(epoch=c.epoch),
        ):
            after = self.waits(decide(c, event, RULES), event.now_ms + 5_000)
            self.assertEqual((after.ip, after.pid, after.roommoid), ("", "", ""))
            self.assertGreater(after.epoch, c.epoch)

    def test_late_ack_of_a_failed_attempt(self) -> None:
        """The MCU was only slow, and is told to end it: another attempt is on its way."""
        c = samples.restoring()
        waiting = record(decide(c, samples.overdue(placement=None), RULES))
        for event in (samples.accepted(epoch=c.epoch), samples.listed(epoch=c.epoch)):
            decision = decide(waiting, event, RULES)
            self.assertFalse(decision.changed)
            self.assertEqual(decision.effects, (ReleaseOnMcu("10.0.0.1", "11", c.epoch),))

    def test_older_refusal(self) -> None:
        """Of a host tried before."""
        self.ignores(decide(samples.restoring(), samples.refused(epoch=EPOCH), RULES))

    def test_not_due_yet(self) -> None:
        """Not a millisecond early."""
        self.ignores(decide(samples.restoring(), samples.overdue(now_ms=NOW_MS + 4_999), RULES))

    def test_end_notice_of_another_placement(self) -> None:
        """Of one before this, or of one that can't be told from it."""
        c = samples.restoring()
        for event in (
            samples.ended(epoch=EPOCH),
            samples.ended(epoch=None),
            samples.ended(ip="10.0.0.8", epoch=c.epoch),
        ):
            self.ignores(decide(c, event, RULES))

    def test_mcu_lost_while_asked(self) -> None:
        """No process has it yet: its time-out moves on."""
        self.ignores(decide(samples.restoring(), samples.lost(), RULES))
        self.ignores(decide(samples.asking_mcu(), samples.lost(), RULES))


class WaitsOn(Base):
    """A pending conference whose deadline has come."""

    def test_at_its_end(self) -> None:
        """Cleaned up, whatever it waits for."""
        for c in (
            samples.pending_restore(endtime=NOW),
            samples.voided(endtime=NOW),
            samples.pending_restore(endtime=NOW, legacy=True),
        ):
            decision = decide(c, DeadlinePassed(now_ms=NOW_MS, placement=None), RULES)
            self.assertIs(decision.ended, EndReason.EXPIRED)

    def test_before_it(self) -> None:
        """A restore needs a place in the rate: the deadline alone begins none."""
        self.ignores(decide(samples.pending_restore(), DeadlinePassed(now_ms=NOW_MS, placement=None), RULES))

    def test_next_attempt_is_not_after_its_end(self) -> None:
        """A failed attempt is followed by its end, if that comes first."""
        c = samples.restore_asking_rms(endtime=NOW + 3)
        self.waits(decide(c, samples.given(placement=None), RULES), (NOW + 3) * 1000)
