"""What the adapters of running conferences share."""

from __future__ import annotations

from collections.abc import Sequence

from css.ports.running import Running


def running_from(values: Sequence[str]) -> Running:
    """@param values: number, moid, platformmoid, endtime, confname, begintime; empty where missing."""
    e164, moid, platformmoid, endtime, confname, begintime = values
    return Running(e164, confname, moid, platformmoid, _number(begintime), _number(endtime))


def _number(text: str) -> int:
    """What is no number there was not written by CSS; a reader must live with it."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
