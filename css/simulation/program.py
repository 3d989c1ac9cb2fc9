"""The command line: one seed told in full, many seeds counted, or the planted bugs hunted."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import msgspec
from twisted.logger import globalLogBeginner

from css.simulation.fault import Fault
from css.simulation.faults import FAULTS
from css.simulation.planted import PLANTED, planted
from css.simulation.runner import Result, Shapes, run_seed
from css.simulation.world import Shape, drawn_shape

HUNT_SEEDS = 60
"""How many seeds a planted bug has to be caught in."""
HUNT_MINUTES = 3.0
NIGHT_BATCH = 4
"""How many seeds are handed to a process at once: so many at most are begun after the time is over."""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for. @return: the exit status, 0 if nothing was violated (or all was caught)."""
    options = _parser().parse_args(arguments)
    if options.planted is not None:
        return hunt(options.planted or list(PLANTED), options.minutes or HUNT_MINUTES)
    shape: Shape | None = None
    if options.instances:
        shape = Shape(instances=options.instances, hosts=options.hosts, old_hosts=options.old_hosts)
    drawn = partial(drawn_shape, platforms=options.platforms)
    faults = faults_of(options.faults)
    first, _, last = (options.seeds or str(options.seed)).partition("-")
    minutes = options.minutes or 15.0
    if options.hours:
        return night(int(first), options.hours, minutes, shape or drawn, faults, options.jobs)
    total = live(range(int(first), int(last or first) + 1), minutes, shape or drawn, faults, options.jobs)
    _say(*total.lines(), *(told(total.violated, minutes, faults) if total.violated else ()))
    return 1 if total.violated else 0


def faults_of(codes: str) -> tuple[type[Fault], ...]:
    """The faults of a comma-separated list of codes; `all`, `none`.

    @raise SystemExit: there is no such fault.
    """
    if codes in ("all", "none"):
        return FAULTS if codes == "all" else ()
    known = {fault.code: fault for fault in FAULTS}
    unknown = [code for code in codes.split(",") if code not in known]
    if unknown:
        raise SystemExit(f"no fault {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[code] for code in codes.split(","))


class Total(msgspec.Struct):
    """What many seeds came to."""

    seeds: int = 0
    simulated_seconds: float = 0.0
    cpu_seconds: float = 0.0
    faults: dict[str, int] = {}
    """How often each has struck."""
    by_situation: dict[str, dict[str, int]] = {}
    """By fault, then by situation of a conference that there was."""
    violated: Result | None = None
    """The first that violates an invariant; none later was looked at."""

    def add(self, result: Result) -> None:
        """One more."""
        one = Total(1, result.simulated_seconds, result.cpu_seconds, dict(result.faults))
        for (fault, place), number in result.by_situation.items():
            one.by_situation.setdefault(fault, {})[place] = number
        self.merge(one)
        if result.violation is not None:
            self.violated = result

    def merge(self, other: Total) -> None:
        """Those of another one as well."""
        self.seeds += other.seeds
        self.simulated_seconds += other.simulated_seconds
        self.cpu_seconds += other.cpu_seconds
        self.faults = _sum(self.faults, other.faults)
        for fault, places in other.by_situation.items():
            self.by_situation[fault] = _sum(self.by_situation.get(fault, {}), places)

    def lines(self) -> list[str]:
        """What struck where, and how much was lived through."""
        minutes = self.simulated_seconds / 60
        return [
            *counted(self.faults, self.by_situation),
            f"{self.seeds} seeds, {minutes:.0f} simulated minutes in {self.cpu_seconds:.1f} s of CPU "
            f"({minutes / self.cpu_seconds:.1f} a second), {sum(self.faults.values())} faults, "
            + (f"seed {self.violated.seed} has a violation" if self.violated else "no violation"),
        ]


def live(seeds: Iterable[int], minutes: float, shape: Shapes, faults: tuple[type[Fault], ...], jobs: int = 1) -> Total:
    """Run seeds, at the same time in so many processes; stop at the first violation."""
    total = Total()
    one = partial(run_seed, minutes=minutes, shape=shape, faults=faults)
    with _mapping(jobs) as mapped:
        for result in mapped(one, seeds):
            total.add(result)
            if total.violated is not None:
                break
    return total


Mapped = Callable[[Callable[[int], Result], Iterable[int]], Iterable[Result]]


@contextmanager
def _mapping(jobs: int) -> Iterator[Mapped]:
    """What calls a function for each of many seeds, here or in other processes; the results come in order."""
    if jobs <= 1:
        yield map
        return
    with get_context("spawn").Pool(jobs, _be_quiet) as pool:
        yield pool.imap


def _be_quiet() -> None:
    """In a process that only runs seeds: nothing of the log is for its output."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def night(first: int, hours: float, minutes: float, shape: Shapes, faults: tuple[type[Fault], ...], jobs: int) -> int:
    """Run seeds, from the first one on, until the time is over; a violation stops nothing. @return: the exit status."""
    began, total, violated = time.monotonic(), Total(), 0
    one = partial(run_seed, minutes=minutes, shape=shape, faults=faults)
    seed = first
    with _mapping(jobs) as mapped:
        while time.monotonic() < began + 3600 * hours:
            batch = range(seed, seed + NIGHT_BATCH * jobs)
            seed = batch.stop
            for result in mapped(one, batch):
                total.add(result)
                if result.violation is not None:
                    violated += 1
                    _say(*told(result, minutes, faults)[-2:])
    total.violated = None
    _say(*total.lines()[:-1])
    _say(
        f"seeds {first}-{seed - 1}: {total.seeds}, {total.simulated_seconds / 3600:.1f} simulated hours, "
        f"{sum(total.faults.values())} faults, {violated} violations, {(time.monotonic() - began) / 60:.1f} minutes"
    )
    return 1 if violated else 0


def told(result: Result, minutes: float, faults: tuple[type[Fault], ...]) -> list[str]:
    """A violation: the end of its history, what struck, and how to see it again."""
    assert result.violation is not None
    codes = "all" if faults == FAULTS else ",".join(fault.code for fault in faults)
    several = f" --platforms {result.platforms}" if result.platforms > 1 else ""
    return [
        *result.last,
        f"faults: {dict(result.faults)}",
        f"seed {result.seed} violates {result.violation.code}: {result.violation.text}",
        f"again: python -m css.simulation --seed {result.seed} --minutes {minutes:g} --faults {codes}{several}",
    ]


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


def counted(faults: dict[str, int], by_situation: dict[str, dict[str, int]]) -> list[str]:
    """A line for each fault: how often it struck, and in which situations of a conference."""
    lines = []
    for name in sorted(faults):
        places = sorted(by_situation.get(name, {}).items())
        lines.append(f"{faults[name]:7} {name}: {', '.join(f'{place} {n}' for place, n in places)}")
    return lines


def hunt(names: Sequence[str], minutes: float) -> int:
    """Plant each bug, and run seeds until it is caught."""
    missed = []
    for name in names:
        seed = caught_by(name, minutes)
        if seed is None:
            missed.append(name)
            _say(f"MISSED {name}")
    _say(f"{len(names) - len(missed)} of {len(names)} planted bugs caught")
    return 1 if missed else 0


def caught_by(name: str, minutes: float, seeds: int = HUNT_SEEDS) -> int | None:
    """The first seed that catches a planted bug, None if none does."""
    with planted(name) as plant:
        faults = faults_of(",".join(plant.faults) or "all")
        shapes = partial(drawn_shape, platforms=plant.platforms)
        for seed in range(1, seeds + 1):
            result = run_seed(seed, minutes, shapes, faults)
            if result.violation is not None:
                first_line = result.violation.text.splitlines()[0]
                _say(f"caught {name} by seed {seed}: {result.violation.code} {first_line:.140}")
                return seed
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m css.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", default="", help="A-B: all of these")
    parser.add_argument("--minutes", type=float, default=0.0, help="simulated, under faults; 15 by default")
    parser.add_argument("--faults", default="all", help="codes, with commas; all; none")
    parser.add_argument("--platforms", type=int, choices=range(6), default=1, help="0: drawn from the seed, 1 to 5")
    parser.add_argument("--instances", type=int, default=0, help="0: drawn from the seed, with hosts")
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--old-hosts", type=int, default=0, help="hosts that know no epochs")
    parser.add_argument("--hours", type=float, default=0.0, help="seeds from --seed on, until the time is over")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--planted", nargs="*", default=None, help="hunt these planted bugs, or all")
    return parser


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
