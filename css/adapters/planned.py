"""What the adapters of planned conferences share."""

from __future__ import annotations

from css.ports.planned import FAMILIES


def number_of(key: str) -> str:
    """The number in the key of a hash; empty: it is none of these hashes."""
    family, _, e164 = key.partition("/")
    return e164 if family in FAMILIES else ""
