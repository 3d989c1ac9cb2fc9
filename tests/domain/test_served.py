"""A source platform that is no longer served when a place has been found (seed 2.3.1, handback in mid-flight)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import State
from css.domain.effects import AnswerRefused, FreeLoad
from css.domain.errors import ErrCode
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import CM, EPOCH, NOW_MS, RULES


class Create(SynchronousTestCase):
    """It is refused, and nothing stays."""

    def test_rms_has_answered(self) -> None:
        """The host that was booked is not asked."""
        decision = decide(samples.asking_rms(), samples.given(served=False), RULES)
        self.assertIsNone(decision.record)
        self.assertEqual(decision.effects, (AnswerRefused(CM, ErrCode.PLATFORM_NOT_SERVED),))

    def test_next_host(self) -> None:
        """Neither after a refusal nor after silence."""
        c = samples.asking_mcu()
        for event in (samples.refused(served=False, placement=None), samples.overdue(served=False, placement=None)):
            decision = decide(c, event, RULES)
            nack = AnswerRefused(CM, ErrCode.PLATFORM_NOT_SERVED)
            self.assertEqual((decision.record, decision.penalise), (None, "10.0.0.1"))
            self.assertEqual(decision.effects, (nack, FreeLoad("10.0.0.1", c.placement, "pA")))

    def test_there_was_no_next_host(self) -> None:
        """What is `creating` here finishes here: the host's own refusal is the answer."""
        decision = decide(samples.asking_mcu(left=()), samples.refused(served=False, placement=None), RULES)
        self.assertEqual(decision.effects[0], AnswerRefused(CM, ErrCode.MCU_REJECTED))

    def test_accepted(self) -> None:
        """What is `creating` here finishes here."""
        decision = decide(samples.asking_mcu(), samples.accepted(), RULES)
        assert decision.record is not None
        self.assertIs(decision.record.state, State.ONGOING)


class Restore(SynchronousTestCase):
    """It stays, or becomes, `pending_restore`, and its own platform may begin at once."""

    def test_rms_has_answered(self) -> None:
        """Its placement is kept: nothing has been asked."""
        c = samples.restore_asking_rms()
        decision = decide(c, samples.given(served=False), RULES)
        after = decision.record
        assert after is not None
        self.assertEqual((after.state, after.attempt, after.due_ms), (State.PENDING_RESTORE, None, NOW_MS))
        self.assertEqual((after.epoch, after.ip, decision.effects), (c.epoch, c.ip, ()))

    def test_next_host(self) -> None:
        """Nothing stays of the attempt but a higher epoch."""
        c = samples.restoring(epoch=EPOCH)
        for event in (samples.refused(served=False), samples.overdue(served=False)):
            decision = decide(c, event, RULES)
            after = decision.record
            assert after is not None
            self.assertEqual((after.state, after.ip, after.epoch), (State.PENDING_RESTORE, "", EPOCH + 1))
            self.assertEqual(after.due_ms, event.now_ms)
            self.assertIn(FreeLoad("10.0.0.1", c.placement, "pA"), decision.effects)
