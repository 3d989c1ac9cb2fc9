"""How conferences end: a CM's release, an MCU's end notice (contract: "Release")."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import Situation
from css.domain.effects import (
    AnswerRefused,
    AnswerReleased,
    Bill,
    DeleteRow,
    EndReason,
    FreeLoad,
    ReleaseOnMcu,
    ReportGone,
    TellReleased,
)
from css.domain.errors import ErrCode
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import CM, EPOCH, NOW, RELEASER, RULES


class Released(SynchronousTestCase):
    """In any state the commit ends the record."""

    def test_in_every_situation(self) -> None:
        """The record goes, and the one who asked gets the ACK at once."""
        for situation, conference in samples.IN_SITUATION.items():
            decision = decide(conference, samples.release_asked(), RULES)
            self.assertTrue(decision.changed, situation)
            self.assertIsNone(decision.record, situation)
            self.assertEqual(decision.effects[0], AnswerReleased(RELEASER), situation)

    def test_running(self) -> None:
        """The MCU is told which placement to end, the CM once; row, locator's entry and place go; it is billed."""
        c = samples.ongoing()
        decision = decide(c, samples.release_asked(), RULES)
        self.assertEqual(
            decision.effects,
            (
                AnswerReleased(RELEASER),
                ReleaseOnMcu("10.0.0.1", "11", EPOCH, "pA"),
                FreeLoad("10.0.0.1", c.placement, "pA"),
                TellReleased(EndReason.RELEASED),
                ReportGone(),
                DeleteRow(),
                Bill(EndReason.RELEASED, NOW),
            ),
        )
        self.assertIs(decision.ended, EndReason.RELEASED)

    def test_pending_create(self) -> None:
        """It gets its NACK; it never ran, so there is no notice and no bill. A booked place goes back."""
        nack = AnswerRefused(CM, ErrCode.CONF_NOT_RUNNING)
        asking_rms = decide(samples.asking_rms(), samples.release_asked(), RULES)
        self.assertEqual(asking_rms.effects, (AnswerReleased(RELEASER), nack))
        c = samples.asking_mcu()
        asking_mcu = decide(c, samples.release_asked(), RULES)
        self.assertEqual(asking_mcu.effects, (AnswerReleased(RELEASER), nack, FreeLoad("10.0.0.1", c.placement, "pA")))
        for decision in (asking_rms, asking_mcu):
            self.assertIs(decision.ended, EndReason.FAILED)

    def test_in_mid_restore(self) -> None:
        """It ran: notice, bill and row; nobody's create is pending."""
        decision = decide(samples.restoring(), samples.release_asked(), RULES)
        self.assertIs(decision.ended, EndReason.RELEASED)
        kinds = [type(effect) for effect in decision.effects]
        self.assertEqual(kinds, [AnswerReleased, FreeLoad, TellReleased, ReportGone, DeleteRow, Bill])

    def test_waiting_to_be_restored(self) -> None:
        """Voided, it is on no MCU: no command. Else its MCU, which may be alive after all, is told."""
        decision = decide(samples.voided(), samples.release_asked(), RULES)
        self.assertFalse([each for each in decision.effects if isinstance(each, ReleaseOnMcu | FreeLoad)])
        self.assertIn(TellReleased(EndReason.RELEASED), decision.effects)
        for c in (samples.pending_restore(), samples.restore_asking_rms()):
            decision = decide(c, samples.release_asked(), RULES)
            self.assertIn(ReleaseOnMcu("10.0.0.1", "11", EPOCH, "pA"), decision.effects)
            self.assertIn(FreeLoad("10.0.0.1", c.placement, "pA"), decision.effects)
            self.assertIn(TellReleased(EndReason.RELEASED), decision.effects)


class EndNotice(SynchronousTestCase):
    """What an MCU says about a placement's end."""

    def test_of_the_present_placement(self) -> None:
        """The CM is told `released`; no command goes to the MCU, which has ended it itself."""
        c = samples.ongoing()
        expected = (
            FreeLoad("10.0.0.1", c.placement, "pA"),
            TellReleased(EndReason.RELEASED),
            ReportGone(),
            DeleteRow(),
            Bill(EndReason.RELEASED, NOW),
        )
        for epoch in (EPOCH, None):
            decision = decide(c, samples.ended(epoch=epoch), RULES)
            self.assertEqual((decision.record, decision.effects), (None, expected))
            self.assertIs(decision.ended, EndReason.RELEASED)

    def test_of_another_placement(self) -> None:
        """It counts only if the record names its `ip` and `pid`, and not under another epoch."""
        others = (
            samples.ended(ip="10.0.0.2"),
            samples.ended(pid="12"),
            samples.ended(epoch=EPOCH - 1),
            samples.ended(epoch=EPOCH + 1),
            samples.ended(ip="10.0.0.2", epoch=None),
        )
        for event in others:
            decision = decide(samples.ongoing(), event, RULES)
            self.assertEqual((decision.changed, decision.effects), (False, ()), event)

    def test_while_it_waits_to_be_restored(self) -> None:
        """Once its placement was given up, an end notice of it ends nothing; one of the kept placement does."""
        decision = decide(samples.voided(), samples.ended(), RULES)
        self.assertEqual((decision.changed, decision.effects), (False, ()))
        decision = decide(samples.pending_restore(), samples.ended(), RULES)
        self.assertIs(decision.ended, EndReason.RELEASED)

    def test_overtakes_the_ack_of_a_restore(self) -> None:
        """The attempt has failed; the conference, which ran for long, is not over: another one follows."""
        decision = decide(samples.restoring(), samples.ended(epoch=EPOCH + 50), RULES)
        assert decision.record is not None
        self.assertIs(decision.record.situation, Situation.PENDING_RESTORE)

    def test_overtakes_the_ack(self) -> None:
        """The very placement that is being asked for has ended already: the create fails."""
        c = samples.asking_mcu()
        decision = decide(c, samples.ended(), RULES)
        self.assertEqual(
            decision.effects,
            (AnswerRefused(CM, ErrCode.MCU_REJECTED), FreeLoad("10.0.0.1", c.placement, "pA")),
        )
        self.assertIs(decision.ended, EndReason.FAILED)

    def test_of_an_earlier_placement_while_asked(self) -> None:
        """Also without an epoch: it may be of a placement before this one."""
        for event in (samples.ended(epoch=EPOCH - 1), samples.ended(epoch=None), samples.ended(ip="10.0.0.8")):
            decision = decide(samples.asking_mcu(), event, RULES)
            self.assertEqual((decision.changed, decision.effects), (False, ()))


class Everywhere(SynchronousTestCase):
    """What holds for all endings."""

    def test_a_place_that_was_booked_is_given_back(self) -> None:
        """Whatever ends a conference that has a host."""
        given_back = 0
        for situation, conference in samples.IN_SITUATION.items():
            for event in samples.EVENTS.values():
                decision = decide(conference, event, RULES)
                if decision.ended is not None:
                    freed = [each for each in decision.effects if isinstance(each, FreeLoad)]
                    expected = [FreeLoad(conference.ip, conference.placement, "pA")] if conference.ip else []
                    self.assertEqual(freed, expected, (situation, event))
                    given_back += len(freed)
        self.assertEqual(given_back, 10)

    def test_notice_and_bill_exactly_if_it_ran(self) -> None:
        """One of each; with the same reason."""
        told = 0
        for situation, conference in samples.IN_SITUATION.items():
            for event in samples.EVENTS.values():
                decision = decide(conference, event, RULES)
                notices = [each.reason for each in decision.effects if isinstance(each, TellReleased)]
                bills = [each.reason for each in decision.effects if isinstance(each, Bill)]
                wanted = [decision.ended] if decision.ended is not None and conference.has_run else []
                self.assertEqual((notices, bills), (wanted, wanted), (situation, event))
                told += len(notices)
        self.assertEqual(told, 7)

    def test_situations_are_all_there(self) -> None:
        """The two tests above look at every situation."""
        self.assertEqual(len(samples.IN_SITUATION), len(Situation) - 1)
