"""How long to wait before the next attempt."""

from __future__ import annotations

from random import Random


class Backoff:
    """Delays in seconds that double from `first` up to `longest`, each jittered to between half and all of it."""

    def __init__(self, random: Random, first: float = 0.25, longest: float = 10.0) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._next = first

    def next_seconds(self) -> float:
        delay = self._next
        self._next = min(self._longest, delay * 2)
        return delay * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._next = self._first
