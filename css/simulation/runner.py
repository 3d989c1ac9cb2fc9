"""Running worlds: one seed in two phases, many seeds in a row, and what they tell.

A run: start; minutes of work under faults; heal; wait until every request is answered and all has settled; release
what is left; wait until nothing stays behind. Whatever is not so in time is a violation.
"""

from __future__ import annotations

import gc
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import msgspec
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher

from css.handlers.startup import Phase
from css.simulation import grounds, invariants, reports, restores
from css.simulation.fault import Fault
from css.simulation.faults import FAULTS
from css.simulation.injector import Injector
from css.simulation.invariants import Invariant
from css.simulation.workload import Workload
from css.simulation.world import Shape, Violation, World, drawn_shape

START_SECONDS = 30.0
"""Until when an unharmed world serves."""
SETTLE_SECONDS = 180.0
"""How long after the heal everything must have settled: frozen and dead instances, time-outs, leases, back-off."""
END_SECONDS = 150.0
"""How long after the last release nothing may be left: bookings are looked at after a minute."""

NUMBER = re.compile(r"\b0\d60\d{3}\b")
"""A number of the workload, in a violation's text."""

INVARIANTS: tuple[type[Invariant], ...] = (
    reports.RequestsAnswered,
    reports.EndsReported,
    reports.PoisonParked,
    reports.NothingFails,
    invariants.IndexesEqualRecords,
    invariants.EpochsGrow,
    invariants.EndedStaysEnded,
    invariants.LimitsHold,
    invariants.DomainIsOpen,
    invariants.OnePlacement,
    grounds.GroundedInMcus,
    grounds.LateAcksReleased,
    grounds.EndsInTime,
    grounds.RestoresTold,
    restores.AliveOrPending,
    restores.RestoresPaced,
    restores.VoidedWithReason,
    restores.OnePlatform,
    restores.AllRestored,
    invariants.Bounded,
    invariants.NothingLeft,
)


Shapes = Shape | Callable[[int], Shape]
"""The shape of all worlds, or what draws that of each seed."""


class Result(msgspec.Struct):
    """What became of one seed."""

    seed: int
    digest: str
    violation: Violation | None
    faults: Counter[str]
    by_situation: Counter[tuple[str, str]]
    lines: Counter[str]
    steps: int
    simulated_seconds: float
    cpu_seconds: float
    last: list[str]
    """The end of the history, if there is a violation."""
    platforms: int = 1


class Run:
    """One seed."""

    def __init__(
        self, seed: int, minutes: float, shape: Shapes = drawn_shape, faults: tuple[type[Fault], ...] = FAULTS
    ) -> None:
        self.minutes = minutes
        self.world = world = World(seed, shape if isinstance(shape, Shape) else shape(seed))
        self.invariants = [kind(world) for kind in INVARIANTS]
        world.watchers += self.invariants
        self.workloads = {moid: Workload(world, site) for moid, site in world.sites.items()}
        world.watchers += self.workloads.values()
        self.injector = Injector(world, self.workloads, faults)

    def run(self) -> Result:
        """Live through it."""
        began, start = time.process_time(), self.world.timeline.now
        with self._watching():
            self._live()
        world = self.world
        violation = world.violations[0] if world.violations else None
        return Result(
            seed=world.seed,
            digest=world.history.digest(),
            violation=violation,
            faults=self.injector.counts,
            by_situation=self.injector.by_situation,
            lines=world.history.counts,
            steps=world.timeline.steps,
            simulated_seconds=world.timeline.now - start,
            cpu_seconds=time.process_time() - began,
            last=self._story(violation) if violation else [],
            platforms=len(world.sites),
        )

    def _live(self) -> None:
        world = self.world
        world.start()
        world.timeline.at(world.timeline.now, self._look)
        self._demand("start", START_SECONDS, lambda: [] if self._all_serve() else ["start not all instances serve"])
        for workload in self.workloads.values():
            workload.start()
        self.injector.start()
        world.run(self.minutes * 60)
        self.injector.heal_all()
        for workload in self.workloads.values():
            workload.stop()
        self._demand("settled", SETTLE_SECONDS, lambda: self._findings("settled"))
        for moid, workload in self.workloads.items():
            workload.release_all([c.e164 for c in world.sites[moid].conferences()])
        self._demand("ended", END_SECONDS, lambda: self._findings("ended"))

    def _all_serve(self) -> bool:
        licensed = all(
            redis.store.server.keyspace.is_hash(f"domain/{m}/license") for m, redis in self.world.redis.items()
        )
        return licensed and all(each.service.startup.phase is Phase.SERVING for each in self.world.instances())

    def _look(self) -> None:
        for each in self.invariants:
            each.look()
        self.world.timeline.at(self.world.timeline.now + 1.0, self._look)

    def _findings(self, phase: str) -> list[str]:
        found = []
        for each in self.invariants:
            found += [f"{each.code} {line}" for line in getattr(each, phase)()]
        for workload in self.workloads.values():
            found += workload.on_their_way()
        for instance in self.world.instances():
            if not instance.running:
                found.append(f"I10 {instance.name} is down")
            elif not instance.connected:
                found.append(f"I10 {instance.name} is not connected")
            elif not instance.serves_itself_only:
                found.append(f"I11 {instance.name} does not know that all is normal")
        return found

    def _demand(self, phase: str, seconds: float, findings: Callable[[], list[str]]) -> None:
        """Let time pass until there are no findings; if there are any in the end, that is a violation."""
        if self.world.violations or self.world.run_until(lambda: not findings(), seconds) or self.world.violations:
            return
        found = findings()
        code, _, first = found[0].partition(" ")
        self.world.violate(code, f"not {phase} after {seconds:g} s: {first} (and {len(found) - 1} more: {found[1:4]})")

    def _story(self, violation: Violation) -> list[str]:
        history = self.world.history
        named = violation.about or next(iter(NUMBER.findall(violation.text)), "")
        about = history.last(60, named) if named else []
        return [*about, *(["…"] if about else []), *history.last(60)]

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Look at the log, and keep the collector from closing what dead instances left."""
        fails = next(each for each in self.invariants if isinstance(each, reports.NothingFails))

        def observe(event: dict[str, Any]) -> None:
            if event["log_level"].name in ("warn", "error", "critical"):
                self.world.history.remark(f"{event.get('log_namespace', '')}: {formatEvent(event)}")
                fails.logged(event)

        was_collecting = gc.isenabled()
        gc.disable()
        observer = cast("ILogObserver", observe)
        globalLogPublisher.addObserver(observer)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(observer)
            for instance in self.world.instances():
                instance.bury()
            if was_collecting:
                gc.enable()


def run_seed(
    seed: int, minutes: float, shape: Shapes = drawn_shape, faults: tuple[type[Fault], ...] = FAULTS
) -> Result:
    """Build a world from a seed, and live through it."""
    return Run(seed, minutes, shape, faults).run()
