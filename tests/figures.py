"""Figures that tests measure and the runner prints: each test leaves a file in a folder that all workers know."""

from __future__ import annotations

from pathlib import Path

import msgspec

from css.simulation.program import Total

FIGURES = "CSS_TEST_FIGURES"
"""Names the folder, in the environment; without it no figures are kept."""

SHARES = 8
"""How many parts the commit tier of the simulation has, a test each."""

SITUATIONS = (
    "absent",
    "asking_rms",
    "asking_mcu",
    "ongoing",
    "pending_restore",
    "restore_asking_rms",
    "restore_asking_mcu",
)
"""What a conference can be in as a fault strikes, the rarest last."""


def simulated(folder: Path) -> list[str]:
    """What the simulation's commit tier has lived through, all shares together; empty if it did not run."""
    shares = _shares(folder)
    if not shares:
        return []
    return ["\nSimulation: strikes of each fault, and in which situations of conferences:", *_merged(shares).lines()]


def not_struck(folder: Path) -> list[str]:
    """A sentence for each situation in which no fault struck in the whole commit tier; none if only parts of it ran."""
    shares = _shares(folder)
    if len(shares) < SHARES:
        return []
    struck = {place for by_place in _merged(shares).by_situation.values() for place in by_place}
    return [f"simulation: no fault struck a conference that was {each}" for each in SITUATIONS if each not in struck]


def _shares(folder: Path) -> list[Total]:
    paths = sorted(folder.glob("simulation-*.json"))
    return [msgspec.json.decode(path.read_bytes(), type=Total) for path in paths]


def _merged(shares: list[Total]) -> Total:
    total = Total()
    for share in shares:
        total.merge(share)
    return total
