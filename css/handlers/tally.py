"""Counts of what happened, by name, for the log, the console and tests."""

from __future__ import annotations

from collections import Counter


class Tally:
    """Counters by name; a name is made by its first use."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._counts[name] += by

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def all(self) -> dict[str, int]:
        """All counters, by name."""
        return dict(sorted(self._counts.items()))
