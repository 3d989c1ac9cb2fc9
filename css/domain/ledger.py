"""What the ledger says of a step: added to every decision about a conference that is part of a recovery."""

from __future__ import annotations

from msgspec.structs import replace

from css.domain.conference import Conference, State
from css.domain.decision import Decision
from css.domain.effects import Effect, Note


def recovery_name(kind: str, subject: str, begun_ms: int, keeper: str) -> str:
    """What a recovery is called, in whichever platform's store its name is met. @param keeper: whose ledger has it."""
    return f"{kind}:{subject}:{begun_ms}@{keeper}"


def keeper_of(recovery: str) -> str:
    """Moid of the platform whose ledger has a recovery; empty: its name does not say."""
    return recovery.rpartition("@")[2] if "@" in recovery else ""


def with_notes(before: Conference, decision: Decision) -> Decision:
    """The decision, with its entries for the ledger. One that is restored, or has ended, leaves its recovery."""
    after = decision.record
    present = after.recovery if after is not None else before.recovery
    if not decision.changed or not (present or before.recovery):
        return decision
    notes: list[Effect] = []
    if before.recovery and before.recovery != present:
        notes.append(Note(before.recovery, f"goes on in recovery {present}", settled=True))
    if present:
        settled = after is None or after.state is State.ONGOING
        notes.append(Note(present, decision.because, before.recovery != present, settled))
        if after is not None and settled:
            after = replace(after, recovery="")
    return replace(decision, record=after, effects=(*decision.effects, *notes))
