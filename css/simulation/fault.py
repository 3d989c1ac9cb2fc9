"""What every fault has: a number in the design's list, how often and how long it strikes, a beginning and a heal."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from css.simulation.instances import Instance
from css.simulation.workload import Workload
from css.simulation.world import Site, World

Heal = Callable[[], None]


def nothing() -> None:
    """How a fault ends that is over at once."""


class Fault:
    """One kind of fault.

    @cvar code: its number in the design's list, with a letter where it has several forms.
    @cvar seconds: it lasts for a time between these, then is healed.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    weight: ClassVar[float] = 1.0
    seconds: ClassVar[tuple[float, float]] = (1.0, 20.0)
    spares_css: ClassVar[bool] = False
    """It strikes MCUs, RMS or users only: CSS owes them what it does as promptly as ever."""

    def __init__(self, world: World, workloads: dict[str, Workload], note: Callable[[str], None]) -> None:
        self.world = world
        self.workloads = workloads
        self.random = world.random
        self.note = note
        """Told of where exactly it struck, if that is known only later."""

    def begin(self, site: Site) -> Heal | None:
        """Strike a platform. @return: how it is healed; None: there was nothing to strike."""
        raise NotImplementedError

    def instance(self, site: Site) -> Instance | None:
        """One that runs, and is not frozen."""
        running = [each for each in site.running() if not each.process.frozen]
        return self.random.choice(running) if running else None

    def later(self, seconds: float, action: Heal) -> None:
        """Go on with something in a while."""
        self.world.timeline.at(self.world.timeline.now + seconds, action)
