"""The outcome of a decision, and what every ending has in common."""

from __future__ import annotations

import msgspec

from css.domain.conference import Conference
from css.domain.effects import (
    Bill,
    DeleteRow,
    Effect,
    EndReason,
    ReportGone,
    TellReleased,
    free_load,
)


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one step changes and causes."""

    because: str
    """A sentence for the log."""
    changed: bool = True
    """False: the record stays as it is; effects may follow all the same."""
    record: Conference | None = None
    """The record after the step; None: it is deleted."""
    effects: tuple[Effect, ...] = ()
    ended: EndReason | None = None
    penalise: str = ""
    """A host that has just failed."""


def ignore(because: str, *effects: Effect) -> Decision:
    """Leave the record alone."""
    return Decision(because=because, changed=False, effects=effects)


def end(
    conference: Conference, reason: EndReason, now_ms: int, because: str, *first: Effect, penalise: str = ""
) -> Decision:
    """End a conference: the record goes, and whoever must know is told.

    One that never ran leaves only what `first` says (its NACK); one that ran is reported, billed and its row deleted.
    """
    c = conference
    effects = list(first)
    if c.ip:
        effects.append(free_load(c))
    if c.has_run:
        effects += [TellReleased(reason), ReportGone(), DeleteRow(), Bill(reason, now_ms // 1000)]
    return Decision(because=because, effects=tuple(effects), ended=reason, penalise=penalise)
