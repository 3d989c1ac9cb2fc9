"""What benchmarks measure, as figures and as a table."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Run(msgspec.Struct):
    """One measured stretch of creates."""

    creates: int
    seconds: float
    cpu_seconds: float
    """Of the measured process, in user and in kernel mode."""


class Side(msgspec.Struct):
    """One of two that are compared: all its stretches taken together."""

    creates_per_second: float
    cpu_us_per_create: float
    busy: float
    """The share of one core that the measured process used."""


def summed(runs: Sequence[Run]) -> Side:
    """@param runs: at least one."""
    creates = sum(run.creates for run in runs)
    seconds = sum(run.seconds for run in runs)
    cpu_seconds = sum(run.cpu_seconds for run in runs)
    return Side(creates / seconds, cpu_seconds / creates * 1e6, cpu_seconds / seconds)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not exceeded by `percent` of 100 values (nearest rank).

    @raise ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used since its start, in user and in kernel mode."""
    # The second field is the program's name in brackets, which may itself hold spaces and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines of equal width: the first column to the left, the others, numbers, to the right."""
    cells = [[_cell(each) for each in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        lines.append("  ".join([first, *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]))
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
