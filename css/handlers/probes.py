"""Named points of the work at which a crash must do no harm; `css/probe.py` makes a process die at one of them."""

from __future__ import annotations

from collections.abc import Callable

Probe = Callable[[str, str], None]
"""Called with (step, point) at each such point; does nothing in production."""


def no_probe(step: str, point: str) -> None:
    """The probe of production: nothing."""
