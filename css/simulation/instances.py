"""An instance of CSS in a simulated world: the real service tree, which can be killed, frozen, stopped and started."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from css.config import Settings, parse
from css.domain.platforms import PlatformState
from css.handlers.startup import Phase
from css.ports.bus import IBus
from css.service import CssService
from css.simulation.broker import HEARTBEAT_TIMEOUT_SECONDS, Face
from css.simulation.cipher import PlainCipher
from css.simulation.clock import Process
from css.simulation.servers import ServerLink, SimulatedConnector

if TYPE_CHECKING:
    from css.simulation.world import World

RESTART_SECONDS = (0.5, 40.0)
"""A dead instance is started again after a time between these."""


def settings_of(moid: str, name: str, timers: dict[str, float], restore_rate: float) -> Settings:
    """An instance's configuration."""
    lines = [f"{timer} = {float(seconds)}" for timer, seconds in timers.items()]
    head = [
        f'[platform]\nmoid = "{moid}"',
        f'[instance]\nname = "{name}"',
        '[amqp]\nurl = "memory:"',
        f"[restore]\nrate_per_second = {restore_rate}",
        "[timers]",
    ]
    return parse("\n".join([*head, *lines]), "simulated.toml")


def keeps_pace() -> bool:
    """Whether the instances' reactor is one whose time never jumps."""
    return True


class Instance:
    """One of a platform's instances, through all its lives. The service tree of a dead one is kept, not collected:
    what a collector would close would run its `finally` blocks at a time that no seed determines."""

    def __init__(self, world: World, moid: str, name: str) -> None:
        self.world = world
        self.moid = moid
        self.name = name
        self.lives = 0
        self.faces: list[Face] = []
        self.stopping: Deferred[None] | None = None
        self._clock_error = world.random.uniform(-2.0, 2.0)
        self._settings = settings_of(moid, name, world.shape.timers, world.shape.restore_rate)
        self._graveyard: list[CssService] = []
        self._probes_left = 0
        self.on_probe_kill: Callable[[str], None] = lambda place: None
        self.start()

    @property
    def running(self) -> bool:
        """Alive, and not on its way out."""
        return self.process.alive and self.stopping is None

    @property
    def links(self) -> list[ServerLink]:
        """Its connections to Redis and SQL."""
        servers = (*self.world.redis.values(), self.world.sql)
        return [link for server in servers for link in server.links if link.process is self.process]

    @property
    def connected(self) -> bool:
        """Whether it has a link to everything that it ever tried to reach."""
        links = [face.link for face in self.faces]
        return all(link is not None and link.is_open for link in links) and all(link.up for link in self.links)

    @property
    def serves_itself_only(self) -> bool:
        """Whether it serves, and knows every platform to be normal."""
        startup = self.service.startup
        states = [known.state for known in startup.platforms().known.values()]
        return startup.phase is Phase.SERVING and all(state is PlatformState.NORMAL for state in states)

    def start(self) -> None:
        """Begin a life, as soon as anybody does that here."""
        world = self.world
        if world.sites[self.moid].dark:
            world.timeline.at(world.timeline.now + 1.0, self.start)
            return
        self.lives += 1
        self.stopping = None
        self._probes_left = 0
        self.faces = []
        self.process = process = Process(world.timeline, world.random, self.name)
        process.offset_seconds = self._clock_error
        process.on_death = self._died
        connector = SimulatedConnector(process, self._bus, world.redis, world.sql)
        self.service = CssService(
            process,
            self._settings,
            self._bus(self.moid, self.name),
            connector,
            PlainCipher(),
            self._probe,
            world.random,
            f"{self.name}.{self.lives}",
        )
        world.history.note("start", f"{self.name} life {self.lives}")
        process.run(self.service.startService)

    def kill(self) -> None:
        """Kill -9, now."""
        self.process.kill()

    def kill_at_probe(self, number: int) -> None:
        """Kill -9 at the n-th probe from now."""
        self._probes_left = number

    def freeze(self) -> None:
        """SIGSTOP. A broker that hears nothing for its heartbeat's time-out closes the link."""
        self.process.freeze()
        world, life = self.world, self.lives
        world.timeline.at(world.timeline.now + HEARTBEAT_TIMEOUT_SECONDS, self._unheard, life)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.resume()

    def set_clock(self, seconds: float) -> None:
        """Its machine's clock is set forward, or back. One that runs already keeps its pace (see `css.steady`)."""
        self._clock_error += seconds
        if not keeps_pace():
            self.process.jump(seconds)

    def stop_in_order(self) -> None:
        """Stop as an operator does, then start again."""
        if self.running and not self.process.frozen:
            self.stopping = self.service.stopService()
            _ = self.stopping.addBoth(lambda _: self.process.kill())

    def bury(self) -> None:
        """The world is over: whoever waits for a turn gets none, when the collector closes those who had theirs."""
        for service in (*self._graveyard, self.service):
            service.work.steps._locks._queues = defaultdict(deque)

    def _bus(self, moid: str, name: str) -> IBus:
        face = self.world.brokers[moid].face(self.process)
        self.faces.append(face)
        bus: IBus = face.bus(name)
        return bus

    def _probe(self, step: str, point: str) -> None:
        if self._probes_left and self.process.alive:
            self._probes_left -= 1
            if not self._probes_left:
                self.on_probe_kill(f"{step}.{point}")
                self.process.kill()

    def _died(self) -> None:
        world = self.world
        world.history.note("death", self.name)
        for link in self.links:
            link.server.links.remove(link)
        for face in self.faces:
            face.died()
            world.brokers[face.server.moid].faces.remove(face)
        self._graveyard.append(self.service)
        seconds = world.random.uniform(*RESTART_SECONDS) if world.faulty else 1.0
        world.timeline.at(world.timeline.now + seconds, self.start)

    def _unheard(self, life: int) -> None:
        if life == self.lives and self.process.frozen:
            for face in self.faces:
                if face.link is not None:
                    face.server.drop(face.link, "missed heartbeats")
