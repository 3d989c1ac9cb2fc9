"""A platform's surroundings at the start-up: a broker with a PMS of few words, Redis in memory, counted links."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from css.adapters.memory.bus import MemoryBroker, MemoryBus
from css.adapters.memory.ledger import MemoryLedger
from css.adapters.memory.planned import MemoryLocatorBook, MemoryPlanned
from css.adapters.memory.sql import MemoryDatabase
from css.adapters.memory.store import MemoryPlatformState, MemoryStore
from css.domain.platforms import Change, Platforms
from css.handlers import addresses as to
from css.handlers.dispatch import Dispatcher, Routes
from css.handlers.domains import DomainCache
from css.handlers.links import Links
from css.handlers.pms import PmsClient
from css.handlers.startup import Phase, Startup
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.handlers.watch import Pace, PlatformWatch, RoomList
from css.messages.pms import BrokerAddress, RedisAddress, SqlAddress
from css.ports.bus import Binding, Delivery, Handler, Outgoing, Queue, Topology
from css.ports.ledger import ILedger
from css.ports.planned import ILocatorBook, IPlannedConferences
from css.ports.store import IConferenceStore, IPlatformState

OWN, MAIN, BACKUP = "platform-a", "platform-b", "platform-c"
POLL_SECONDS, REFRESH_SECONDS, TIMEOUT_SECONDS = 5.0, 30.0, 2.0


class FakePms:
    """Answers what is asked, unless told otherwise. `answers` by (type, moid); a missing one is silence."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = broker.bus("pms")
        self.bus.declare(
            Topology(
                exchanges=("monitor.notify.ex",), queues=(Queue(f"monitor.req.q:{OWN}"), Queue("MAU.RPCPLATINFO.Q"))
            )
        )
        self.asked: list[tuple[str, str]] = []
        self.requests: list[Delivery] = []
        self.silent = False
        self.body: bytes | None = None
        """Answers everything with these bytes, if given."""
        self.reply_queue = ""
        """Instead of the one asked for."""
        self.echo = True
        """Whether the correlation id is sent back."""
        self.overtaking = ""
        """How MAIN is broadcast to be just before the next answer goes out, which knows nothing of it."""
        self.overtaking_room = ""
        """Which room is broadcast to be abnormal then."""
        self.state: dict[str, Any] = {
            "moid": OWN,
            "state": "normal",
            "main": [{"moid": MAIN, "state": "normal"}],
            "backup": [{"moid": BACKUP, "state": "normal"}],
        }
        self.configs: dict[str, dict[str, Any]] = {
            MAIN: {"moid": MAIN, "mq": [mq("10.0.1.1")]},
            BACKUP: {"moid": BACKUP, "mq": [mq("10.0.2.1")]},
            OWN: {
                "moid": OWN,
                "mq": [mq("10.0.0.1")],
                "redis": [redis(OWN, "10.0.0.2"), redis(MAIN, "10.0.0.3")],
                "mysql": {"ip": "10.0.0.4", "port": 3306, "db": "css"},
            },
        }
        self.bus.consume(f"monitor.req.q:{OWN}", self._asked)
        self.bus.start()

    async def _asked(self, delivery: Delivery) -> None:
        request = json.loads(delivery.body)
        self.asked.append((request["type"], request["moid"]))
        self.requests.append(delivery)
        if self.silent:
            return
        if self.body is not None:
            await self.reply(delivery, self.body)
            return
        if request["type"] == "PLATFORM_STATE_REQ":
            answer = self.state_notice()
        elif request["moid"] in self.configs:
            answer = {"type": "PLATFORM_CONFIG_NOTIFY", **self.configs[request["moid"]]}
        else:
            return
        if self.overtaking:
            self.states(main=self.overtaking)
            self.platform(MAIN, self.overtaking)
            self.overtaking = ""
        if self.overtaking_room:
            self.states(rooms=[{"moid": self.overtaking_room, "state": "abnormal"}])
            self.room(self.overtaking_room, "abnormal", seq=5)
            self.overtaking_room = ""
        await self.reply(delivery, json.dumps(answer).encode())

    def state_notice(self) -> dict[str, Any]:
        """How it says the platforms are."""
        return {"type": "PLATFORM_STATE_NOTIFY", **self.state}

    async def reply(self, request: Delivery, body: bytes) -> None:
        """Send any bytes as the answer."""
        correlation_id = request.correlation_id if self.echo else ""
        await self.bus.publish(Outgoing("", self.reply_queue or request.reply_to, body, "reply", correlation_id))

    def broadcast(self, key: str, **fields: Any) -> None:
        """Tell everybody."""
        _ = self.bus.publish(Outgoing("monitor.notify.ex", key, json.dumps(fields).encode(), "ntf"))

    def platform(self, moid: str, state: str, **fields: Any) -> None:
        self.broadcast("monitor.plamform.k", type="PLATFORM_STATE_NOTIFY", moid=moid, state=state, **fields)

    def room(self, roommoid: str, state: str, **fields: Any) -> None:
        self.broadcast(
            "monitor.server_room.k", type="SERVER_ROOM_STATE_NOTIFY", roommoid=roommoid, state=state, **fields
        )

    def states(self, own: str = "normal", main: str = "normal", **fields: Any) -> None:
        """What it answers from now on."""
        self.state |= {"state": own, "main": [{"moid": MAIN, "state": main}], **fields}


def mq(ip: str) -> dict[str, Any]:
    return {"ip": ip, "port": 5672, "vhost": "/"}


def redis(moid: str, ip: str) -> dict[str, Any]:
    return {"ip": ip, "port": 6379, "db": 0, "platformmoid": moid}


class FakeConnector:
    """Makes memory things; the data of a Redis are told by its address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.brokers: dict[str, MemoryBroker] = {}
        self.redis: dict[str, MemoryStore] = {}
        self.database = MemoryDatabase(clock.seconds)
        self.made: list[tuple[str, str]] = []
        self.dropped: list[str] = []

    def broker(self, ip: str) -> MemoryBroker:
        return self.brokers.setdefault(ip, MemoryBroker(self._clock))

    def store(self, ip: str, moid: str = "") -> MemoryStore:
        return self.redis.setdefault(ip, MemoryStore(moid, self._clock))

    def make_bus(self, moid: str, addresses: tuple[BrokerAddress, ...]) -> MemoryBus:
        self.made.append(("bus", addresses[0].ip))
        return self.broker(addresses[0].ip).bus(moid)

    def make_store(self, address: RedisAddress) -> MemoryStore:
        self.made.append(("store", address.ip))
        store = self.store(address.ip, address.platformmoid)
        store.platform = address.platformmoid
        return store

    def make_state(self, store: IConferenceStore) -> IPlatformState:
        assert isinstance(store, MemoryStore)
        return MemoryPlatformState(self._clock, store.server)

    def make_ledger(self, store: IConferenceStore) -> ILedger:
        assert isinstance(store, MemoryStore)
        ledger: ILedger = MemoryLedger(store.server)
        return ledger

    def make_planned(self, store: IConferenceStore) -> IPlannedConferences:
        assert isinstance(store, MemoryStore)
        planned: IPlannedConferences = MemoryPlanned(store.server)
        return planned

    def make_book(self, store: IConferenceStore) -> ILocatorBook:
        assert isinstance(store, MemoryStore)
        book: ILocatorBook = MemoryLocatorBook(store.server)
        return book

    def make_database(self, address: SqlAddress | None) -> MemoryDatabase:
        self.made.append(("sql", address.ip if address else ""))
        return self.database

    def drop_store(self, store: IConferenceStore) -> Awaitable[None]:
        self.dropped.append(store.platform)
        return succeed(None)


class PmsWorld:
    """One instance of CSS up to the point where it would serve; `phases` and `changes` are what it told."""

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.clock = Clock()
        self._timeout_seconds = timeout_seconds
        self.broker = MemoryBroker(self.clock)
        self.connector = FakeConnector(self.clock)
        self.own_redis = self.connector.store("10.0.0.2")
        self.main_redis = self.connector.store("10.0.0.3")
        self.pms = FakePms(self.broker)
        self.tally = Tally()
        self.tracker = Tracker()
        self.bus = self.broker.bus("css")
        self.bus.declare(Topology(queues=(Queue(to.PARK_QUEUE),)))
        self.links = Links(self.clock, OWN, self.connector, POLL_SECONDS, self.tracker)
        self.rooms = RoomList(lambda: self.links.state)
        self.client = PmsClient(self.clock, self.bus, OWN, "css-1", "run-1", timeout_seconds, POLL_SECONDS, self.tally)
        pace = Pace(POLL_SECONDS, REFRESH_SECONDS)
        self.watch = PlatformWatch(self.clock, OWN, self.bus, self.client, self.rooms, pace, self.tracker)
        self.domains = DomainCache(
            OWN,
            lambda: self.watch.platforms,
            self.links.stores,
            lambda: self.links.database,
            self.tracker,
            self.tally,
        )
        self.startup = Startup(
            self.clock,
            OWN,
            self.bus,
            self.client,
            self.watch,
            self.links,
            self.domains,
            self.tracker,
            self.dispatcher,
        )
        self.phases: list[Phase] = []
        self.changes: list[tuple[Platforms, Change]] = []
        self.startup.on_phase(self.phases.append)
        self.startup.on_change(lambda platforms, change: self.changes.append((platforms, change)))

    def dispatcher(self, routes: Routes) -> Handler:
        return Dispatcher(self.bus, routes, self.tally, lambda message: None, lambda step, point: None)

    def start(self) -> None:
        """Power on, and let everything happen that needs no waiting."""
        self.bus.start()
        self.startup.start()
        self.settle()

    def settle(self, seconds: float = 0.5) -> None:
        """Let time pass in small steps, each with the turns that a few messages need to arrive."""
        steps = max(1, round(seconds / 0.25))
        self.clock.pump(([0.25] + [0.0] * 60) * steps)

    def stop(self) -> None:
        """Power off; what is left in the clock then is a fault."""
        stopped = [Deferred.fromCoroutine(self.startup.stop())]
        self.settle(self._timeout_seconds + 1)
        stopped.append(Deferred.fromCoroutine(self.links.close()))
        self.settle()
        stopped += [self.bus.stop(), self.pms.bus.stop()]
        self.settle()
        assert all(each.called for each in stopped)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        self.pms.bus.declare(Topology((exchange,), (Queue(queue),), (Binding(queue, exchange, key),)))
