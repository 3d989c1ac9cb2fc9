"""One platform, pA, with its broker, stores and SQL in memory, and instances of CSS's handlers on it.

Nothing is delivered by itself: a test hands each message to the instance that it wants to have it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.bus import MemoryBroker, MemoryBus
from css.adapters.memory.ledger import MemoryLedger
from css.adapters.memory.planned import MemoryLocatorBook
from css.adapters.memory.server import MemoryServer
from css.adapters.memory.sql import MemoryDatabase
from css.adapters.memory.store import MemoryPlatformState, MemoryStore
from css.domain.epochs import EpochSource
from css.domain.events import Rules
from css.domain.platforms import Known, Platforms, PlatformState
from css.handlers import addresses as to
from css.handlers.carriers import BatchCarrier, RowWriter
from css.handlers.clocks import StoreClocks
from css.handlers.control import Control
from css.handlers.create import Creating
from css.handlers.delay import Delaying
from css.handlers.dispatch import Dispatcher, merge
from css.handlers.doubtful import Doubtful
from css.handlers.due import DueWork
from css.handlers.duty import Doubts, Duty
from css.handlers.effects import Composer
from css.handlers.following import Following
from css.handlers.forwarding import Forwarding
from css.handlers.letters import LEDGER_LANE, LOAD_LANE, SQL_LANE, TAKE_LANE
from css.handlers.liveness import Liveness
from css.handlers.lookup import Lookup
from css.handlers.mcu import McuAnswers
from css.handlers.offduty import LegacyNumbers, OffDuty
from css.handlers.outbox import Outbox, Post
from css.handlers.passing import PassedRequests
from css.handlers.placing import Placing
from css.handlers.release import Releasing
from css.handlers.requests import Answers
from css.handlers.restoring import Restoring
from css.handlers.steps import Steps
from css.handlers.strangers import Strangers
from css.handlers.sync import Syncing
from css.handlers.takeover import Takeover
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.handlers.trails import Trails
from css.ports.bus import Binding, Delivery, Outgoing, Queue, Topology
from css.ports.ledger import ILedger
from css.ports.planned import ILocatorBook
from css.ports.store import IConferenceStore, IPlatformState, StoreError
from css.timers.restore import RestoreTimer
from css.timers.sweep import OutboxSweep
from css.timers.watch import McuWatch, RoomWatch
from tests.handlers.directory import FakeDomains
from tests.handlers.reporting import make_reports
from tests.handlers.templating import make_templates
from tests.handlers.watching import make_monitoring

NOW = 1_800_000_000
LEASE_MS = 10_000
RMS, LOCATOR, BILLING = "RMS.RES.Q", "UPU.CONF.Q", "BMC.BILL.Q"
CM_NOTICES, CM_REPLIES, PARKED = "meeting.mccntf.q", "cm.reply.q", to.PARK_QUEUE
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")

_PEERS = {RMS: to.TO_RMS, LOCATOR: to.TO_LOCATOR, BILLING: to.TO_BILLING, CM_NOTICES: to.TO_CM_NOTICE}


class Site:
    """What all instances share."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.broker = MemoryBroker(self.clock, Random(1))
        self.other_broker = MemoryBroker(self.clock, Random(2))
        server = MemoryServer(self.clock)
        self.store = MemoryStore("pA", self.clock, server)
        self.other = MemoryStore("pB", self.clock)
        self.stores: dict[str, IConferenceStore] = {"pB": self.other, "pA": self.store}
        self.state: IPlatformState = MemoryPlatformState(self.clock, server)
        self.ledger: ILedger = MemoryLedger(server)
        self.book: ILocatorBook = MemoryLocatorBook(server)
        self.database: MemoryDatabase | None = MemoryDatabase(self.clock.seconds)
        self.domains = FakeDomains({"uA": "pA", "uB": "pB", "uC": "pC"})
        self.platforms = Platforms("pA", ("pB",), (), {})
        self.set_states(pA="normal", pB="abnormal")
        self._peers = self.connected_bus(self.broker)
        self.declare(CM_REPLIES, *(f"cmu.conf.q:{ip}" for ip in HOSTS), *(f"cmu.conf.q:{ip}:11" for ip in HOSTS))
        self._peers.declare(to.OWN_TOPOLOGY)
        for queue, (exchange, key) in _PEERS.items():
            self._peers.declare(Topology((exchange,), (Queue(queue),), (Binding(queue, exchange, key),)))
        for platform, store in (("pA", self.store), ("pB", self.other)):
            done(store.write_hashes({f"domain/{platform}/license": {"license": "x"}}))
        self.clock.advance(0)

    def declare(self, *queues: str) -> None:
        """Have queues that are reached by their names."""
        self._peers.declare(Topology(queues=tuple(Queue(name) for name in queues)))
        self.clock.advance(0)

    def bind(self, queue: str) -> None:
        """Bind a receiver's queue, which was away, again."""
        self._peers.declare(Topology(bindings=(Binding(queue, *_PEERS[queue]),)))
        self.clock.advance(0)

    def set_states(self, **states: str) -> None:
        """What the PMS says now."""
        known = {moid: Known(PlatformState(state)) for moid, state in states.items()}
        self.platforms = Platforms("pA", ("pB",), (), known, True)

    def connected_bus(self, broker: MemoryBroker) -> MemoryBus:
        """A new link to a broker."""
        bus = broker.bus("test", confirm_timeout_seconds=5.0)
        bus.start()
        self.clock.advance(0)
        return bus

    def letters(self, queue: str) -> list[Outgoing]:
        """What is in a queue."""
        return self.broker.messages(queue)

    def bodies(self, queue: str) -> list[dict[str, Any]]:
        """What is in a queue, decoded."""
        return [json.loads(each.body) for each in self.broker.messages(queue)]

    def record(self, e164: str, store: MemoryStore | None = None) -> dict[str, str]:
        """`confex/<e164>`; empty if there is none."""
        fields: dict[str, str] = (store or self.store).dump().get(f"confex/{e164}", {})
        return fields

    def outbox(self, store: MemoryStore | None = None) -> dict[str, list[str]]:
        """Marks of what waits, by `<lane>/<e164>`."""
        prefix = "css/out/pA/"
        dump = (store or self.store).dump()
        return {key[len(prefix) :]: sorted(value) for key, value in dump.items() if key.startswith(prefix)}

    def pass_seconds(self, seconds: float, step: float = 0.1) -> None:
        """Time goes by in small steps, as a reactor would have it."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)


class Instance:
    """The handlers of one process, put together as the service does."""

    def __init__(self, site: Site, slot: int = 1, seed: int = 7, **rules: int) -> None:
        self.site = site
        self.points: list[tuple[str, str]] = []
        self.on_point: Callable[[str, str], None] = lambda step, point: None
        self.tally, self.tracker = Tally(), Tracker()
        self.bus = site.connected_bus(site.broker)
        self.other_bus = site.connected_bus(site.other_broker)
        self.clocks = StoreClocks(site.clock)
        self.epochs = EpochSource(slot)
        self.post = Post(site.clock, self.clocks, self.bus, {"pB": self.other_bus}, self.tally, 60_000)
        self.outbox = Outbox("pA", self.clocks, self.post, self.tracker, LEASE_MS)
        self.rows = RowWriter(lambda: site.database, self.outbox, self.tracker, self.tally)
        self._make_carriers()
        self.liveness = Liveness("pA", lambda: site.state, self.clocks, 15_000)
        self.placing = Placing(
            "pA",
            lambda: site.platforms,
            lambda: site.state,
            self.clocks,
            self.epochs,
            Random(seed),
            self.tracker,
            self.liveness.silent_before_ms,
            60_000,
            30,
        )
        composer = Composer("pA", lambda: site.platforms)
        self.steps = Steps(Rules(**rules), self.clocks, composer, self.outbox, self.tally, self.probe)
        self.duty = Duty("pA", lambda: site.platforms, lambda: site.state, self.clocks, 20_000)
        self.doubts = Doubts("pA", self.duty, lambda: site.ledger, self.epochs)
        self.steps.may_write = lambda: self.duty.on
        done(self.duty.tick())
        self.lookup = Lookup("pA", lambda: site.platforms, site.stores, self.tally)
        self.answers = Answers("pA", site.stores, self.clocks, self.outbox, self.post, self.tally)
        peers = {"pB": self.other_bus}
        trails = Trails("pA", site.stores, peers)
        around = (site.stores, self.clocks, self.bus, peers, self.answers, trails, self.tally)
        self.doubtful = Doubtful("pA", *around, f"session-{slot}", self.probe)
        self.forwarding = Forwarding("pA", peers, self.tally, trails, self.doubtful, self.probe)
        self.following = Following("pA", site.stores, trails, self.answers, self.forwarding, self.doubtful)
        self.creating = Creating(
            "pA",
            lambda: site.platforms,
            site.stores,
            site.domains,  # type: ignore[arg-type]  # a directory that the test changes by hand
            self.clocks,
            self.epochs,
            self.steps,
            self.answers,
            self.following,
            self.placing,
            self.tally,
        )
        asked = ("pA", lambda: site.platforms, site.stores, self.lookup, self.steps, self.answers)
        self.releasing = Releasing(*asked, self.forwarding, self.following)
        self.delaying = Delaying(*asked, self.following)
        self.templates = make_templates(self)
        self.mcus = McuAnswers(
            "pA",
            site.stores,
            self.lookup,
            self.steps,
            self.placing,
            self.liveness,
            self.doubts,
            self.tracker,
            self.tally,
        )
        self.post.on_silence.append(self.mcus.silent_at_once)
        self._make_control(f"session-{slot}")
        self._make_recovery()
        routes = merge(
            self.creating.routes,
            self.releasing.routes,
            self.delaying.routes,
            self.templates.routes,
            self.mcus.routes,
            self.syncing.routes,
            self.control.routes,
            self.monitoring.routes,
        )
        self.locator, self.planned = make_reports(self, f"session-{slot}")
        self.duty.on_suspended(self.locator.suspended)
        self.legacy = LegacyNumbers("pA", site.stores)
        routes = OffDuty("pA", self.duty, self.legacy, self.clocks, self.post, self.tally).guarded(routes)
        self.dispatcher = Dispatcher(
            self.bus, routes, self.tally, self.liveness.notice, self.probe, {"pB": self.other_bus}
        )
        self.due = DueWork("due/pA", site.stores.values, self.mcus.overdue, self.tally)
        self.sweep = OutboxSweep(
            site.clock, "pA", lambda: site.platforms, site.stores, self.outbox, self.post, self.tally, LEASE_MS
        )

    def _make_carriers(self) -> None:
        site = self.site
        rest = (self.outbox, self.tracker)
        self.freer = BatchCarrier(LOAD_LANE, lambda parcel: parcel.bookings, site.state.unbook, *rest)
        self.taker = BatchCarrier(
            TAKE_LANE, lambda parcel: parcel.bookings, lambda taken: site.state.rebook(taken, 60_000), *rest
        )
        self.writer = BatchCarrier(LEDGER_LANE, lambda parcel: parcel.steps, site.ledger.note, *rest)
        self.outbox.carriers[SQL_LANE] = self.rows.carry
        self.outbox.carriers.update({each.lane: each.carry for each in (self.freer, self.taker, self.writer)})

    def _make_control(self, session: str) -> None:
        own = lambda: self.site.stores.get("pA")  # noqa: E731
        self.passed = PassedRequests(
            "pA",
            own,
            self.clocks,
            self.outbox,
            self.answers,
            self.tracker,
            self.tally,
            5_000,
            session,
            self.probe,
        )
        self.post.on_silence.append(self.passed.silent_at_once)
        self.control = Control(
            "pA",
            lambda: self.site.platforms,
            own,
            self.clocks,
            self.lookup,
            self.answers,
            self.passed,
            self.forwarding,
            self.following,
            self.outbox,
            self.post,
            self.tally,
            session,
        )
        self.monitoring, self.monitors = make_monitoring(self)

    def _make_recovery(self) -> None:
        site, state = self.site, lambda: self.site.state
        self.restoring = Restoring(
            "pA", site.stores, lambda: site.ledger, self.clocks, self.epochs, self.steps, self.mcus.overdue, self.tally
        )
        self.strangers = Strangers(
            "pA",
            site.stores,
            state,
            self.lookup,
            lambda: site.database,
            self.clocks,
            self.epochs,
            self.steps,
            self.post,
            self.tally,
            15_000,
            lambda: True,
        )
        self.syncing = Syncing(
            "pA",
            lambda: site.platforms,
            site.stores,
            state,
            self.epochs,
            self.steps,
            self.restoring,
            self.strangers,
            self.doubts,
            self.post,
            self.tally,
            self.liveness.flush,
            15_000,
        )
        self.mcu_watch = McuWatch(state, self.liveness, self.restoring, self.tally, 15_000)
        self.room_watch = RoomWatch(state, self.restoring)
        self.restores = self.restore_timer(0.0)
        self.takeover = Takeover(
            "pA",
            lambda: site.platforms,
            site.stores,
            lambda: site.ledger,
            self.clocks,
            self.steps,
            self.restoring,
            self.restores.tick,
            self.tally,
        )

    def restore_timer(self, rate_per_second: float) -> RestoreTimer:
        """A restore timer of its own pace."""
        site = self.site
        return RestoreTimer(lambda: site.platforms, site.stores, lambda: site.state, self.restoring, rate_per_second)

    def probe(self, step: str, point: str) -> None:
        """Note the point, and let the test do something there."""
        self.points.append((step, point))
        self.on_point(step, point)

    def begin(self, body: dict[str, Any] | bytes, queue: str = to.CM_QUEUE, **delivery: Any) -> Deferred[None]:
        """Hand a message over. @return: fires when it would be acknowledged, fails when it would be given back."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        handled = Deferred.fromCoroutine(self.dispatcher(Delivery(queue, raw, **delivery)))
        self.site.clock.advance(0)
        return handled

    def take(self, body: dict[str, Any] | bytes, queue: str = to.CM_QUEUE, **delivery: Any) -> None:
        """Hand a message over; it must be acknowledged at once."""
        done(self.begin(body, queue, **delivery))

    def run(self, work: Any) -> Any:
        """Run a coroutine that ends without time going by. @return: what it returns."""
        return done(self.run_to_its_end(work))

    def run_to_its_end(self, work: Any) -> Deferred[Any]:
        """Run a coroutine that may fail. @return: what comes of it."""
        deferred = Deferred.fromCoroutine(work)
        self.site.clock.advance(0)
        return deferred

    def round(self) -> None:
        """What the conference timers do, as long as the platform is on duty."""
        recovery = (self.mcu_watch.tick, self.room_watch.tick, self.takeover.tick, self.takeover.watch_others)
        for work in (self.due.tick, *recovery, self.restores.tick):
            self.run(self.duty.while_on(work)())

    def tick(self) -> None:
        """What the timers do ten times a second."""
        self.rows.tick()
        for carrier in (self.taker, self.freer, self.writer):
            carrier.tick()
        self.run(self.outbox.flush(self.site.stores))


def done(work: Any) -> Any:
    """The result of what must have ended."""
    deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
    return SynchronousTestCase().successResultOf(deferred)


def create(e164: str = "0755001", **more: Any) -> dict[str, Any]:
    """A CM's create request."""
    fields = {"confE164": e164, "confname": "晨会", "moid": "uA", "mtreqid": "m-1", "duration": 60}
    return {"type": "CM_MAU_CREATECONF_REQ"} | fields | more


def release(e164: str = "0755001", **more: Any) -> dict[str, Any]:
    """A CM's release request."""
    return {"type": "CM_MAU_RELEASECONF_REQ", "confE164": e164, "mtreqid": "m-2"} | more


def resources(*ips: str, **more: Any) -> dict[str, Any]:
    """RMS's answer; without hosts all three."""
    mcu = [{"ip": ip} for ip in ips or HOSTS]
    return {"type": "GET_RES_ACK", "roommoid": "room-0", "mcu": mcu, "vrs": [], "mps": []} | more


class SiteCase(SynchronousTestCase):
    """A site and an instance; how a create is brought to each of its stages."""

    def setUp(self) -> None:
        self.site = Site()
        self.css = Instance(self.site)

    def an_hour_ahead(self) -> Instance:
        """@return: an instance that was just started, on a machine whose clock is an hour ahead of Redis's."""
        now_ms = self.site.store.server.keyspace.now_ms
        self.patch(self.site.store.server.keyspace, "now_ms", lambda: now_ms() - 3_600_000)
        return Instance(self.site, slot=2)

    def ask(self, css: Instance | None = None, e164: str = "0755001", **more: Any) -> str:
        """A CM asks for a conference. @return: the correlation id under which RMS is asked."""
        (css or self.css).take(
            create(e164, **more), message_id=f"create-{e164}", reply_to=CM_REPLIES, correlation_id=f"c-{e164}"
        )
        return self.site.letters(RMS)[-1].correlation_id

    def give(self, correlation_id: str, *ips: str, css: Instance | None = None, **more: Any) -> dict[str, Any]:
        """RMS answers. @return: the request to the host that was chosen."""
        (css or self.css).take(resources(*ips, **more), to.RMS_REPLY_QUEUE, correlation_id=correlation_id)
        return self.asked(correlation_id.split("/")[1])[-1]

    def asked(self, e164: str) -> list[dict[str, Any]]:
        """All requests about a number to hosts, by epoch."""
        found = [body for ip in HOSTS for body in self.site.bodies(f"cmu.conf.q:{ip}") if body["confE164"] == e164]
        return sorted(found, key=lambda body: int(body["epoch"]))

    def accept(self, request: dict[str, Any], css: Instance | None = None, **more: Any) -> None:
        """The host's process 11 answers with an ACK."""
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        (css or self.css).take(body | more, to.MCU_QUEUE, correlation_id=token(request))

    def refuse(self, request: dict[str, Any], css: Instance | None = None, **more: Any) -> None:
        """The host answers with a NACK."""
        body = {"type": "MCU_MAU_CREATECONF_NACK", "errcode": "FULL"}
        body |= {k: request[k] for k in ("confE164", "ip", "epoch")} | more
        (css or self.css).take(body, to.MCU_QUEUE, correlation_id=token(request))

    def ended(self, request: dict[str, Any], css: Instance | None = None, **more: Any) -> None:
        """The host's process 11 says that the conference is over."""
        body = {"type": "MCU_MAU_RELEASECONF_NTF", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        (css or self.css).take(body | more, to.MCU_QUEUE)

    def run_one(self, e164: str = "0755001", **more: Any) -> dict[str, Any]:
        """Bring a conference to `ongoing`. @return: the request to its host."""
        request = self.give(self.ask(e164=e164, **more))
        self.accept(request)
        return request

    def answers(self) -> list[dict[str, Any]]:
        """What the CM got at its reply queue."""
        return self.site.bodies(CM_REPLIES)

    def fails(self, work: Any) -> None:
        """Run a coroutine that must fail with `StoreError` before much time has gone by."""
        deferred = Deferred.fromCoroutine(work)
        self.site.pass_seconds(0.2)
        self.failureResultOf(deferred, StoreError)

    def lists(self, ip: str, *entries: dict[str, Any], css: Instance | None = None, **more: Any) -> None:
        """A process of a host, 11 unless told, sends its list."""
        body = {"type": "MCU_MAU_CONFLIST_NTF", "ip": ip, "pid": "11", "roommoid": "room-0"}
        (css or self.css).take(body | {"confdatainfo": list(entries)} | more, to.MCU_QUEUE)

    def entry(self, request: dict[str, Any], **more: Any) -> dict[str, Any]:
        """How an MCU that knows epochs lists what it was asked for."""
        now = int(self.site.clock.seconds())
        return {"confE164": request["confE164"], "createtime": now, "epoch": request["epoch"]} | more

    def state_of(self, e164: str = "0755001") -> str:
        """`state` of a record; empty if there is none."""
        return self.site.record(e164).get("state", "")

    def loads(self) -> dict[str, int]:
        """Booked places by host, those without left out."""
        loads: dict[str, int] = done(self.site.state.loads(HOSTS))
        return {ip: load for ip, load in loads.items() if load}

    def errcodes(self) -> list[str]:
        """Error codes of the answers that the CM got."""
        return [body.get("errcode", "") for body in self.answers()]


def token(request: dict[str, Any]) -> str:
    """The correlation id of a request to a host (all of platform pA's own conferences)."""
    return f"pA/{request['confE164']}/{request['epoch']}"
