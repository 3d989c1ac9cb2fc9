"""What is planned is told to the locators, under all faults, on one platform and on two (seed 7)."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from css.handlers.planned import PlannedReports
from css.simulation.plans import PlansTold
from css.simulation.runner import Result, Run
from css.simulation.world import drawn_shape
from tests.scale import scaled

SEEDS = scaled(2, 200)
MINUTES = scaled(1.5, 10.0)


class PlansTests(SynchronousTestCase):
    """Worlds with the invariant of plans beside all others."""

    def live(self, seed: int, platforms: int) -> tuple[Result, PlansTold]:
        """One world."""
        run = Run(seed, MINUTES, lambda number: drawn_shape(number, platforms))
        plans = PlansTold(run.world)
        run.invariants.append(plans)
        return run.run(), plans

    def test_all_seeds(self) -> None:
        """Nothing stays untold."""
        for platforms in (1, 2):
            for seed in range(SEEDS):
                result, plans = self.live(seed, platforms)
                self.assertIsNone(result.violation, (seed, platforms, result.violation, result.last[-5:]))
                self.assertGreater(plans.changes, 20)

    def test_a_planted_bug_is_caught(self) -> None:
        """Whoever compares nothing misses what was published while nobody listened."""

        async def forgotten(*_: object) -> None:
            """Nothing."""

        with patch.object(PlannedReports, "_compare", forgotten):
            caught = [self.live(seed, 1)[0].violation for seed in range(3)]
        self.assertIn("plan", {each.code for each in caught if each is not None})
