"""Where scenarios happen: one or more platforms with all their peers, on memory adapters or on real servers.

The same scenario runs on both grounds, with the same real service tree. Timers are short; time is the reactor's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pika
from pika.exceptions import ChannelClosedByBroker
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.adapters.crypto.fernet import FernetCipher
from css.adapters.memory.bus import MemoryBroker, MemoryBus
from css.adapters.memory.ledger import MemoryLedger
from css.adapters.memory.planned import MemoryLocatorBook, MemoryPlanned, MemoryPlanner
from css.adapters.memory.sql import MemoryDatabase
from css.adapters.memory.store import MemoryPlatformState, MemoryStore
from css.adapters.pending import PendingPublishes
from css.adapters.redis.planned import RedisPlanner
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore, connect
from css.adapters.sql.database import SqlDatabase
from css.adapters.sql.engine import SqlSettings
from css.config import Settings, parse
from css.connections import ServerConnector
from css.messages.pms import BrokerAddress, RedisAddress, SqlAddress
from css.peers.planner import Planner
from css.peers.platform import PlatformPeers
from css.ports.bus import IBus
from css.ports.ledger import ILedger
from css.ports.planned import ILocatorBook, IPlannedConferences
from css.ports.sql import IConferenceDatabase
from css.ports.store import IConferenceStore, IPlatformState
from css.probe import no_probe
from css.service import CssService
from tests.servers import servers

KEY = b"sTPgkSXUrV7HqbsJgkkqhAeWgk0X0a2yRDT-wW7pQAc="
"""A Fernet key that only the tests use."""

reactor: Any = global_reactor
SERVED_SECONDS = 60.0

TIMERS = {
    "state_poll_seconds": 0.3,
    "state_refresh_seconds": 1.0,
    "request_timeout_seconds": 0.8,
    "creating_timeout_seconds": 3.0,
    "mcu_timeout_seconds": 6.0,
    "sync_grace_seconds": 7.0,
    "unroutable_seconds": 2.0,
    "outbox_lease_seconds": 1.0,
    "mcu_penalty_seconds": 2.0,
}


def settings_text(moid: str, instance: str, amqp_url: str, more: str = "", **timers: float) -> str:
    """A configuration for tests."""
    lines = [f"{name} = {float(value)}" for name, value in {**TIMERS, **timers}.items()]
    return "\n".join(
        [
            f'[platform]\nmoid = "{moid}"',
            f'[instance]\nname = "{instance}"',
            f'[amqp]\nurl = "{amqp_url}"\nuser = "guest"\npassword = "guest"',
            "[timers]",
            *lines,
            more,
        ]
    )


async def until(condition: Callable[[], Any], seconds: float = 40.0, what: str = "") -> None:
    """Wait until something holds; fail with `what` if it does not in time."""
    give_up_at = reactor.seconds() + seconds
    while not condition():
        if reactor.seconds() > give_up_at:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        await deferLater(reactor, 0.02)


class Site:
    """One platform: its broker, its stores, its peers, its instances."""

    def __init__(self, moid: str, peers: PlatformPeers, peer_bus: IBus) -> None:
        self.moid = moid
        self.peers = peers
        self.peer_bus = peer_bus
        self.instances: list[CssService] = []


class SharedDatabase(MemoryDatabase):
    """One database for all instances: what one of them closes is still there for the others."""

    async def close(self) -> None:
        """Nothing."""


class PeerLink(MemoryBus):
    """A link to another platform's broker that can stay cut."""

    def __init__(self, broker: MemoryBroker, name: str, is_cut: Callable[[], bool]) -> None:
        super().__init__(broker, name, PendingPublishes(reactor, 10_000, 64 * 1024 * 1024, 5.0))
        self._is_cut = is_cut

    def _connect(self) -> None:
        if self._is_cut():
            self._retry = reactor.callLater(0.1, self._connect)
        else:
            super()._connect()


class MemoryGround:
    """Everything in this process."""

    name = "memory"

    def __init__(self) -> None:
        self.brokers: dict[str, MemoryBroker] = {}
        self.stores: dict[str, MemoryStore] = {}
        self.database = SharedDatabase(reactor.seconds)
        self._links: dict[tuple[str, str], list[PeerLink]] = {}
        self._cut: set[tuple[str, str]] = set()

    def add_platform(self, moid: str) -> None:
        self.brokers[moid] = MemoryBroker(reactor, Random(7))
        self.stores[moid] = MemoryStore(moid, reactor)

    def amqp_url(self, moid: str) -> str:
        return "memory:"

    def config_of(self, moid: str, mains: tuple[str, ...]) -> dict[str, Any]:
        redis = [{"ip": "memory", "port": 1, "db": 0, "platformmoid": each} for each in (moid, *mains)]
        return {
            "mq": [{"ip": "memory", "port": 1, "vhost": moid}],
            "redis": redis,
            "mysql": {"ip": "memory", "port": 1, "db": "css"},
        }

    async def peer_config(self, viewer: str, moid: str) -> dict[str, Any]:
        """What the PMS of one platform tells of another one."""
        return self.config_of(moid, ())

    def bus(self, moid: str, name: str) -> IBus:
        bus: IBus = self.brokers[moid].bus(name)
        return bus

    def peer_bus(self, viewer: str, moid: str, name: str) -> IBus:
        """A link of one platform's CSS to another one's broker."""
        link = PeerLink(self.brokers[moid], name, lambda: (viewer, moid) in self._cut)
        self._links.setdefault((viewer, moid), []).append(link)
        bus: IBus = link
        return bus

    async def cut(self, viewer: str, moid: str) -> None:
        """Cut the links of one platform's CSS to another one's broker, until `mend`."""
        self._cut.add((viewer, moid))
        for link in self._links.get((viewer, moid), ()):
            link.drop_link()

    async def mend(self, viewer: str, moid: str) -> None:
        """Let links that were cut come back."""
        self._cut.discard((viewer, moid))

    def connector(self, settings: Settings) -> MemoryConnector:
        return MemoryConnector(self, settings)

    async def dump(self, moid: str) -> dict[str, Any]:
        """Every key of a platform's store with its value."""
        return self.stores[moid].dump()

    async def loads(self, moid: str, ips: list[str]) -> dict[str, int]:
        return await MemoryPlatformState(reactor, self.stores[moid].server).loads(ips)

    async def ttl_ms(self, moid: str, key: str) -> int | None:
        """What is left of a key's time to live; None: it has none, or is gone."""
        return self.stores[moid].server.keyspace.ttl_ms(key)

    async def queue_lengths(self, moid: str, queues: list[str]) -> dict[str, int]:
        """How many messages wait in each of these queues (and, here, in all others); missing queues have none."""
        broker = self.brokers[moid]
        return {queue: broker.queue_length(queue) for queue in [*queues, *broker.queue_names()]}

    async def delete_queue(self, moid: str, queue: str) -> None:
        """Delete a queue."""
        self.brokers[moid].delete_queue(queue)

    def planner(self, moid: str) -> Planner:
        """The CM as it plans for a source platform."""
        return Planner(MemoryPlanner(self.stores[moid].server))

    async def deafen(self, moid: str) -> None:
        """All links of those who listen to a platform's Redis are lost, until `undeafen`."""
        self.stores[moid].server.channels.close()

    async def undeafen(self, moid: str) -> None:
        """They may come back."""
        self.stores[moid].server.channels.open()

    def queue_length(self, moid: str, queue: str) -> int:
        return self.brokers[moid].queue_length(queue)

    async def close(self) -> None:
        """Nothing is left open."""


class MemoryConnector:
    """Connections within this process; see `css.handlers.links.Connector`."""

    def __init__(self, ground: MemoryGround, settings: Settings) -> None:
        self._ground = ground
        self._settings = settings

    def make_own_bus(self) -> IBus:
        return self._ground.bus(self._settings.platform.moid, self._settings.instance.name)

    def make_bus(self, moid: str, addresses: tuple[BrokerAddress, ...]) -> IBus:
        own, name = self._settings.platform.moid, self._settings.instance.name
        return self._ground.peer_bus(own, addresses[0].vhost, f"{name}>{moid}")

    def make_store(self, address: RedisAddress) -> IConferenceStore:
        store: IConferenceStore = MemoryStore(
            address.platformmoid, reactor, self._ground.stores[address.platformmoid].server
        )
        return store

    def make_state(self, store: IConferenceStore) -> IPlatformState:
        assert isinstance(store, MemoryStore)
        state: IPlatformState = MemoryPlatformState(reactor, store.server)
        return state

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

    def make_database(self, address: SqlAddress | None) -> IConferenceDatabase | None:
        database: IConferenceDatabase = self._ground.database
        return database

    async def drop_store(self, store: IConferenceStore) -> None:
        """Nothing to close."""


class ServerGround:
    """RabbitMQ, Redis and MariaDB: a vhost and a Redis database a platform, one schema for all."""

    name = "servers"

    def __init__(self) -> None:
        self.vhosts: dict[str, str] = {}
        self.redis: dict[str, int] = {}
        self.stores: dict[str, RedisStore] = {}
        self.sql_url = servers().mariadb().new_schema()
        self.database = SqlDatabase(reactor, SqlSettings(url=self.sql_url))
        self.rabbitmq = servers().rabbitmq()
        self.redis_address = servers().redis_address()

    def broker_of(self, moid: str) -> Any:
        """The RabbitMQ in which a platform has its vhost."""
        return self.rabbitmq

    def redis_of(self, moid: str) -> tuple[str, int]:
        """Host and port of the Redis in which a platform has its database."""
        return self.redis_address

    def new_redis_database(self, moid: str) -> int:
        """An empty one."""
        return servers().new_redis_database()

    def add_platform(self, moid: str) -> None:
        self.vhosts[moid] = self.broker_of(moid).new_vhost()
        self.redis[moid] = self.new_redis_database(moid)
        host, port = self.redis_of(moid)
        self.stores[moid] = connect(reactor, RedisSettings(host=host, port=port, db=self.redis[moid]), moid)
        self.stores[moid].start()

    def amqp_url(self, moid: str) -> str:
        broker = self.broker_of(moid)
        return f"amqp://guest:guest@{broker.host}:{broker.port}/{self.vhosts[moid]}"

    def config_of(self, moid: str, mains: tuple[str, ...]) -> dict[str, Any]:
        broker = self.broker_of(moid)
        return {
            "mq": [{"ip": broker.host, "port": broker.port, "vhost": self.vhosts[moid]}],
            "redis": [self._redis_config(each) for each in (moid, *mains)],
        }

    def _redis_config(self, moid: str) -> dict[str, Any]:
        host, port = self.redis_of(moid)
        return {"ip": host, "port": port, "db": self.redis[moid], "platformmoid": moid}

    async def peer_config(self, viewer: str, moid: str) -> dict[str, Any]:
        """What the PMS of one platform tells of another one."""
        return self.config_of(moid, ())

    def bus(self, moid: str, name: str) -> IBus:
        bus: IBus = AmqpBus(reactor, [AmqpAddress.from_url(self.amqp_url(moid))], name=name)
        return bus

    def connector(self, settings: Settings) -> ServerConnector:
        return ServerConnector(reactor, settings)

    async def dump(self, moid: str) -> dict[str, Any]:
        """Every key of a platform's store with its value."""
        return await dump_redis(self.stores[moid])

    async def loads(self, moid: str, ips: list[str]) -> dict[str, int]:
        from css.adapters.redis.platform_state import RedisPlatformState

        return await RedisPlatformState(self.stores[moid].link).loads(ips)

    async def ttl_ms(self, moid: str, key: str) -> int | None:
        """What is left of a key's time to live; None: it has none. A key that is gone has 0."""
        left = int(await self.stores[moid].link.command("PTTL", key))
        return None if left == -1 else max(0, left)

    async def queue_lengths(self, moid: str, queues: list[str]) -> dict[str, int]:
        """How many messages wait in each of these queues; missing queues have none."""
        lengths: dict[str, int] = await self.on_channel(
            moid, lambda channel: {queue: _length(channel, queue) for queue in queues}
        )
        return lengths

    async def delete_queue(self, moid: str, queue: str) -> None:
        """Delete a queue."""
        await self.on_channel(moid, lambda channel: channel.queue_delete(queue))

    def planner(self, moid: str) -> Planner:
        """The CM as it plans for a source platform."""
        return Planner(RedisPlanner(self.stores[moid].link))

    async def deafen(self, moid: str) -> None:
        """All links of those who listen to a platform's Redis are lost, until `undeafen`."""
        await self.stores[moid].link.command("ACL", "SETUSER", "default", "-subscribe")
        await self.stores[moid].link.command("CLIENT", "KILL", "TYPE", "pubsub")

    async def undeafen(self, moid: str) -> None:
        """They may come back."""
        await self.stores[moid].link.command("ACL", "SETUSER", "default", "+subscribe")

    async def on_channel(self, moid: str, use: Callable[[Any], Any]) -> Any:
        """Have `use(channel)` called in a thread, with pika's blocking channel to a platform's vhost."""
        broker = self.broker_of(moid)
        return await on_channel(broker.host, broker.port, self.vhosts[moid], use)

    async def close(self) -> None:
        await gatherResults([store.stop() for store in self.stores.values()])
        await self.database.close()
        for moid, vhost in self.vhosts.items():
            self.broker_of(moid).drop_vhost(vhost)


async def on_channel(host: str, port: int, vhost: str, use: Callable[[Any], Any]) -> Any:
    """Have `use(channel)` called in a thread on a channel of a new connection of pika's, which is closed then."""

    def work() -> Any:
        connection = pika.BlockingConnection(pika.ConnectionParameters(host, port, vhost))
        try:
            return use(connection.channel())
        finally:
            connection.close()

    return await deferToThread(work)


def _length(channel: Any, queue: str) -> int:
    """Messages in a queue; a missing one costs a channel."""
    try:
        with channel.connection.channel() as fresh:
            return int(fresh.queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker:
        return 0


async def dump_redis(store: RedisStore) -> dict[str, Any]:
    """Every key of a Redis database: hashes as dicts, sets and sorted sets as lists, strings as bytes."""
    found: dict[str, Any] = {}
    for key in await store.link.command("KEYS", "*"):
        kind = await store.link.command("TYPE", key)
        read = {"hash": "HGETALL", "set": "SMEMBERS", "string": "GET"}
        words: tuple[Any, ...]
        name = kind.decode() if isinstance(kind, bytes) else kind
        if name == "none":
            continue  # gone since its name was read
        words = ("ZRANGE", key, 0, -1, "WITHSCORES") if name == "zset" else (read[name], key)
        found[key.decode()] = await store.link.command(*words)
    return found


class Stage:
    """Builds platforms on a ground, starts peers and instances, and ends them all in order."""

    def __init__(self, ground: Any) -> None:
        self.ground = ground
        self.sites: dict[str, Site] = {}
        self.random = Random(11)
        self.keys: Sequence[bytes] = (KEY,)
        """Of the licences, for instances that are started from now on; the first one seals."""

    async def platform(
        self, moid: str, hosts: list[str], main: tuple[str, ...] = (), backup: tuple[str, ...] = ()
    ) -> Site:
        """Add a platform with its peers, started; add the platforms that it backs up before."""
        if moid not in self.ground.stores:
            self.ground.add_platform(moid)
        others = [each for each in dict.fromkeys((*main, *backup)) if each in self.ground.stores]
        configs = {each: await self.ground.peer_config(moid, each) for each in others}
        configs[moid] = self.ground.config_of(moid, main)
        bus = self.ground.bus(moid, f"peers-{moid}")
        bus.start()
        peers = PlatformPeers(
            bus, reactor, self.random, moid, hosts=hosts, licence_key=KEY, configs=configs, main=main, backup=backup
        )
        for each in (moid, *main):
            peers.bmc.licences[each] = {}
        peers.start()
        await bus.when_connected()
        site = self.sites[moid] = Site(moid, peers, bus)
        return site

    async def pair(self, hosts: dict[str, list[str]]) -> list[Site]:
        """Add platforms of which each backs up all others. @param hosts: of each platform, by its moid."""
        for moid in hosts:
            self.ground.add_platform(moid)
        others = {moid: tuple(each for each in hosts if each != moid) for moid in hosts}
        return [await self.platform(moid, hosts[moid], others[moid], others[moid]) for moid in hosts]

    def instance(self, moid: str, name: str = "css-1", probe: Any = no_probe, **timers: float) -> CssService:
        """Start an instance of a platform."""
        more = f'[sql]\nurl = "{self.ground.sql_url}"' if self.ground.name == "servers" else ""
        settings = parse(settings_text(moid, name, self.ground.amqp_url(moid), more, **timers), "test.toml")
        connector = self.ground.connector(settings)
        service = CssService(
            reactor,
            settings,
            connector.make_own_bus(),
            connector,
            FernetCipher([key.decode() for key in self.keys]),
            probe,
            Random(name),
            f"{name}.{len(self.sites)}.{reactor.seconds()}",
        )
        service.startService()
        self.sites[moid].instances.append(service)
        return service

    async def served(self, moid: str) -> None:
        """Wait until all instances serve, licence and database included: rows that find none wait for a lease."""
        for each in self.sites[moid].instances:
            await until(lambda each=each: _serves_all(each), SERVED_SECONDS, f"{moid} serves")  # type: ignore[misc]

    async def user_domain(self, moid: str, *users: str) -> None:
        """Have the BMC tell of a platform's domain and of user domains in it; wait until CSS knows them."""
        bmc, service = self.sites[moid].peers.bmc, self.sites[moid].instances[0]
        bmc.send_domain("add", moid, level=1, used=1)
        for user in users:
            bmc.send_domain("add", user, level=0, uplevelmoid=moid, used=1)
        await until(lambda: service.knows_domains(moid, *users), what=f"{users} known")

    async def close(self) -> None:
        """End instances, then peers, then connections."""
        for site in self.sites.values():
            for service in site.instances:
                await service.stopService()
            await site.peers.stop()
            await site.peer_bus.stop()
        await self.ground.close()


def has_database(service: CssService) -> bool:
    """Whether an instance has made or found the tables of its database."""
    return service._links.database is not None


def _serves_all(service: CssService) -> bool:
    return service.work.licences.complete and has_database(service)


def finished(deferreds: list[Deferred[Any]]) -> Deferred[list[Any]]:
    """All of them."""
    return gatherResults(deferreds, consumeErrors=True)
