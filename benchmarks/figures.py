"""What benchmarks measure, as figures and as a table."""

from __future__ import annotations

import ctypes
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

_libc = ctypes.CDLL(None, use_errno=True)


class Run(msgspec.Struct):
    """One measured stretch of creates."""

    creates: int
    seconds: float
    cpu_seconds: float
    """Of the measured process, in user and in kernel mode."""
    ready_seconds: float
    """Its main thread had something to do: it ran, or waited for a core."""


class Side(msgspec.Struct):
    """One of two that are compared: all its stretches taken together."""

    creates_per_second: float
    cpu_us_per_create: float
    busy: float
    """The share of one core that the measured process used."""
    ready: float
    """The share of the time in which its main thread had something to do. Where the cores are fewer than the processes
    that create conferences, this tells whether it was saturated, and `busy` how much of a core was left to it."""


class Ratio(msgspec.Struct):
    """One side in terms of the other, pair by pair of stretches that were measured one after the other."""

    median: float
    lowest: float
    highest: float
    quarters: tuple[float, float]
    """Half of the pairs lie between these."""
    pairs: list[float]


def ratio_of(pairs: Sequence[float]) -> Ratio:
    """@param pairs: at least one ratio."""
    low, high = percentile(pairs, 25), percentile(pairs, 75)
    return Ratio(statistics.median(pairs), min(pairs), max(pairs), (low, high), list(pairs))


def summed(runs: Sequence[Run]) -> Side:
    """@param runs: at least one."""
    creates = sum(run.creates for run in runs)
    seconds = sum(run.seconds for run in runs)
    cpu_seconds = sum(run.cpu_seconds for run in runs)
    ready = sum(run.ready_seconds for run in runs) / seconds
    return Side(creates / seconds, cpu_seconds / creates * 1e6, cpu_seconds / seconds, ready)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not exceeded by `percent` of 100 values (nearest rank).

    @raise ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used since its start, in user and in kernel mode, all threads together. To the nanosecond;
    `/proc/<pid>/stat` counts in hundredths of a second.

    @raise ProcessLookupError: there is no such process.
    """
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(f"no process {pid}")
    return time.clock_gettime(clock.value)


def ready_seconds(pid: int) -> float:
    """How long a process's main thread has run, or waited for a core, since its start."""
    ran_ns, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return (int(ran_ns) + int(waited_ns)) / 1e9


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
