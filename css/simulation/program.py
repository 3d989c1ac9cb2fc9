"""The command line: one seed told in full, many seeds counted, or the planted bugs hunted."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from css.simulation.fault import Fault
from css.simulation.faults import FAULTS
from css.simulation.planted import PLANTED, planted
from css.simulation.runner import Result, run_seed
from css.simulation.world import Shape

HUNT_SEEDS = 60
"""How many seeds a planted bug has to be caught in."""
HUNT_MINUTES = 3.0


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for. @return: the exit status, 0 if nothing was violated (or all was caught)."""
    options = _parser().parse_args(arguments)
    if options.planted is not None:
        return hunt(options.planted or list(PLANTED), options.minutes or HUNT_MINUTES)
    shape = None
    if options.instances:
        shape = Shape(instances=options.instances, hosts=options.hosts, old_hosts=options.old_hosts)
    faults = faults_of(options.faults)
    first, _, last = (options.seeds or str(options.seed)).partition("-")
    return live(range(int(first), int(last or first) + 1), options.minutes or 15.0, shape, faults)


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


def live(seeds: range, minutes: float, shape: Shape | None, faults: tuple[type[Fault], ...]) -> int:
    """Run seeds one after the other; stop at the first violation, told with all that replays it."""
    counts: Counter[str] = Counter()
    by_situation: Counter[tuple[str, str]] = Counter()
    simulated = cpu = 0.0
    for seed in seeds:
        result = run_seed(seed, minutes, shape, faults)
        counts += result.faults
        by_situation += result.by_situation
        simulated += result.simulated_seconds
        cpu += result.cpu_seconds
        if result.violation is not None:
            _say(*told(result, minutes, faults))
            return 1
        if len(seeds) == 1:
            _say(f"seed {seed}: history {result.digest[:16]}, {result.steps} steps, {dict(result.lines)}")
    _say(*counted(counts, by_situation))
    _say(
        f"{len(seeds)} seeds, {simulated / 60:.0f} simulated minutes in {cpu:.1f} s of CPU "
        f"({simulated / 60 / cpu:.1f} a second), {sum(counts.values())} faults, no violation"
    )
    return 0


def told(result: Result, minutes: float, faults: tuple[type[Fault], ...]) -> list[str]:
    """A violation: the end of its history, what struck, and how to see it again."""
    assert result.violation is not None
    codes = "all" if faults == FAULTS else ",".join(fault.code for fault in faults)
    return [
        *result.last,
        f"faults: {dict(result.faults)}",
        f"seed {result.seed} violates {result.violation.code}: {result.violation.text}",
        f"again: python -m css.simulation --seed {result.seed} --minutes {minutes:g} --faults {codes}",
    ]


def counted(counts: Counter[str], by_situation: Counter[tuple[str, str]]) -> list[str]:
    """A line for each fault: how often it struck, and in which situations of a conference."""
    lines = []
    for name in sorted(counts):
        places = {place: number for (fault, place), number in sorted(by_situation.items()) if fault == name}
        lines.append(f"{counts[name]:7} {name}: {', '.join(f'{place} {n}' for place, n in places.items())}")
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
        for seed in range(1, seeds + 1):
            result = run_seed(seed, minutes, None, faults)
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
    parser.add_argument("--instances", type=int, default=0, help="0: drawn from the seed, with hosts")
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--old-hosts", type=int, default=0, help="hosts that know no epochs")
    parser.add_argument("--planted", nargs="*", default=None, help="hunt these planted bugs, or all")
    return parser


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
