"""Figures that tests measure and the runner prints: each test leaves a file in a folder that all workers know."""

from __future__ import annotations

from pathlib import Path

import msgspec

from css.simulation.program import Total

FIGURES = "CSS_TEST_FIGURES"
"""Names the folder, in the environment; without it no figures are kept."""


def simulated(folder: Path) -> list[str]:
    """What the simulation's commit tier has lived through, all shares together; empty if it did not run."""
    shares = [msgspec.json.decode(path.read_bytes(), type=Total) for path in sorted(folder.glob("simulation-*.json"))]
    if not shares:
        return []
    total = Total()
    for share in shares:
        total.merge(share)
    return ["\nSimulation: strikes of each fault, and in which situations of conferences:", *total.lines()]
