"""What is in doubt after a platform was abnormal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.duty import doubted_below, is_doubted
from css.domain.epochs import INSTANCE_SLOTS
from tests.domain import samples
from tests.domain.samples import EPOCH, NOW_MS


class DoubtedBelow(SynchronousTestCase):
    """Which placements."""

    def test_never_abnormal(self) -> None:
        """None."""
        self.assertEqual(doubted_below(0, NOW_MS, 20_000, NOW_MS), 0)

    def test_in_its_time(self) -> None:
        """Those that are older than the moment at which it was normal again, by the clock of their store."""
        for since_ms in (0, 5_000, 20_000):
            below = doubted_below(NOW_MS, since_ms, 20_000, NOW_MS + 700 + since_ms)
            self.assertEqual(below, (NOW_MS + 700) * INSTANCE_SLOTS)

    def test_after_its_time(self) -> None:
        """None."""
        self.assertEqual(doubted_below(NOW_MS, 20_001, 20_000, NOW_MS + 20_001), 0)


class IsDoubted(SynchronousTestCase):
    """Which conferences."""

    def test_table(self) -> None:
        """What has a placement here that is old enough, and is not bound to old hardware."""
        below = EPOCH + 1
        cases = [
            (samples.ongoing(), below, True),
            (samples.pending_restore(), below, True),
            (samples.restore_asking_rms(), below, True),
            (samples.ongoing(), EPOCH, False),
            (samples.ongoing(), 0, False),
            (samples.ongoing(legacy=True), below, False),
            (samples.ongoing(platformmoid="pB"), below, False),
            (samples.pending_restore(ip="", pid=""), below, False),
            (samples.restoring(), samples.NEXT_EPOCH + 1, False),
            (samples.asking_mcu(), below, False),
            (samples.asking_rms(), below, False),
        ]
        for c, limit, wanted in cases:
            self.assertEqual(is_doubted(c, "pA", limit), wanted, c.situation)
