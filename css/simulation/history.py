"""What happened, in order: a hash of all of it, and the last lines as text."""

from __future__ import annotations

import hashlib
from collections import Counter, deque

from css.simulation.clock import START_SECONDS, Timeline

KEPT_LINES = 4000


class History:
    """Equal seeds give equal histories: `digest` tells."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._hash = hashlib.sha256()
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self.counts: Counter[str] = Counter()
        """Lines by their kind."""

    def note(self, kind: str, text: str) -> None:
        """Add a line, which belongs to the history: it may name nothing that differs between two runs of a seed."""
        line = f"{self._timeline.now - START_SECONDS:12.6f} {kind} {text}"
        self._hash.update(line.encode())
        self.counts[kind] += 1
        self._last.append(line)

    def remark(self, text: str) -> None:
        """Add a line for the reader only."""
        self._last.append(f"{self._timeline.now - START_SECONDS:12.6f}   # {text}")

    def digest(self) -> str:
        """A hash of every line."""
        return self._hash.hexdigest()

    def last(self, number: int = 60, about: str = "") -> list[str]:
        """The last lines; those that name `about` only, if that is given."""
        lines = [line for line in self._last if about in line]
        return lines[-number:]
