"""The world: platforms with their servers, instances and peers, built from one seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from css.adapters.memory.keys import conf_key, record_key
from css.adapters.memory.keyspace import Keyspace
from css.domain.conference import Conference, from_fields
from css.handlers import addresses as to
from css.peers.cm import CmPeer
from css.peers.cmu import CmuHost
from css.peers.inbox import Received
from css.peers.peer import Peer
from css.peers.pms import PmsPeer
from css.peers.receivers import MsPeer, NmsPeer
from css.peers.rms import Resources, RmsPeer
from css.peers.upu import UpuPeer
from css.ports.bus import IBus, Outgoing
from css.ports.sql import DomainRow
from css.ports.store import Commit, CommitResult, Fields, Outcome
from css.simulation.broker import Face, SimulatedBroker
from css.simulation.cipher import PlainBmc
from css.simulation.clock import Process, Timeline
from css.simulation.history import History
from css.simulation.instances import Instance
from css.simulation.servers import Loss, Observer, Redis, Sql

CMS = 2
"""CMs a platform; each has its own reply queue."""


LATELY_SECONDS = 120.0
"""For how long after a fault it may explain what CSS does."""
GRANT_SECONDS = (2.0, 15.0)
"""How long RMS keeps to one room."""


class Shape(msgspec.Struct, frozen=True):
    """What a world consists of."""

    platforms: tuple[str, ...] = ("A",)
    backs_up: dict[str, tuple[str, ...]] = {}
    """By platform, those that it backs up."""
    instances: int = 2
    hosts: int = 4
    old_hosts: int = 0
    """How many of the hosts know nothing of epochs."""
    licence: dict[str, int] = msgspec.field(default_factory=lambda: {"smallconfnum": 30, "largeconfnum": 8})
    small_licence: dict[str, int] = msgspec.field(default_factory=lambda: {"smallconfnum": 3, "largeconfnum": 2})
    """Of the user domain that has one."""
    restore_rate: float = 500.0
    """Restores a second, of a platform's instances together."""
    request_seconds: float = 1.2
    """Between two actions of a platform's users, on average."""
    fault_seconds: float = 6.0
    """Between two faults, on average."""
    timers: dict[str, float] = {}

    def backups_of(self, moid: str) -> tuple[str, ...]:
        """The platforms that back one up."""
        return tuple(other for other, backed in self.backs_up.items() if moid in backed)


def drawn_shape(seed: int, platforms: int = 1) -> Shape:
    """The shape of a seed's world: small or large, with old hosts or not, busy or quiet, harmed often or seldom.

    @param platforms: how many it has, 1 to 5; 0: the seed draws that, too.
    """
    random = Random(seed)
    if not platforms:
        # Not from the same source: with the number said the shape is the same.
        platforms = Random(f"{seed} platforms").choices((1, 2, 3, 4, 5), (8, 6, 3, 2, 1))[0]
    if platforms == 2:
        return _drawn_pair(random)
    if platforms > 2:
        return _drawn_many(random, "ABCDE"[:platforms])
    hosts = random.randint(1, 5)
    return Shape(
        instances=random.choice((1, 2, 2, 3)),
        hosts=hosts,
        old_hosts=random.choice((0, 0, hosts // 2)),
        restore_rate=random.choice((500.0, 4.0)),
        request_seconds=random.choice((1.2, 2.4, 4.8)),
        fault_seconds=random.choice((4.0, 8.0, 16.0)),
    )


def _drawn_pair(random: Random) -> Shape:
    """Two platforms; B backs A up, and in some worlds A backs B up as well."""
    hosts = random.randint(1, 3)
    return Shape(
        platforms=("A", "B"),
        backs_up={"B": ("A",), "A": ("B",)} if random.random() < 0.3 else {"B": ("A",)},
        instances=random.choice((1, 1, 2)),
        hosts=hosts,
        old_hosts=random.choice((0, 0, hosts // 2)),
        restore_rate=random.choice((500.0, 4.0)),
        request_seconds=random.choice((2.4, 4.8)),
        fault_seconds=random.choice((4.0, 8.0)),
    )


def _drawn_many(random: Random, moids: str) -> Shape:
    """Each platform has none, one or two others that back it up, in rings at times."""
    backs_up: dict[str, tuple[str, ...]] = {}
    for moid in moids:
        others = [other for other in moids if other != moid]
        for backup in sorted(random.sample(others, random.choice((0, 1, 1, 2)))):
            backs_up[backup] = (*backs_up.get(backup, ()), moid)
    hosts = random.randint(1, 2)
    return Shape(
        platforms=tuple(moids),
        backs_up=backs_up,
        hosts=hosts,
        instances=1,
        old_hosts=random.choice((0, 0, hosts // 2)),
        restore_rate=random.choice((500.0, 4.0)),
        request_seconds=random.choice((4.8, 9.6)),
        fault_seconds=random.choice((4.0, 8.0)),
    )


class Committed(msgspec.Struct):
    """A commit, as the store carried it out."""

    moid: str
    commit: Commit
    before: Fields
    """`confex/<e164>` before it."""
    result: CommitResult
    keys: Keyspace


class Violation(msgspec.Struct, frozen=True):
    """An invariant does not hold."""

    code: str
    text: str
    about: str = ""
    """The number that it is about, if it is about one."""


class Watcher:
    """What looks at the world as it goes on; all do nothing here."""

    def committed(self, commit: Committed) -> None:
        """A store has carried out, or refused, a commit."""

    def published(self, moid: str, message: Outgoing, routed: bool) -> None:
        """A platform's broker has taken a message; `routed`: there was a queue for it."""

    def drawn(self, moid: str, burst: int, places: int) -> None:
        """A platform's Redis has given places in the restore rate."""

    def received(self, peer: Peer, received: Received) -> None:
        """A peer has got a new message."""

    def lost(self, moid: str, queue: str, message: Outgoing) -> None:
        """A message was in a queue that was deleted."""

    def rolled_back(self, loss: Loss) -> None:
        """A platform's Redis has lost its last writes."""


class Site:
    """One platform: its servers, instances and peers, each peer with its own process and link."""

    def __init__(self, world: World, moid: str) -> None:
        self.world = world
        self.moid = moid
        self.rooms = (f"{moid}-room", f"{moid}-annex")
        self.lost_rooms: set[str] = set()
        """Rooms that are abnormal."""
        self.dark = False
        """Whether nobody starts its instances."""
        self.in_trouble = False
        """Whether a fault decides what the PMS says of it."""
        self._abnormal_at: dict[str, float] = {}
        """When it, or one of its rooms, was last said to be abnormal, or normal again."""
        self.broker = world.brokers[moid]
        self.redis = world.redis[moid]
        self.users = {name: f"{moid}-{name}" for name in ("free", "limited", "toggled", "stopped")}
        self.faces: dict[str, Face] = {}
        """The links of its peers, by their names."""
        mains = world.shape.backs_up.get(moid, ())
        self.backup_moids = backups = world.shape.backups_of(moid)
        make, random = self._bus, world.random
        self.cms = [CmPeer(*make(f"cm-{moid}-{n}"), random, f"{moid}-{n}") for n in range(1, CMS + 1)]
        self.rms = RmsPeer(*make(f"rms-{moid}"), random)
        configs = {each: world.config_of(each) for each in (moid, *mains, *backups)}
        self.pms = PmsPeer(*make(f"pms-{moid}"), random, moid, mains, backups, configs)
        self.bmc = PlainBmc(*make(f"bmc-{moid}"), random, b"")
        self.upu = UpuPeer(*make(f"upu-{moid}"), random)
        self.ms = MsPeer(*make(f"ms-{moid}"), random)
        self.nms = NmsPeer(*make(f"nms-{moid}"), random)
        ips = [f"10.{world.shape.platforms.index(moid)}.0.{n}" for n in range(1, world.shape.hosts + 1)]
        old = ips[: world.shape.old_hosts]
        self.hosts = {
            ip: CmuHost(*make(f"cmu-{ip}"), random, ip, self.rooms[n % len(self.rooms)], knows_epochs=ip not in old)
            for n, ip in enumerate(ips)
        }
        self.bmc.licences.update({each: dict(world.shape.licence) for each in (moid, *mains)})
        self._domains()
        self.instances: list[Instance] = []

    def peers(self) -> list[Peer]:
        """All of them, processes of MCU hosts left out."""
        return [*self.cms, self.rms, self.pms, self.bmc, self.upu, self.ms, self.nms, *self.hosts.values()]

    def start(self) -> None:
        """Begin: peers, then instances."""
        for peer in self.peers():
            peer.inbox.listen(lambda received, peer=peer: self.world.received(peer, received))  # type: ignore[misc]
            peer.bus.start()
            peer.start()
        self._grant()
        self.instances += [
            Instance(self.world, self.moid, f"{self.moid}-css-{n}") for n in range(1, self.world.shape.instances + 1)
        ]

    def running(self) -> list[Instance]:
        """Instances that are neither dead nor stopping."""
        return [instance for instance in self.instances if instance.running]

    def conferences(self) -> list[Conference]:
        """What its Redis holds, by number."""
        keys = self.redis.store.server.keyspace
        numbers = sorted(key.partition("/")[2] for key in keys.keys_with("confex/"))
        return [from_fields(e164, keys.hash(record_key(e164)), keys.hash(conf_key(e164))) for e164 in numbers]

    def situations(self) -> list[str]:
        """The situations in which any conference is."""
        return sorted({conference.situation.value for conference in self.conferences()})

    def dead_queues(self) -> list[str]:
        """Queues of MCU processes that are no more: nobody will ever empty them."""
        alive = [to.mcu_queue(ip, pid) for ip, host in self.hosts.items() for pid in host.processes]
        hosts = [to.mcu_host_queue(ip) for ip in self.hosts]
        mcus = [name for name in self.broker.queue_names() if name.startswith(to.mcu_host_queue(""))]
        return [name for name in mcus if name not in (*alive, *hosts)]

    def set_used(self, moid: str, used: int) -> None:
        """The BMC stops a user domain, or lets it go on: its row first, then the notice."""
        rows = self.world.sql.database.domain_rows
        rows[moid] = msgspec.structs.replace(rows[moid], used=used)
        self.bmc.send_domain("mod", moid, used=used)

    @property
    def backups(self) -> list[Site]:
        """The platforms that back this one up."""
        return [self.world.sites[moid] for moid in self.backup_moids]

    def hear(self, moid: str, state: str, aloud: bool = True) -> None:
        """The PMS says here how a platform is. @param aloud: with a broadcast; else who asks is told so."""
        if self.pms.state_of(moid) == state:
            return
        self.world.sites[moid]._abnormal_at[moid] = self.world.timeline.now
        self.world.history.note("pms", f"{self.moid} hears {moid} {state} {'' if aloud else 'if it asks'}")
        if aloud:
            self.pms.broadcast_platform(moid, state)
        else:
            self.pms.set_state(moid, state)

    @property
    def troubled_lately(self) -> bool:
        """Whether the PMS says, or said within the last two minutes, anywhere that it is abnormal."""
        hearers = (self, *self.backups)
        # Whoever can't publish can't ask the PMS, and believes what it heard last.
        seconds = LATELY_SECONDS * (2 if any(each.broker.blocked for each in hearers) else 1)
        return self._lately(self.moid, seconds) or any(each.pms.state_of(self.moid) == "abnormal" for each in hearers)

    @property
    def rooms_lost_lately(self) -> list[str]:
        """Its rooms that are abnormal, or were so within the last two minutes."""
        return [room for room in self.rooms if room in self.lost_rooms or self._lately(room)]

    def _lately(self, name: str, seconds: float = LATELY_SECONDS) -> bool:
        return self.world.timeline.now - self._abnormal_at.get(name, -seconds) < seconds

    def lose_room(self, room: str) -> None:
        """The PMS says that a room is abnormal; RMS may give it for a while yet."""
        self.lost_rooms.add(room)
        self._abnormal_at[room] = self.world.timeline.now
        self.pms.broadcast_room(room, "abnormal")

    def regain_room(self, room: str) -> None:
        """The room is normal again."""
        self.lost_rooms.discard(room)
        self._abnormal_at[room] = self.world.timeline.now
        self.pms.broadcast_room(room, "normal")

    def _grant(self) -> None:
        """RMS gives the hosts of one room, now and then of another; none, if no room with hosts is normal."""
        random = self.world.random
        by_room = {room: [ip for ip, host in self.hosts.items() if host.roommoid == room] for room in self.rooms}
        usable = [room for room, ips in by_room.items() if ips and room not in self.lost_rooms]
        if usable:
            room = random.choice(usable)
            self.rms.answer("", Resources(room, by_room[room]))
        else:
            self.rms.refuse("", "NO_RESOURCE")
        self.world.timeline.at(self.world.timeline.now + random.uniform(*GRANT_SECONDS), self._grant)

    def _bus(self, name: str) -> tuple[IBus, Process]:
        process = Process(self.world.timeline, self.world.random, name)
        face = self.faces[name] = self.broker.face(process)
        bus: IBus = face.bus(name)
        return bus, process

    def _domains(self) -> None:
        rows = self.world.sql.database.domain_rows
        rows[self.moid] = DomainRow(self.moid, 1)
        for name, moid in self.users.items():
            rows[moid] = DomainRow(moid, 0, self.moid, used=int(name != "stopped"))
        numbers = {name: str(number) for name, number in self.world.shape.small_licence.items()}
        self.redis.store.server.keyspace.update_hash(f"domain/{self.users['limited']}/license", numbers)


class World:
    """Everything, and the order in which it happens."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self.seed = seed
        self.shape = shape
        self.random = Random(seed)
        self.timeline = Timeline()
        self.history = History(self.timeline)
        self.faulty = True
        """Whether faults happen; False from the heal on."""
        self.harms = 0
        """How many faults there are now that keep CSS itself from working: its instances, links, servers."""
        self._harmed_until = 0.0
        self.bereft: set[str] = set()
        """Numbers of which a Redis has ever lost a commit that it had acknowledged."""
        self.watchers: list[Watcher] = []
        self.violations: list[Violation] = []
        self.brokers = {moid: SimulatedBroker(self.timeline, self.random, moid) for moid in shape.platforms}
        self.redis = {moid: Redis(self.timeline, self.random, moid) for moid in shape.platforms}
        self.sql = Sql(self.timeline, self.random)
        for moid in shape.platforms:
            self._watch(moid)
        self.sites = {moid: Site(self, moid) for moid in shape.platforms}

    def start(self) -> None:
        """Begin."""
        for site in self.sites.values():
            site.start()

    def harmed(self, seconds: float) -> None:
        """Until in so many seconds CSS may be busy with the consequences of a fault."""
        self._harmed_until = max(self._harmed_until, self.timeline.now + seconds)

    def calm_since(self, when: float) -> bool:
        """Whether nothing has kept CSS from working since some time: then it owes what it does to be prompt."""
        return not self.harms and self._harmed_until <= when and all(each.running for each in self.instances())

    def instances(self) -> list[Instance]:
        """Every instance, dead ones included."""
        return [instance for site in self.sites.values() for instance in site.instances]

    def conferences(self) -> list[Conference]:
        """What all Redis hold."""
        return [c for site in self.sites.values() for c in site.conferences()]

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        until = self.timeline.now + seconds
        step = self.timeline.step
        while not self.violations and step(until):
            pass

    def violate(self, code: str, text: str, about: str = "") -> None:
        """An invariant does not hold: the world stops."""
        self.history.remark(f"VIOLATION {code}: {text}")
        self.violations.append(Violation(code, text, about))

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until something holds, looked at each second. @return: whether it came to hold in time."""
        for _ in range(round(seconds)):
            if self.violations or condition():
                return True
            self.run(1.0)
        return condition()

    def config_of(self, moid: str) -> dict[str, Any]:
        """What the PMS tells of a platform's servers."""
        known = (moid, *self.shape.backs_up.get(moid, ()))
        return {
            "mq": [{"ip": "simulated", "port": 1, "vhost": moid}],
            "redis": [{"ip": "simulated", "port": 1, "db": 0, "platformmoid": each} for each in known],
            "mysql": {"ip": "simulated", "port": 1, "db": "css"},
        }

    def received(self, peer: Peer, received: Received) -> None:
        """A peer has got a new message."""
        for watcher in self.watchers:
            watcher.received(peer, received)

    def has_lost(self, loss: Loss) -> None:
        """A platform's Redis has lost its last writes."""
        self.bereft |= loss.numbers
        self.history.note("rollback", f"{loss.moid} {self.timeline.now - loss.since:.3f} s {sorted(loss.numbers)}")
        for watcher in self.watchers:
            watcher.rolled_back(loss)

    def _watch(self, moid: str) -> None:
        broker, redis = self.brokers[moid], self.redis[moid]
        keys = redis.store.server.keyspace
        history, watchers = self.history, self.watchers

        def observe(name: str, arguments: tuple[Any, ...], execute: Callable[[], Any]) -> Any:
            commit: Commit = arguments[0]
            before = keys.hash(record_key(commit.e164))
            result = execute()
            history.note("commit", f"{moid} {commit.e164} {result.outcome.value} {_change(commit)}")
            if redis.kept is not None and result.outcome is Outcome.DONE:
                redis.kept.add(commit)
            committed = Committed(moid, commit, before, result, keys)
            for watcher in watchers:
                watcher.committed(committed)
            return result

        def published(message: Outgoing, routed: bool) -> None:
            where = message.exchange or message.routing_key
            history.note("publish", f"{moid} {where} {message.message_id} {'' if routed else 'unroutable'}")
            for watcher in watchers:
                watcher.published(moid, message, routed)

        def lost(queue: str, message: Outgoing) -> None:
            history.note("lost", f"{moid} {queue} {message.message_id}")
            for watcher in watchers:
                watcher.lost(moid, queue, message)

        redis.observe, broker.on_published, broker.on_lost = observe, published, lost
        redis.observe_state = self._observer_of_draws(moid)

    def _observer_of_draws(self, moid: str) -> Observer:
        def observe(name: str, arguments: tuple[Any, ...], execute: Callable[[], Any]) -> Any:
            result = execute()
            self.history.note("draw", f"{moid} {result}")
            for watcher in self.watchers:
                watcher.drawn(moid, arguments[2], result)
            return result

        return observe


def _change(commit: Commit) -> str:
    if not commit.touch_record:
        return f"effects {len(commit.outbox)}"
    if commit.delete_record:
        return "ended"
    return (
        f"{commit.set_fields.get('state', '')} {commit.set_fields.get('epoch', '')} {commit.set_fields.get('ip', '')}"
    )
