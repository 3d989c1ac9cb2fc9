"""The faults of instances, networks and servers, and the list of all; `css.simulation.injector` chooses among them."""

from __future__ import annotations

from css.handlers import addresses as to
from css.ports.bus import Outgoing
from css.simulation.broker import Face
from css.simulation.fault import Fault, Heal, nothing
from css.simulation.losses import CapacityGone, CrashMcu, MoodyMcu, MoodyRms, MuteMcu, RoomLost, UserEndsRestore
from css.simulation.network import Wire
from css.simulation.platforms import BETWEEN_PLATFORMS
from css.simulation.rollback import LoseWrites
from css.simulation.servers import ServerLink
from css.simulation.world import Site

FLAPS = 20
"""How often a flapping link breaks at most."""


class KillAtEvent(Fault):
    """Kill -9 of an instance before one of its next events, that is at any await."""

    code, name, weight = "1", "kill at an event", 3.0

    def begin(self, site: Site) -> Heal | None:
        instance = self.instance(site)
        if instance is None:
            return None
        instance.process.kill_after(1 + int(self.random.expovariate(1 / 30)))
        return nothing


class KillAtProbe(Fault):
    """Kill -9 of an instance around a commit, a confirm or an ack."""

    code, name, weight = "1p", "kill at a probe", 3.0

    def begin(self, site: Site) -> Heal | None:
        instance = self.instance(site)
        if instance is None:
            return None
        instance.on_probe_kill = self.note
        instance.kill_at_probe(self.random.randint(1, 12))
        return nothing


class Freeze(Fault):
    """An instance stops past every lease, then goes on."""

    code, name, seconds = "2", "freeze", (1.0, 60.0)

    def begin(self, site: Site) -> Heal | None:
        instance = self.instance(site)
        if instance is None:
            return None
        instance.freeze()
        return instance.process.resume


class Duplicate(Fault):
    """Messages come up to five times, some late, so that instances have them at once and out of order."""

    code, name, seconds = "3", "duplicates and disorder", (5.0, 60.0)

    def begin(self, site: Site) -> Heal | None:
        random = self.random

        def copies(queue: str, message: Outgoing) -> list[float]:
            if random.random() > 0.3:
                return [0.0]
            count = random.randint(1, 5)
            if not queue.startswith("MAU."):
                return [0.0, *(random.random() * 2 for _ in range(count - 1))]
            longest = random.choice((0.0, 0.01, 1.0, 30.0))
            return [random.random() * longest for _ in range(count)]

        if site.broker.copies is not None:
            return None
        site.broker.copies = copies

        def heal() -> None:
            site.broker.copies = None

        return heal


class ResetLink(Fault):
    """The connection of an instance or a peer to the broker breaks; what is on its way is lost."""

    code, name, weight = "4", "link to the broker reset", 3.0

    def begin(self, site: Site) -> Heal | None:
        faces = [face for face in site.broker.faces if face.link is not None and face.process.alive]
        ours = [face for instance in site.running() for face in instance.faces if face.link is not None]
        self.random.choice(ours if ours and self.random.random() < 0.7 else faces).reset()
        return nothing


class RestartBroker(Fault):
    """The broker dies and comes back; queues are durable."""

    code, name, seconds = "5", "broker restart", (0.5, 30.0)

    def begin(self, site: Site) -> Heal | None:
        if not site.broker.running:
            return None
        site.broker.stop()
        return site.broker.start


class CancelConsumers(Fault):
    """The broker cancels the consumers of a queue of CSS."""

    code, name = "6a", "consumers cancelled"

    def begin(self, site: Site) -> Heal | None:
        site.broker.cancel_consumers(self.random.choice(to.WORK_QUEUES))
        return nothing


class DeleteQueue(Fault):
    """A queue of CSS is deleted, with what is in it."""

    code, name, weight = "6b", "queue deleted", 0.5

    def begin(self, site: Site) -> Heal | None:
        site.broker.delete_queue(self.random.choice(to.WORK_QUEUES))
        return nothing


class Block(Fault):
    """The broker takes no publishes."""

    code, name, weight, seconds = "7", "publishers blocked", 0.5, (1.0, 120.0)

    def begin(self, site: Site) -> Heal | None:
        if site.broker.blocked:
            return None
        site.broker.block()
        return site.broker.unblock


class LoseReplyQueue(Fault):
    """A CM is cut off and its reply queue deleted; the CM declares it again when it notices."""

    code, name = "8", "reply queue absent"

    def begin(self, site: Site) -> Heal | None:
        cm = self.random.choice(site.cms)
        face = site.faces[f"cm-{cm.name}"]
        face.clog()
        site.broker.delete_queue(cm.reply_queue)
        return face.clear


class Poison(Fault):
    """A burst of what is no message."""

    code, name = "9", "poison"

    def begin(self, site: Site) -> Heal | None:
        for _ in range(self.random.randint(1, 40)):
            self.workloads[site.moid].do_poison()
        return nothing


class LoseAnswers(Fault):
    """Redis executes, and the connection breaks before its answer."""

    code, name, seconds = "12", "Redis answers lost", (0.5, 15.0)

    def begin(self, site: Site) -> Heal | None:
        redis = site.redis
        if redis.lose_answers:
            return None
        redis.lose_answers = self.random.choice((0.02, 0.2, 0.7))

        def heal() -> None:
            redis.lose_answers = 0.0

        return heal


class KillRedis(Fault):
    """Redis is away; nothing that it was told is lost."""

    code, name, seconds = "10", "Redis down", (0.5, 30.0)

    def begin(self, site: Site) -> Heal | None:
        if site.redis.down:
            return None
        site.redis.stop()
        return site.redis.start


class HangRedis(Fault):
    """Redis takes commands and answers nothing, then does them all."""

    code, name, seconds = "13a", "Redis hangs", (0.5, 30.0)

    def begin(self, site: Site) -> Heal | None:
        if site.redis.hanging:
            return None
        site.redis.hang()
        return site.redis.go_on


class RefusingRedis(Fault):
    """Redis answers with an error to everything."""

    code, name, seconds = "13b", "Redis refuses", (0.5, 20.0)

    def begin(self, site: Site) -> Heal | None:
        redis = site.redis
        if redis.refusing:
            return None
        redis.refusing = self.random.choice(("LOADING", "OOM", "READONLY"))

        def heal() -> None:
            redis.refusing = ""

        return heal


class SqlDown(Fault):
    """The database is away, or hangs."""

    code, name, seconds = "14", "SQL down or hanging", (1.0, 60.0)

    def begin(self, site: Site) -> Heal | None:
        sql = self.world.sql
        if sql.down or sql.hanging:
            return None
        if self.random.random() < 0.5:
            sql.hang()
            return sql.go_on
        sql.stop()
        return sql.start


class JumpClock(Fault):
    """An instance's clock is set forward or back, by up to an hour."""

    code, name, seconds = "21a", "instance's clock jumps", (1.0, 30.0)

    def begin(self, site: Site) -> Heal | None:
        instance = self.instance(site)
        if instance is None:
            return None
        instance.set_clock(self.random.choice((-1, 1)) * self.random.choice((0.05, 2.0, 30.0, 3600.0)))
        return nothing


class JumpRedisClock(Fault):
    """The clock of Redis is set forward or back."""

    code, name, seconds, weight = "21b", "Redis's clock jumps", (1.0, 30.0), 0.5

    def begin(self, site: Site) -> Heal | None:
        site.redis.clock.jump(self.random.choice((-1, 1)) * self.random.choice((0.05, 2.0, 30.0)))
        return nothing


class Load(Fault):
    """Ten times the load."""

    code, name, seconds, weight = "23", "load x 10", (5.0, 30.0), 0.7

    def begin(self, site: Site) -> Heal | None:
        workload = self.workloads[site.moid]
        workload.factor = 10.0

        def heal() -> None:
            workload.factor = 1.0

        return heal


class RollingRestart(Fault):
    """An instance is stopped in order and started again."""

    code, name = "24", "orderly restart"

    def begin(self, site: Site) -> Heal | None:
        instance = self.instance(site)
        if instance is None:
            return None
        instance.stop_in_order()
        return nothing


class ClogLinks(Fault):
    """A random subset of links is clogged one by one, and cleared in random order."""

    code, name, seconds = "25", "links clogged", (1.0, 25.0)

    def begin(self, site: Site) -> Heal | None:
        wires = [wire for face in site.broker.faces for wire in (face.out, face.back)]
        links = [link for instance in site.running() for link in instance.links]
        ends: list[Heal] = []
        for wire in self.random.sample(wires, self.random.randint(1, max(1, len(wires) // 4))):
            wire.clog()
            ends.append(wire.clear)
        for link in self.random.sample(links, self.random.randint(0, len(links))):
            link.clog()
            ends.append(link.clear)

        def heal() -> None:
            self.random.shuffle(ends)
            for end in ends:
                end()

        return heal


class FlapLink(Fault):
    """Up to twenty times in a row the link of an instance or a peer breaks, and can't be had again for a while."""

    code, name, weight, seconds = "19a", "link flaps", 0.7, (60.0, 300.0)

    def begin(self, site: Site) -> Heal | None:
        running = site.running()
        if not running:
            return None
        faces = [face for face in site.broker.faces if face.process.alive]
        links = [link for instance in running for link in instance.links]
        ends: list[Face | ServerLink] = [*faces, *links]
        target = self.random.choice(ends)
        flaps = iter(range(self.random.randint(3, FLAPS)))
        healed = False

        def fall() -> None:
            if healed or next(flaps, None) is None:
                return
            if isinstance(target, ServerLink):
                target.lose("the network is gone")
            else:
                target.reset()
            target.clog()
            self.later(self.random.uniform(1.0, 30.0), rise)

        def rise() -> None:
            target.clear()
            if not healed:
                self.later(self.random.uniform(0.2, 10.0), fall)

        def heal() -> None:
            nonlocal healed
            healed = True
            target.clear()

        fall()
        return heal


class OneWay(Fault):
    """A process is heard and hears nothing, or hears and is not heard: of brokers, Redis and SQL alike."""

    code, name, seconds = "19b", "one-way partition", (1.0, 30.0)

    def begin(self, site: Site) -> Heal | None:
        instance = self.instance(site)
        if instance is None:
            return None
        outward, links = self.random.random() < 0.5, instance.links
        ends: list[Face | ServerLink] = [*instance.faces, *links]
        wires: list[Wire] = [each.out if outward else each.back for each in ends]
        for wire in wires:
            wire.clog()
        for link in links:
            link.watch_time()

        def heal() -> None:
            for wire in wires:
                wire.clear()

        return heal


FAULTS: tuple[type[Fault], ...] = (
    KillAtEvent,
    KillAtProbe,
    Freeze,
    Duplicate,
    ResetLink,
    RestartBroker,
    CancelConsumers,
    DeleteQueue,
    Block,
    LoseReplyQueue,
    Poison,
    KillRedis,
    LoseWrites,
    LoseAnswers,
    HangRedis,
    RefusingRedis,
    SqlDown,
    CrashMcu,
    MuteMcu,
    MoodyMcu,
    MoodyRms,
    RoomLost,
    CapacityGone,
    FlapLink,
    OneWay,
    JumpClock,
    JumpRedisClock,
    UserEndsRestore,
    Load,
    RollingRestart,
    ClogLinks,
    *BETWEEN_PLATFORMS,
)
