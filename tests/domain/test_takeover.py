"""A platform is lost: what becomes of its conferences, and what is lost where (seed 2.3.1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import State
from css.domain.effects import AnswerRefused, FreeLoad, Note, ReportGone, ReportRunning
from css.domain.errors import ErrCode
from css.domain.events import LocatorCleared
from css.domain.ledger import keeper_of, recovery_name
from css.domain.machine import decide
from css.domain.platforms import Platforms
from css.domain.recovery import is_abandoned
from tests.domain import samples
from tests.domain.samples import CM, FRESH_EPOCH, NOW_MS, RULES


class Lost(SynchronousTestCase):
    """One conference."""

    def test_running(self) -> None:
        """Voided: the epoch raised, no placement; its MCU is told nothing, its own platform does that."""
        for c in (samples.ongoing(), samples.restoring()):
            decision = decide(c, samples.platform_lost(), RULES)
            after = decision.record
            assert after is not None
            self.assertEqual((after.state, after.epoch), (State.PENDING_RESTORE, FRESH_EPOCH))
            self.assertEqual((after.ip, after.pid, after.roommoid, after.attempt), ("", "", "", None))
            self.assertEqual((after.platformmoid, after.due_ms), ("pA", NOW_MS))
            self.assertEqual([type(each) for each in decision.effects], [FreeLoad, Note])
            self.assertEqual(decision.effects[0], FreeLoad(c.ip, c.placement, "pA"))

    def test_being_created(self) -> None:
        """Refused; nothing stays."""
        for c in (samples.asking_rms(), samples.asking_mcu(), samples.asking_mcu(legacy=True)):
            decision = decide(c, samples.platform_lost(), RULES)
            self.assertIsNone(decision.record)
            self.assertEqual(decision.effects[0], AnswerRefused(CM, ErrCode.PLATFORM_ABNORMAL))

    def test_left_alone(self) -> None:
        """On another platform, or bound to old hardware, or waiting anyway."""
        event = samples.platform_lost()
        for c in (
            samples.ongoing(platformmoid="pB"),
            samples.asking_rms(platformmoid="pB"),
            samples.ongoing(legacy=True),
            samples.pending_restore(),
            samples.restore_asking_rms(),
        ):
            decision = decide(c, event, RULES)
            self.assertEqual((decision.changed, decision.effects), (False, ()), c.situation)


class OfAnotherSource(SynchronousTestCase):
    """What runs here for another source platform, which may restore it: it can't be reached here any more."""

    def test_lost_and_voided(self) -> None:
        """The locator here is told; of an own conference, it is told when that runs again."""
        for event in (samples.lost(platform="pB"), samples.void()):
            decision = decide(samples.ongoing(platformmoid="pB"), event, RULES)
            self.assertIn(ReportGone(), decision.effects)
        for event in (samples.lost(), samples.void()):
            self.assertNotIn(ReportGone(), decide(samples.ongoing(), event, RULES).effects)

    def test_cleared(self) -> None:
        """What runs on this platform is reported again, and nothing else."""
        event = LocatorCleared(now_ms=NOW_MS, platform="pA")
        self.assertEqual(decide(samples.ongoing(), event, RULES).effects, (ReportRunning(),))
        self.assertEqual(decide(samples.ongoing(platformmoid="pB"), event, RULES).effects, ())


class Abandoned(SynchronousTestCase):
    """What another platform began to place."""

    def test_table(self) -> None:
        """Past twice the creating time-out since it began."""
        began_ms = NOW_MS  # the deadline of the samples is the creating time-out later
        for c in (samples.asking_rms(), samples.asking_mcu(), samples.restoring()):
            for seconds, wanted in ((0, False), (59.999, False), (60, True), (600, True)):
                self.assertEqual(is_abandoned(c, began_ms + round(seconds * 1000), RULES), wanted, c.situation)
        for c in (samples.ongoing(), samples.pending_restore(), samples.restore_asking_rms()):
            self.assertFalse(is_abandoned(c, began_ms + 600_000, RULES), c.situation)


class Where(SynchronousTestCase):
    """Which stores are looked through for which platform."""

    def lost(self, **states: str) -> set[tuple[str, str]]:
        """Of platform B, which backs A and D up and is backed up by C."""
        platforms = Platforms("B").with_reply("B", "normal", [("A", "normal"), ("D", "normal")], [("C", "normal")])
        for moid, state in states.items():
            platforms = platforms.with_broadcast(moid, state)
        return set(platforms.lost)

    def test_all_is_well(self) -> None:
        """None."""
        self.assertEqual(self.lost(), set())

    def test_main(self) -> None:
        """Its own store, and this one's, where something may run there."""
        self.assertEqual(self.lost(A="abnormal"), {("A", "A"), ("B", "A")})

    def test_backup(self) -> None:
        """What has been handed back and still runs there."""
        self.assertEqual(self.lost(C="abnormal"), {("B", "C")})

    def test_several(self) -> None:
        """Each in each store that is served here."""
        wanted = {(source, moid) for source in "ABD" for moid in "ACD"}
        self.assertEqual(self.lost(A="abnormal", C="abnormal", D="abnormal"), wanted)

    def test_back_again(self) -> None:
        """None."""
        self.assertEqual(self.lost(A="normal"), set())


class Keeper(SynchronousTestCase):
    """Whose ledger has a recovery."""

    def test_named(self) -> None:
        """Told by its name, whatever the moids are made of."""
        self.assertEqual(keeper_of(recovery_name("platform", "A@x:1", 5, "B")), "B")
        self.assertEqual(keeper_of("room:1:5"), "")
