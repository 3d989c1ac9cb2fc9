"""When which fault strikes, and when it is healed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from css.simulation.fault import Fault, Heal, nothing
from css.simulation.faults import FAULTS
from css.simulation.workload import Workload
from css.simulation.world import Site, World

AFTERMATH_SECONDS = 60.0
"""How long CSS may need after a fault: the longest restart of an instance, leases, time-outs, back-off."""


class Injector:
    """Strikes now and then, and heals.

    @ivar counts: strikes by fault. @ivar by_situation: by (fault, situation of a conference that there was).
    """

    def __init__(
        self,
        world: World,
        workloads: dict[str, Workload],
        kinds: tuple[type[Fault], ...] = FAULTS,
    ) -> None:
        self.world = world
        self.counts: Counter[str] = Counter()
        self.by_situation: Counter[tuple[str, str]] = Counter()
        self._faults = [kind(world, workloads, self._noter(kind)) for kind in kinds]
        self._weights = [kind.weight for kind in kinds]
        self._mean_seconds = world.shape.fault_seconds
        self._active: dict[int, tuple[Fault, Heal]] = {}
        self._number = 0
        self._running = False

    def start(self) -> None:
        """Begin."""
        self._running = bool(self._faults)
        if self._running:
            self._next()

    def heal_all(self) -> None:
        """No faults any more: what is broken is mended, in random order, and what is dead is started soon."""
        self._running = False
        self.world.faulty = False
        numbers = list(self._active)
        self.world.random.shuffle(numbers)
        for number in numbers:
            self._heal(number)

    def _noter(self, kind: type[Fault]) -> Callable[[str], None]:
        def note(place: str) -> None:
            self.by_situation[kind.name, place] += 1

        return note

    def _next(self) -> None:
        world = self.world
        world.timeline.at(world.timeline.now + world.random.expovariate(1 / self._mean_seconds), self._strike)

    def _strike(self) -> None:
        if not self._running:
            return
        world = self.world
        fault = world.random.choices(self._faults, self._weights)[0]
        site = world.random.choice(list(world.sites.values()))
        present = site.situations()
        heal = fault.begin(site)
        if heal is not None:
            self._count(fault, site, present)
            self._number += 1
            self._active[self._number] = (fault, heal)
            self.world.harms += not fault.spares_css
            world.timeline.at(world.timeline.now + world.random.uniform(*fault.seconds), self._heal, self._number)
        self._next()

    def _count(self, fault: Fault, site: Site, present: list[str]) -> None:
        self.world.history.note("fault", f"{fault.code} {fault.name} at {site.moid}")
        self.counts[fault.name] += 1
        for situation in present or ["absent"]:
            self.by_situation[fault.name, situation] += 1

    def _heal(self, number: int) -> None:
        active = self._active.pop(number, None)
        if active is not None:
            fault, heal = active
            if heal is not nothing:
                self.world.history.note("heal", f"{fault.code} {fault.name}")
            heal()
            if not fault.spares_css:
                self.world.harms -= 1
                self.world.harmed(AFTERMATH_SECONDS)
