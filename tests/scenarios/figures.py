"""Figures that a test has measured: a line each in a file, which `make soak` prints at its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

VARIABLE = "CSS_FIGURES"
"""The environment variable that names the file; without it figures are not kept."""


def note(what: str, **figures: Any) -> None:
    """Keep the figures of a test: seconds, rates, counts."""
    path = os.environ.get(VARIABLE)
    if path:
        with Path(path).open("ab") as file:
            file.write(msgspec.json.encode({"what": what, **figures}) + b"\n")


def noted(path: Path) -> list[dict[str, Any]]:
    """What tests have noted, in that order."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def lines(figures: list[dict[str, Any]]) -> list[str]:
    """One readable line for each."""
    return [
        f"{each['what']}: " + ", ".join(f"{name} {_number(value)}" for name, value in each.items() if name != "what")
        for each in figures
    ]


def _number(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
