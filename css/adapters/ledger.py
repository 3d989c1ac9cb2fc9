"""How both ledgers write recoveries and steps down."""

from __future__ import annotations

import msgspec

from css.ports.ledger import LedgerStep, Recovery


def recovery_from(values: dict[str, str]) -> Recovery:
    """The recovery in a hash."""
    return msgspec.convert(values, Recovery, strict=False)


def step_from(recovery: str, name: str, value: str) -> LedgerStep:
    """The step in a field `<e164> <mark>` with value `<time> <text>`."""
    e164, _, mark = name.partition(" ")
    time_ms, _, words = value.partition(" ")
    return LedgerStep(recovery, e164, mark, int(time_ms), words)
