"""Figures that tests leave for the runner."""

from __future__ import annotations

from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from css.simulation.program import Total
from tests.figures import SHARES, SITUATIONS, not_struck, simulated


class FiguresTests(SynchronousTestCase):
    """Shares that different workers ran are told together."""

    def test_added_up(self) -> None:
        """Each fault has the sum of its strikes, and of those in each situation."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertEqual(simulated(folder), [])
        shares = (
            Total(2, 600.0, 10.0, {"freeze": 3, "poison": 1}, {"freeze": {"absent": 2, "ongoing": 1}}),
            Total(1, 300.0, 5.0, {"freeze": 1}, {"freeze": {"ongoing": 4}}),
        )
        for number, share in enumerate(shares):
            (folder / f"simulation-{number}.json").write_bytes(msgspec.json.encode(share))
        lines = simulated(folder)
        self.assertIn("      4 freeze: absent 2, ongoing 5", lines)
        self.assertIn("      1 poison: ", lines)
        self.assertEqual(
            lines[-1], "3 seeds, 15 simulated minutes in 15.0 s of CPU (1.0 a second), 5 faults, no violation"
        )

    def test_a_situation_that_no_fault_struck(self) -> None:
        """Is told once all shares have run, of all of them together."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for number in range(SHARES):
            self.assertEqual(not_struck(folder), [])
            struck = dict.fromkeys(SITUATIONS[:-1] if number else SITUATIONS[1:], 1)
            share = Total(1, 1.0, 1.0, {"freeze": 9}, {"freeze": struck})
            (folder / f"simulation-{number}.json").write_bytes(msgspec.json.encode(share))
        self.assertEqual(not_struck(folder), [])
        (folder / "simulation-0.json").write_bytes(msgspec.json.encode(Total(1, 1.0, 1.0, {}, {})))
        self.assertEqual(not_struck(folder), [f"simulation: no fault struck a conference that was {SITUATIONS[-1]}"])
