"""The create flow, rule by rule (contract: "Create, release"; seed 1.1, 2.3.2, 4.6)."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from css.domain import creation
from css.domain.conference import Attempt, Conference, Size, State
from css.domain.decision import Decision
from css.domain.effects import (
    AnswerCreated,
    AnswerRefused,
    AskMcuToCreate,
    AskResources,
    EndReason,
    FreeLoad,
    ReleaseOnMcu,
    ReportRunning,
    SaveRow,
    TakeLoad,
    TellRestored,
)
from css.domain.errors import ErrCode
from css.domain.events import Event, ResourcesRefused
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import BOOKED, CM, EPOCH, NEXT_EPOCH, NOW, NOW_MS, RULES


def after(conference: Conference, event: Event) -> Conference:
    """The record after an event that must have changed it."""
    record = decide(conference, event, RULES).record
    assert record is not None
    return record


class Base(SynchronousTestCase):
    """What all of these ask."""

    def refuses(self, decision: Decision, errcode: ErrCode) -> None:
        """The create is over: one NACK, a tombstone's reason, no notice and no bill (it never ran)."""
        self.assertTrue(decision.changed)
        self.assertIsNone(decision.record)
        self.assertIs(decision.ended, EndReason.FAILED)
        answers = [effect for effect in decision.effects if not isinstance(effect, FreeLoad)]
        self.assertEqual(answers, [AnswerRefused(CM, errcode)])

    def ignores(self, decision: Decision, *effects: object) -> None:
        """The record stays; these effects only."""
        self.assertFalse(decision.changed)
        self.assertIsNone(decision.ended)
        self.assertEqual(decision.effects, effects)


class Begin(Base):
    """A create that has passed its checks."""

    def test_record(self) -> None:
        """`creating`, RMS asked, everything that the CM said kept."""
        decision = creation.begin(samples.create_asked(), RULES)
        self.assertEqual(decision.record, samples.asking_rms(version=0))
        self.assertEqual(decision.effects, (AskResources(),))

    def test_deadlines(self) -> None:
        """RMS has the request time-out, but never longer than the creating deadline, which counts from acceptance."""
        record = creation.begin(samples.create_asked(), RULES).record
        assert record is not None and record.attempt is not None
        self.assertEqual((record.due_ms, record.attempt.deadline_ms), (NOW_MS + 5_000, NOW_MS + 30_000))
        hasty = creation.begin(samples.create_asked(), replace(RULES, creating_timeout_ms=2_000)).record
        assert hasty is not None
        self.assertEqual(hasty.due_ms, NOW_MS + 2_000)

    def test_size(self) -> None:
        """Eight terminals at most is small, one more is large (contract, section 4)."""
        for terminals, size in ((0, Size.SMALL), (8, Size.SMALL), (9, Size.LARGE)):
            record = creation.begin(samples.create_asked(terminals=terminals), RULES).record
            assert record is not None
            self.assertIs(record.size, size)

    def test_counted_under_user_domain_and_platform(self) -> None:
        """Under the moids of today, kept for giving back."""
        record = creation.begin(samples.create_asked(moid="u7", source="pB"), RULES).record
        assert record is not None
        self.assertEqual(record.licensed_under, ("u7", "pB"))

    def test_of_a_platform_that_is_taken_over(self) -> None:
        """The record belongs to the source, and really runs here."""
        record = creation.begin(samples.create_asked(source="pB", served_by="pA"), RULES).record
        assert record is not None
        self.assertEqual((record.source, record.platformmoid), ("pB", "pA"))


class Resources(Base):
    """RMS's answer, or its silence."""

    def test_the_booked_host_is_asked(self) -> None:
        """Under the booked epoch; the others are left to try; the host's own room counts before RMS's."""
        decision = decide(samples.asking_rms(), samples.given(), RULES)
        expected = samples.asking_rms(
            ip="10.0.0.2",
            roommoid="room-2",
            epoch=NEXT_EPOCH,
            due_ms=NOW_MS + 5_000,
            attempt=Attempt(NOW_MS + 30_000, CM, "room-0", ("10.0.0.1", "10.0.0.3"), "10.9.9.9", True),
        )
        self.assertEqual(decision.record, expected)
        self.assertEqual(decision.effects, (AskMcuToCreate(5_000),))

    def test_room_of_a_host_that_never_reported_one(self) -> None:
        """RMS's room."""
        record = after(samples.asking_rms(), samples.given(placement=replace(BOOKED, roommoid="")))
        self.assertEqual(record.roommoid, "room-0")

    def test_recorder_and_mixer(self) -> None:
        """Kept for every host that is tried."""
        record = after(samples.asking_rms(), samples.given(vrs="", xmpu=False))
        assert record.attempt is not None
        self.assertEqual((record.attempt.vrs, record.attempt.xmpu), ("", False))

    def test_no_usable_host(self) -> None:
        """An empty or fully excluded list: NO_RESOURCE."""
        self.refuses(decide(samples.asking_rms(), samples.given(placement=None), RULES), ErrCode.NO_RESOURCE)
        self.refuses(decide(samples.asking_rms(), samples.given(mcus=(), placement=None), RULES), ErrCode.NO_RESOURCE)

    def test_answer_for_another_placement(self) -> None:
        """An answer that comes late, for an earlier conference of the same number."""
        self.ignores(decide(samples.asking_rms(), samples.given(epoch=EPOCH - 1), RULES))
        self.ignores(decide(samples.asking_rms(), ResourcesRefused(now_ms=NOW_MS, epoch=EPOCH - 1), RULES))

    def test_rms_is_asked_once(self) -> None:
        """A second answer, while a host is asked, changes nothing."""
        self.ignores(decide(samples.asking_mcu(), samples.given(), RULES))
        self.ignores(decide(samples.asking_mcu(), ResourcesRefused(now_ms=NOW_MS, epoch=EPOCH), RULES))

    def test_refused(self) -> None:
        """RMS_NACK."""
        self.refuses(
            decide(samples.asking_rms(), ResourcesRefused(now_ms=NOW_MS, epoch=EPOCH), RULES), ErrCode.RMS_NACK
        )

    def test_silent(self) -> None:
        """RMS_TIMEOUT, and not a millisecond early."""
        early = samples.overdue(now_ms=NOW_MS + 4_999, placement=None)
        self.ignores(decide(samples.asking_rms(), early, RULES))
        self.refuses(decide(samples.asking_rms(), samples.overdue(placement=None), RULES), ErrCode.RMS_TIMEOUT)

    def test_host_gets_what_is_left_of_the_deadline(self) -> None:
        """An attempt waits the request time-out or the time left, whichever is less."""
        decision = decide(samples.asking_rms(), samples.given(now_ms=NOW_MS + 28_000), RULES)
        self.assertEqual(decision.effects, (AskMcuToCreate(2_000),))
        assert decision.record is not None
        self.assertEqual(decision.record.due_ms, NOW_MS + 30_000)


class Accepted(Base):
    """The MCU's ACK."""

    def test_ongoing(self) -> None:
        """The CM is answered, the locator and SQL are told."""
        decision = decide(samples.asking_mcu(), samples.accepted(), RULES)
        expected = samples.asking_mcu(
            state=State.ONGOING,
            pid="11",
            createtime=NOW,
            begintime=NOW,
            endtime=NOW + 3_600,
            due_ms=(NOW + 3_300) * 1000,
            attempt=None,
        )
        self.assertEqual(decision.record, expected)
        self.assertEqual(decision.effects, (AnswerCreated(CM), ReportRunning(), SaveRow()))

    def test_end_time(self) -> None:
        """`begintime` + 60 x `duration`; without a duration none."""
        self.assertEqual(after(samples.asking_mcu(duration=1), samples.accepted()).endtime, NOW + 60)
        self.assertEqual(after(samples.asking_mcu(duration=0), samples.accepted()).endtime, 0)

    def test_begintime_is_kept_by_restores(self) -> None:
        """It is the first ACK's; `createtime` is this placement's; nobody asked, so nobody is answered."""
        c = samples.restoring()
        decision = decide(c, samples.accepted(epoch=c.epoch), RULES)
        assert decision.record is not None
        self.assertEqual(decision.record.begintime, NOW - 600)
        self.assertEqual(decision.record.endtime, NOW - 600 + 3_600)
        self.assertEqual(decision.record.createtime, NOW)
        self.assertEqual(decision.effects, (TellRestored(), ReportRunning(), SaveRow()))

    def test_without_an_epoch_matched_by_ip(self) -> None:
        """The record keeps its epoch."""
        record = after(samples.asking_mcu(), samples.accepted(epoch=None))
        self.assertEqual((record.state, record.epoch), (State.ONGOING, EPOCH))

    def test_without_an_epoch_from_another_host(self) -> None:
        """One tried before: it is told to end what it started."""
        late = samples.accepted(ip="10.0.0.9", epoch=None)
        self.ignores(decide(samples.asking_mcu(), late, RULES), ReleaseOnMcu("10.0.0.9", "11", None))


class LateAck(Base):
    """An ACK that is not the awaited one."""

    def test_older(self) -> None:
        """Answered with a release of that very placement, in every situation."""
        older = samples.accepted(ip="10.0.0.8", pid="5", epoch=EPOCH - 9)
        for situation, conference in samples.IN_SITUATION.items():
            decision = decide(conference, older, RULES)
            self.ignores(decision, ReleaseOnMcu("10.0.0.8", "5", EPOCH - 9))
            self.assertTrue(decision.because, situation)

    def test_older_on_the_present_process(self) -> None:
        """That MCU echoes epochs, so it can tell which one is meant: the release names the older epoch."""
        older = samples.accepted(epoch=EPOCH - 9)
        self.ignores(decide(samples.ongoing(), older, RULES), ReleaseOnMcu("10.0.0.1", "11", EPOCH - 9))

    def test_without_an_epoch_from_the_present_process(self) -> None:
        """Never a release there without an epoch: it would end what runs now."""
        self.ignores(decide(samples.ongoing(), samples.accepted(epoch=None), RULES))

    def test_without_an_epoch_from_another_process(self) -> None:
        """That one is over; a release there can't hurt the present placement."""
        for ip, pid in (("10.0.0.1", "12"), ("10.0.0.9", "11")):
            late = samples.accepted(ip=ip, pid=pid, epoch=None)
            self.ignores(decide(samples.ongoing(), late, RULES), ReleaseOnMcu(ip, pid, None))

    def test_the_same_again(self) -> None:
        """Redelivered, also after other things have happened to the record."""
        self.ignores(decide(samples.ongoing(), samples.accepted(), RULES))
        self.ignores(decide(samples.pending_restore(), samples.accepted(), RULES))

    def test_newer_is_adopted_while_another_runs(self) -> None:
        """The record lost writes: the newer placement is the real one, the older one is ended, its place given back."""
        newer = samples.accepted(ip="10.0.0.5", pid="7", epoch=EPOCH + 4)
        decision = decide(samples.ongoing(), newer, RULES)
        record = decision.record
        assert record is not None
        self.assertEqual((record.ip, record.pid, record.epoch), ("10.0.0.5", "7", EPOCH + 4))
        self.assertEqual((record.state, record.begintime), (State.ONGOING, NOW - 60))
        self.assertEqual(
            decision.effects,
            (
                TellRestored(),
                ReportRunning(),
                SaveRow(),
                TakeLoad("10.0.0.5", record.placement, "pA"),
                FreeLoad("10.0.0.1", samples.ongoing().placement, "pA"),
                ReleaseOnMcu("10.0.0.1", "11", EPOCH, "pA"),
            ),
        )

    def test_newer_is_adopted_in_mid_attempt(self) -> None:
        """While RMS or another host is asked; the CM gets its ACK, the booked place is given back."""
        newer = samples.accepted(ip="10.0.0.5", pid="7", epoch=EPOCH + 4)
        from_rms = decide(samples.asking_rms(), newer, RULES)
        taken = TakeLoad("10.0.0.5", f"pA/0755001/{EPOCH + 4}", "pA")
        self.assertEqual(from_rms.effects, (AnswerCreated(CM), ReportRunning(), SaveRow(), taken))
        from_host = decide(samples.asking_mcu(), newer, RULES)
        place = FreeLoad("10.0.0.1", samples.asking_mcu().placement, "pA")
        self.assertEqual(from_host.effects, (AnswerCreated(CM), ReportRunning(), SaveRow(), taken, place))
        for decision in (from_rms, from_host):
            assert decision.record is not None
            self.assertEqual((decision.record.ip, decision.record.epoch), ("10.0.0.5", EPOCH + 4))
            self.assertEqual((decision.record.attempt, decision.record.due_ms), (None, (NOW + 3_300) * 1000))

    def test_newer_is_adopted_while_it_waits_to_be_restored(self) -> None:
        """It runs again: nothing is left to restore."""
        record = after(samples.pending_restore(), samples.accepted(epoch=EPOCH + 4))
        self.assertIs(record.state, State.ONGOING)


class NextHost(Base):
    """A host refuses or is silent."""

    def test_next_with_a_higher_epoch(self) -> None:
        """The next booked host is asked; the first one's place is given back, and it counts as more loaded."""
        for event in (samples.refused(), samples.refused(silent=True), samples.refused(epoch=None), samples.overdue()):
            decision = decide(samples.asking_mcu(), event, RULES)
            record = decision.record
            assert record is not None and record.attempt is not None
            self.assertEqual((record.ip, record.pid, record.roommoid), ("10.0.0.2", "", "room-2"))
            self.assertEqual(record.epoch, NEXT_EPOCH)
            self.assertEqual(record.first_epoch, EPOCH)
            self.assertEqual(record.attempt.mcus, ("10.0.0.3",))
            self.assertEqual(record.due_ms, event.now_ms + 5_000)
            self.assertEqual(
                decision.effects, (AskMcuToCreate(5_000), FreeLoad("10.0.0.1", samples.asking_mcu().placement, "pA"))
            )
            self.assertEqual(decision.penalise, "10.0.0.1")

    def test_none_left(self) -> None:
        """The CM gets the last one's errcode."""
        c = samples.asking_mcu(left=())
        cases = (
            (samples.refused(placement=None), ErrCode.MCU_REJECTED),
            (samples.refused(silent=True, placement=None), ErrCode.MCU_TIMEOUT),
            (samples.overdue(placement=None), ErrCode.MCU_TIMEOUT),
        )
        for event, errcode in cases:
            decision = decide(c, event, RULES)
            self.refuses(decision, errcode)
            self.assertIn(FreeLoad("10.0.0.1", c.placement, "pA"), decision.effects)
            self.assertEqual(decision.penalise, "10.0.0.1")

    def test_each_host_once_until_the_deadline(self) -> None:
        """What may be booked next: those not tried yet, none once the creating deadline has passed."""
        c = samples.asking_mcu()
        self.assertEqual(creation.hosts_to_try(c, NOW_MS + 29_999), ("10.0.0.2", "10.0.0.3"))
        self.assertEqual(creation.hosts_to_try(c, NOW_MS + 30_000), ())
        self.assertEqual(creation.hosts_to_try(samples.asking_rms(), NOW_MS), ())
        self.assertEqual(creation.hosts_to_try(samples.ongoing(), NOW_MS), ())
        tried = after(c, samples.refused())
        self.assertEqual(creation.hosts_to_try(tried, NOW_MS), ("10.0.0.3",))

    def test_last_attempt_is_shortened(self) -> None:
        """It ends with the creating deadline, and the host's request with it."""
        decision = decide(samples.asking_mcu(), samples.refused(now_ms=NOW_MS + 29_000), RULES)
        self.assertEqual(decision.effects[0], AskMcuToCreate(1_000))

    def test_not_due_yet(self) -> None:
        """A deadline that was moved meanwhile has not passed."""
        self.ignores(decide(samples.asking_mcu(), samples.overdue(now_ms=NOW_MS + 4_999), RULES))

    def test_refusal_of_an_older_placement(self) -> None:
        """By epoch, or, without one, by another ip; nor does another host speak of the present one."""
        others = samples.refused(epoch=EPOCH - 1), samples.refused(ip="10.0.0.8", epoch=None)
        for event in (*others, samples.refused(ip="10.0.0.8")):
            self.ignores(decide(samples.asking_mcu(), event, RULES))

    def test_refusal_of_a_newer_placement(self) -> None:
        """The record lost writes: that host has failed, not the one which the record still names."""
        event = samples.refused(ip="10.0.0.7", epoch=EPOCH + 4, placement=replace(BOOKED, epoch=EPOCH + 5))
        decision = decide(samples.asking_mcu(), event, RULES)
        self.assertEqual(decision.penalise, "10.0.0.7")
        assert decision.record is not None
        self.assertEqual((decision.record.ip, decision.record.epoch), ("10.0.0.2", EPOCH + 5))
