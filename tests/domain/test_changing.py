"""What changes a conference: its end (seed 5.3), its name and its password (seed 5.1, 5.2)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from css.domain.changing import LONGEST_MINUTES
from css.domain.conference import Attempt, Conference, Situation, State
from css.domain.decision import Decision
from css.domain.effects import (
    AnswerDelayed,
    AnswerNotDelayed,
    AskMcuToRestore,
    Effect,
    EndReason,
    Note,
    ReportRenamed,
    SaveRow,
    TellDelayed,
    TellMcuDelayed,
    WarnOfEnd,
)
from css.domain.errors import ErrCode
from css.domain.events import DeadlinePassed, Event, McuProcess
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import DELAYER, MCU, NOW, NOW_MS, RULES

HALF_AN_HOUR = 30 * 60


def changed(c: Conference, event: Event) -> tuple[Conference, tuple[Effect, ...]]:
    """The record after a step that must change it, and what follows."""
    decision = decide(c, event, RULES)
    assert decision.changed and decision.record is not None, decision.because
    return decision.record, decision.effects


class Delayed(SynchronousTestCase):
    """An end is moved once a request, in whatever state a conference that has run is."""

    def refused(self, decision: Decision, errcode: ErrCode, *, to_mcu: bool = False) -> None:
        """Nothing but the refusal."""
        self.assertFalse(decision.changed)
        self.assertEqual(decision.effects, (AnswerNotDelayed(DELAYER, to_mcu, errcode),))

    def test_ongoing(self) -> None:
        """End and duration move together, both notices are armed again, everybody is told."""
        c = samples.ongoing(warned=1, endtime=NOW + 30, duration=10, due_ms=(NOW + 30) * 1000)
        after, effects = changed(c, samples.delay_asked())
        self.assertEqual((after.endtime, after.duration), (NOW + 30 + HALF_AN_HOUR, 40))
        self.assertEqual((after.warned, after.due_ms), (0, (NOW + 30 + HALF_AN_HOUR - 300) * 1000))
        self.assertEqual(effects, (AnswerDelayed(DELAYER, False), TellDelayed(), TellMcuDelayed(), SaveRow()))
        for minutes in (5, 1):
            due = DeadlinePassed(now_ms=(after.endtime - 60 * minutes) * 1000, placement=None)
            after, effects = changed(after, due)
            self.assertEqual(effects, (WarnOfEnd(minutes),))

    def test_end_is_begin_and_duration(self) -> None:
        """`endtime` stays `begintime` + 60 times `duration`."""
        c = samples.ongoing(begintime=NOW - 60, duration=60, endtime=NOW - 60 + 3_600)
        for minutes in (1, 30, 600):
            c, _ = changed(c, samples.delay_asked(minutes=minutes))
            self.assertEqual(c.endtime, c.begintime + 60 * c.duration)

    def test_elsewhere(self) -> None:
        """Where it runs makes no difference to the record: its platform's timers follow its deadline."""
        after, effects = changed(samples.ongoing(platformmoid="pB"), samples.delay_asked())
        self.assertIn(TellMcuDelayed(), effects)
        self.assertEqual(after.platformmoid, "pB")

    def test_without_an_end(self) -> None:
        """There is nothing to move."""
        for c in (samples.ongoing(endtime=0, duration=0), samples.pending_restore(endtime=0, duration=0)):
            self.refused(decide(c, samples.delay_asked(), RULES), ErrCode.BAD_REQUEST)

    def test_too_far(self) -> None:
        """No longer than a create may ask for."""
        c = samples.ongoing(duration=LONGEST_MINUTES - 30)
        self.assertTrue(decide(c, samples.delay_asked(minutes=30), RULES).changed)
        self.refused(decide(c, samples.delay_asked(minutes=31), RULES), ErrCode.BAD_REQUEST)

    def test_never_ran(self) -> None:
        """It has no end before an MCU has begun it."""
        for c in (samples.asking_rms(), samples.asking_mcu()):
            self.refused(decide(c, samples.delay_asked(), RULES), ErrCode.CONF_NOT_RUNNING)

    def test_pending_restore(self) -> None:
        """The next attempt stays; the MCU process that may still have it is told."""
        c = samples.pending_restore()
        after, effects = changed(c, samples.delay_asked())
        self.assertEqual((after.state, after.due_ms), (State.PENDING_RESTORE, c.due_ms))
        self.assertEqual(after.endtime, c.endtime + HALF_AN_HOUR)
        self.assertIn(TellMcuDelayed(), effects)

    def test_without_a_placement(self) -> None:
        """No MCU has it: none is told."""
        _, effects = changed(samples.voided(), samples.delay_asked())
        self.assertEqual(effects, (AnswerDelayed(DELAYER, False), TellDelayed(), SaveRow()))

    def test_pending_until_its_end(self) -> None:
        """What was to be cleaned up at its end is not: it is restored then, or waits for its old hardware."""
        end = (NOW + 1) * 1000
        c = samples.pending_restore(endtime=NOW + 1, due_ms=end, lost_ms=NOW_MS)
        after, _ = changed(c, samples.delay_asked())
        self.assertFalse(decide(after, DeadlinePassed(now_ms=end, placement=None), RULES).changed)
        legacy, _ = changed(replace(c, legacy=True), samples.delay_asked(minutes=1))
        self.assertEqual(legacy.due_ms, (NOW + 61) * 1000)
        legacy, _ = changed(replace(c, legacy=True), samples.delay_asked())
        self.assertEqual(legacy.due_ms, NOW_MS + RULES.legacy_wait_ms)
        lost = decide(legacy, DeadlinePassed(now_ms=legacy.due_ms, placement=None), RULES)
        self.assertIs(lost.ended, EndReason.LOST)

    def test_while_rms_is_asked(self) -> None:
        """The host will be asked with the new end; RMS's time does not change."""
        c = samples.restore_asking_rms(endtime=NOW + 600)
        after, _ = changed(c, samples.delay_asked())
        self.assertEqual((after.situation, after.due_ms), (Situation.RESTORE_ASKING_RMS, c.due_ms))
        _, effects = changed(after, samples.given())
        self.assertIn(AskMcuToRestore(5_000, 40), effects)

    def test_while_the_host_is_asked(self) -> None:
        """It was asked with the earlier end: its process is told the new one with its ACK, once."""
        c = samples.restoring(epoch=samples.EPOCH)
        delayed, effects = changed(c, samples.delay_asked())
        self.assertEqual((delayed.situation, delayed.due_ms), (Situation.RESTORE_ASKING_MCU, c.due_ms))
        self.assertNotIn(TellMcuDelayed(), effects)
        after, effects = changed(delayed, samples.accepted())
        self.assertEqual(effects[-1], TellMcuDelayed())
        self.assertEqual(after.due_ms, (after.endtime - 300) * 1000)
        _, effects = changed(c, samples.accepted())
        self.assertNotIn(TellMcuDelayed(), effects)

    def test_the_next_host_knows(self) -> None:
        """If the host that was asked refuses, the next one is asked with the new end, and needs no telling."""
        attempt = Attempt(NOW_MS + 30_000, None, "room-0", ("10.0.0.2",))
        c = samples.restoring(epoch=samples.EPOCH, attempt=attempt, endtime=NOW + 600)
        delayed, _ = changed(c, samples.delay_asked())
        asked, effects = changed(delayed, samples.refused())
        self.assertIn(AskMcuToRestore(5_000, 40), effects)
        ack = samples.accepted(ip="10.0.0.2", epoch=samples.NEXT_EPOCH)
        _, effects = changed(asked, ack)
        self.assertNotIn(TellMcuDelayed(), effects)

    def test_part_of_a_recovery(self) -> None:
        """The ledger has it."""
        _, effects = changed(samples.pending_restore(recovery="mcu:1"), samples.delay_asked())
        self.assertEqual(effects[-1], Note("mcu:1", "its end is moved by 30 minutes"))


class DelayedByItsMcu(SynchronousTestCase):
    """The MCU process that runs it may move its end, no other (seed 5.3)."""

    def test_its_own(self) -> None:
        """Answered, and the CM is told; the MCU itself needs no notice."""
        after, effects = changed(samples.ongoing(), samples.delay_asked(mcu=MCU))
        self.assertEqual(after.endtime, samples.ongoing().endtime + HALF_AN_HOUR)
        self.assertEqual(effects, (AnswerDelayed(DELAYER, True), TellDelayed(), SaveRow()))

    def test_of_another_process(self) -> None:
        """Another process, host or platform."""
        others = (McuProcess("pA", "10.0.0.1", "12"), McuProcess("pA", "10.0.0.2", "11"))
        for mcu in (*others, McuProcess("pB", "10.0.0.1", "11")):
            decision = decide(samples.ongoing(), samples.delay_asked(mcu=mcu), RULES)
            self.assertFalse(decision.changed)
            self.assertEqual(decision.effects, (AnswerNotDelayed(DELAYER, True, ErrCode.CONF_NOT_RUNNING),))

    def test_while_it_is_asked(self) -> None:
        """Nobody runs it."""
        decision = decide(samples.restoring(epoch=samples.EPOCH), samples.delay_asked(mcu=MCU), RULES)
        self.assertEqual(decision.effects, (AnswerNotDelayed(DELAYER, True, ErrCode.CONF_NOT_RUNNING),))


class Renamed(SynchronousTestCase):
    """Name and password as the MCU process that runs it says (seed 5.1, 5.2)."""

    def after(self, c: Conference, **changes: Any) -> tuple[str, str, tuple[Effect, ...]]:
        """Name, password and effects after a change."""
        after, effects = changed(c, samples.state_changed(**changes))
        return after.confname, after.password, effects

    def test_name(self) -> None:
        """The password stays; the locator is told."""
        self.assertEqual(self.after(samples.ongoing()), ("晚会", "123", (SaveRow(), ReportRenamed())))

    def test_password(self) -> None:
        """The locator knows no passwords; an empty one is one, too."""
        for password in ("9876", ""):
            found = self.after(samples.ongoing(), confname=None, password=password)
            self.assertEqual(found, ("晨会", password, (SaveRow(),)))

    def test_both(self) -> None:
        """In one step."""
        found = self.after(samples.ongoing(), confname="x", password="y")
        self.assertEqual(found, ("x", "y", (SaveRow(), ReportRenamed())))

    def test_nothing_new(self) -> None:
        """What is known already, or says nothing, changes nothing."""
        for changes in ({"confname": "晨会", "password": "123"}, {"confname": None}):
            decision = decide(samples.ongoing(), samples.state_changed(**changes), RULES)
            self.assertEqual((decision.changed, decision.effects), (False, ()))

    def test_of_another_process(self) -> None:
        """Only who runs it knows; also where two platforms use the same addresses."""
        for mcu in (McuProcess("pA", "10.0.0.1", "12"), McuProcess("pB", "10.0.0.1", "11")):
            self.assertFalse(decide(samples.ongoing(), samples.state_changed(mcu=mcu), RULES).changed)

    def test_while_its_link_is_lost(self) -> None:
        """It counts; the locator is told when it runs again."""
        self.assertEqual(self.after(samples.pending_restore()), ("晚会", "123", (SaveRow(),)))
