"""What the CMs hold to be true, and what becomes of it: the demo's books, from which its summary is drawn."""

from __future__ import annotations

from collections.abc import Collection

import msgspec


class Line(msgspec.Struct):
    """One conference as its CM knows it."""

    e164: str
    home: str
    """Moid of the platform whose CM asked for it."""
    confname: str
    asked_at: float = 0.0
    """Seconds of the reactor; 0: by an earlier run."""


class Ledger:
    """Conferences by number, from the request to the end.

    @ivar unanswered: asked for, and neither accepted nor refused yet.
    @ivar running: those that the CM was told to run, and was not told the end of.
    """

    def __init__(self) -> None:
        self.created = 0
        self.answered = 0
        self.refused = 0
        self.released = 0
        self.lost_by_notice = 0
        """Those of which CSS itself said that they are lost."""
        self.unanswered: dict[str, Line] = {}
        self.running: dict[str, Line] = {}

    def __contains__(self, e164: str) -> bool:
        return e164 in self.unanswered or e164 in self.running

    def asked(self, line: Line) -> None:
        """A CM has asked for a conference."""
        self.created += 1
        self.unanswered[line.e164] = line

    def found(self, line: Line) -> None:
        """A conference of an earlier run is there."""
        self.running[line.e164] = line

    def accepted(self, e164: str, home: str, confname: str) -> Line:
        """A CM has got its ACK. @return: what was known, or an earlier run's conference by its home and name."""
        line = self.unanswered.pop(e164, None)
        if line is None:
            line = Line(e164, home, confname)
        else:
            self.answered += 1
        self.running[e164] = line
        return line

    def rejected(self, e164: str) -> None:
        """A CM has got its NACK."""
        if self.unanswered.pop(e164, None) is not None:
            self.answered += 1
            self.refused += 1

    def ended(self, e164: str, reason: str = "released") -> bool:
        """A conference is over. @return: whether that is news."""
        if self.running.pop(e164, None) is None:
            return False
        if reason == "lost":
            self.lost_by_notice += 1
        else:
            self.released += 1
        return True

    def summary(self, verified: Collection[str], waiting: Collection[str] = ()) -> Summary:
        """The account at the end.

        @param verified: numbers that have a record, and run on the MCU that it names.
        @param waiting: numbers that have a record, and wait to be restored.
        """
        missing = sorted(e164 for e164 in self.running if e164 not in verified and e164 not in waiting)
        return Summary(
            created=self.created,
            answered=self.answered,
            refused=self.refused,
            released=self.released,
            running=len(verified),
            waiting=len(waiting),
            unanswered=tuple(sorted(self.unanswered)),
            missing=tuple(missing),
            lost=len(self.unanswered) + len(missing) + self.lost_by_notice,
        )


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went. `lost`: creates without an answer, running ones without record or MCU, and those CSS gave up."""

    created: int
    answered: int
    refused: int
    released: int
    running: int
    waiting: int
    unanswered: tuple[str, ...]
    missing: tuple[str, ...]
    lost: int

    def text(self) -> str:
        """For people and scripts, in one line; a second one names what was lost."""
        counts = (
            f"Summary: created {self.created}, answered {self.answered}, refused {self.refused}, "
            f"released {self.released}, running {self.running}, lost {self.lost}"
        )
        if self.waiting:
            counts += f", waiting to be restored {self.waiting}"
        details = [("never answered", self.unanswered), ("without record or MCU", self.missing)]
        named = [f"{what}: {' '.join(numbers)}" for what, numbers in details if numbers]
        return "\n".join([counts, *named])
