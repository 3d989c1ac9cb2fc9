"""Redis and SQL behind a simulated network, and the connector that an instance reaches them by."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from random import Random
from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from zope.interface import Interface

from css.adapters.memory.keys import index_key
from css.adapters.memory.keyspace import Snapshot
from css.adapters.memory.ledger import MemoryLedger
from css.adapters.memory.planned import MemoryLocatorBook, MemoryPlanned
from css.adapters.memory.server import MemoryServer
from css.adapters.memory.sql import MemoryDatabase
from css.adapters.memory.store import MemoryPlatformState, MemoryStore
from css.messages.pms import BrokerAddress, RedisAddress, SqlAddress
from css.ports.bus import IBus
from css.ports.ledger import ILedger
from css.ports.planned import CHANNEL, Heard, ILocatorBook, IPlannedConferences
from css.ports.sql import IConferenceDatabase, SqlError
from css.ports.store import Commit, IConferenceStore, IPlatformState, StoreError
from css.simulation.clock import Process, Timeline
from css.simulation.network import Wire

COMMAND_TIMEOUT_SECONDS = 2.0
RECONNECT_SECONDS = (0.05, 0.5)

Work = Callable[[], Coroutine[Any, Any, Any]]
Observer = Callable[[str, tuple[Any, ...], Callable[[], Any]], Any]
"""Called with a command's name, its arguments and what executes it; returns its answer."""

POLLS = frozenset(
    {
        "claim_due",
        "due_before",
        "index_size",
        "ready_restores",
        "outbox_lanes",
        "take_outbox",
        "claim_bookings",
        "claim_gone",
        "abnormal_rooms",
    }
)
"""Commands that change nothing if they find nothing: an empty answer then needs no journey, which skips idle time."""
OBSERVED = frozenset({"commit", "draw"})
"""Commands that somebody watches."""
NOTHING_READY = (0, False)
"""How `ready_restores` says so."""


class Server:
    """One server: runs a command at a time; it can be down, hang, refuse, or lose its answers."""

    def __init__(self, timeline: Timeline, random: Random, name: str, error: type[Exception]) -> None:
        self.timeline = timeline
        self.random = random
        self.name = name
        self.error = error
        self.links: list[ServerLink] = []
        self.down = False
        self.hanging = False
        self.refusing = ""
        """What it answers to everything; empty: it works."""
        self.lose_answers = 0.0
        """How probable it is that the connection breaks after a command, before its answer."""
        self._waiting: list[Callable[[], None]] = []

    @property
    def healthy(self) -> bool:
        return not (self.down or self.hanging or self.refusing or self.lose_answers)

    def stop(self) -> None:
        """It dies; what it was told stays."""
        self.down = True
        for link in self.links:
            link.lose(f"{self.name} has died")

    def start(self) -> None:
        """It is back."""
        self.down = False

    def hang(self) -> None:
        """Take commands and do nothing."""
        self.hanging = True
        for link in self.links:
            link.watch_time()

    def go_on(self) -> None:
        """Do what was left undone, and all that comes."""
        self.hanging = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each()

    def take(self, execute: Callable[[], None]) -> None:
        """A command arrives."""
        if self.hanging:
            self._waiting.append(execute)
        elif not self.down:
            execute()


class ServerLink:
    """A process's connection to a server, with reconnecting. Commands are answered in order."""

    def __init__(self, process: Process, server: Server) -> None:
        self.process = process
        self.server = server
        self.up = not server.down
        self.links = int(self.up)
        self.out = Wire(server.timeline, server.random)
        self.back = Wire(server.timeline, server.random)
        self._awaited: dict[Deferred[Any], float] = {}
        self._timers: dict[Deferred[Any], IDelayedCall] = {}
        self._abandoned: list[Deferred[Any]] = []
        server.links.append(self)
        if not self.up:
            self._reconnect_soon()

    @property
    def is_quick(self) -> bool:
        """Whether an answer may come without a journey."""
        if self._awaited or not self.up or self.out.clogged or self.back.clogged:
            return False
        return self.process.alive and self.server.healthy

    @property
    def reaches(self) -> bool:
        """Whether the server would answer what is asked now."""
        return self.up and not self.out.clogged and not self.back.clogged and self.server.healthy

    async def call(self, execute: Callable[[], Any]) -> Any:
        """Have a command executed. Fails with the server's error."""
        if not self.process.alive:
            return await self._never()
        if not self.up:
            raise self.server.error(f"{self.server.name}: not connected")
        return await self._travel(execute)

    async def poll(self, execute: Callable[[], Any]) -> Any:
        """The same of one of `POLLS`."""
        if not self.is_quick:
            return await self.call(execute)
        found = execute()
        return found if not found or found == NOTHING_READY else await self._travel(partial(_given, found))

    async def _travel(self, execute: Callable[[], Any]) -> Any:
        answered: Deferred[Any] = Deferred()
        self._awaited[answered] = self.server.timeline.now
        if self.server.hanging or self.out.clogged or self.back.clogged:
            self._watch(answered)
        self.out.send(self.server.take, partial(self._execute, answered, execute))
        return await answered

    def _execute(self, answered: Deferred[Any], execute: Callable[[], Any]) -> None:
        server = self.server
        result: Any
        if server.refusing:
            result = server.error(server.refusing)
        else:
            try:
                result = execute()
            except Exception as error:
                result = error
        if server.lose_answers and server.random.random() < server.lose_answers:
            self.lose("connection reset after a command")
        else:
            self.back.send(self.process.run, self._answered, answered, result)

    def _answered(self, answered: Deferred[Any], result: Any) -> None:
        if self._awaited.pop(answered, None) is None:
            return
        timer = self._timers.pop(answered, None)
        if timer is not None:
            timer.cancel()
        if isinstance(result, Exception):
            answered.errback(result)
        else:
            answered.callback(result)

    def watch_time(self) -> None:
        """From now on answers may be late: each awaited one has its time-out."""
        if self.process.alive:
            for answered in list(self._awaited):
                if answered not in self._timers:
                    self._watch(answered)

    def _watch(self, answered: Deferred[Any]) -> None:
        waited = self.server.timeline.now - self._awaited[answered]
        late = self.server.error(f"{self.server.name}: no answer in time")
        left = max(0.0, COMMAND_TIMEOUT_SECONDS - waited)
        self._timers[answered] = self.process.callLater(left, self._too_late, answered, late)

    def _too_late(self, answered: Deferred[Any], error: Exception) -> None:
        del self._timers[answered]
        self._answered(answered, error)

    def lose(self, reason: str) -> None:
        """The connection breaks: what is under way may have been executed or not."""
        if not self.up:
            return
        self.up = False
        self.out.cut()
        self.back.cut()
        awaited = list(self._awaited)
        self.process.run(self._fail_all, awaited, self.server.error(f"{self.server.name}: {reason}"))
        self._reconnect_soon()

    def clog(self) -> None:
        """Let nothing through."""
        self.out.clog()
        self.back.clog()
        self.watch_time()

    def clear(self) -> None:
        """Let everything through again."""
        self.out.clear()
        self.back.clear()

    def _fail_all(self, awaited: Iterable[Deferred[Any]], error: Exception) -> None:
        for answered in awaited:
            self._answered(answered, error)

    def _reconnect_soon(self) -> None:
        seconds = self.server.random.uniform(*RECONNECT_SECONDS)
        self.server.timeline.at(self.server.timeline.now + seconds, self._reconnect)

    def _reconnect(self) -> None:
        if not self.process.alive:
            return
        if self.server.down or self.out.clogged or self.back.clogged:
            self._reconnect_soon()
        else:
            self.up = True
            self.links += 1

    async def _never(self) -> Any:
        """What a dead process waits for."""
        never: Deferred[Any] = Deferred()
        self._abandoned.append(never)
        return await never


def _given(value: Any) -> Any:
    return value


def run_now(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a memory server waits for nothing")


def plainly(name: str, arguments: tuple[Any, ...], execute: Callable[[], Any]) -> Any:
    """The observer that does nothing but execute."""
    return execute()


class Remote:
    """A port's methods, each a command that travels to the server behind `link`."""

    def __init__(self, link: ServerLink, target: Any, port: type[Interface], observe: Observer = plainly) -> None:
        self.link = link
        for name in port.names():
            method = getattr(target, name)
            if callable(method):
                setattr(self, name, self._remote(name, method, observe))

    def _remote(self, name: str, method: Any, observe: Observer) -> Callable[..., Coroutine[Any, Any, Any]]:
        if name in OBSERVED and observe is not plainly:
            return partial(self._observed, name, method, observe)
        return partial(self._polled if name in POLLS else self._plain, method)

    def _observed(self, name: str, method: Any, observe: Observer, *arguments: Any) -> Coroutine[Any, Any, Any]:
        return self.link.call(lambda: observe(name, arguments, lambda: run_now(method(*arguments))))

    def _plain(self, method: Any, *arguments: Any, **more: Any) -> Coroutine[Any, Any, Any]:
        return self.link.call(lambda: run_now(method(*arguments, **more)))

    def _polled(self, method: Any, *arguments: Any, **more: Any) -> Coroutine[Any, Any, Any]:
        return self.link.poll(lambda: run_now(method(*arguments, **more)))


class RemoteStore(Remote):
    """A platform's Redis from afar."""

    def __init__(self, link: ServerLink, target: MemoryStore, observe: Observer) -> None:
        super().__init__(link, target, cast("type[Interface]", IConferenceStore), observe)
        self.platform = target.platform
        self.target = target
        self._keys = target.server.keyspace
        self._claim_due = self._remote("claim_due", target.claim_due, observe)
        self.claim_due = self._claim_due_if_any

    async def _claim_due_if_any(self, index: str, lease_ms: int, limit: int) -> list[str]:
        """Nearly always there is none, and nearly all commands are this one."""
        if self.link.is_quick and not self._keys.sorted_set(index_key(index)).has_any(self._keys.now_ms()):
            return []
        found: list[str] = await self._claim_due(index, lease_ms, limit)
        return found

    @property
    def available(self) -> bool:
        return self.link.up

    @property
    def links(self) -> int:
        return self.link.links


class RemoteDatabase(Remote):
    """SQL from afar; what an instance closes is its own connection."""

    def __init__(self, link: ServerLink, target: MemoryDatabase) -> None:
        super().__init__(link, target, cast("type[Interface]", IConferenceDatabase))
        self.close = self._close

    async def _close(self) -> None:
        """Nothing of the database itself."""


class RemotePlanned(Remote):
    """What the CM plans, from afar; what is published while the link is down is lost."""

    def __init__(self, link: ServerLink, server: MemoryServer) -> None:
        super().__init__(link, MemoryPlanned(server), cast("type[Interface]", IPlannedConferences))
        self._server = server
        self._heard: Heard | None = None
        self.listen = self._listen
        self.unlisten = self._unlisten

    @property
    def listens(self) -> int:
        return self.link.links if self._heard is not None else 0

    @property
    def hears(self) -> bool:
        return self.link.up and self._heard is not None

    def _listen(self, heard: Heard) -> None:
        if self._heard is None:
            self._heard = heard
            self._server.channels.subscribe(CHANNEL, self._published)

    def _unlisten(self) -> Deferred[None]:
        if self._heard is not None:
            self._heard = None
            self._server.channels.unsubscribe(CHANNEL, self._published)
        return succeed(None)

    def _published(self, payload: bytes) -> None:
        if self.link.up and self._heard is not None:
            self.link.back.send(self.link.process.run, self._heard, payload)


class Loss(msgspec.Struct):
    """What was written to a platform's Redis since some time, and is lost, or may be."""

    moid: str
    since: float
    """Simulated seconds."""
    snapshot: Snapshot
    """What it held then."""
    numbers: set[str] = msgspec.field(default_factory=set)
    """Those that commits were about."""
    requests: set[str] = msgspec.field(default_factory=set)
    """Keys of the requests that commits remembered."""

    def add(self, commit: Commit) -> None:
        """A commit has been carried out."""
        number = commit.e164.partition("?")[0]
        if number:
            self.numbers.add(number)
        for memory in (commit.request, *commit.answers):
            if memory is not None:
                self.requests.add(memory.key.rstrip("@"))


class Redis(Server):
    """One platform's Redis: its data, its clock, and who watches what it does."""

    def __init__(self, timeline: Timeline, random: Random, moid: str) -> None:
        super().__init__(timeline, random, f"Redis of {moid}", StoreError)
        self.clock = Process(timeline, random, f"redis-{moid}")
        self.store = MemoryStore(moid, self.clock)
        self.state = MemoryPlatformState(self.clock, self.store.server)
        self.observe: Observer = plainly
        self.observe_state: Observer = plainly
        self.moid = moid
        self.kept: Loss | None = None
        """What may be about to be lost."""

    def keep(self) -> None:
        """From now on what is written may be lost."""
        self.kept = Loss(self.moid, self.timeline.now, self.store.server.keyspace.snapshot())

    def forget(self) -> None:
        """It is not lost."""
        self.kept = None

    def lose(self) -> Loss:
        """Lose what was written since `keep`. @return: what that was."""
        loss, self.kept = self.kept, None
        assert loss is not None  # nothing may be lost that was not kept
        self.store.server.keyspace.restore(loss.snapshot)
        return loss

    def remote(self, process: Process) -> RemoteStore:
        """The store for a process."""
        return RemoteStore(ServerLink(process, self), self.store, self.observe)


class Sql(Server):
    """The SQL database of all platforms."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        super().__init__(timeline, random, "SQL", SqlError)
        self.database = MemoryDatabase(timeline.seconds)


class SimulatedConnector:
    """An instance's connections; see `css.handlers.links.Connector`.

    @param make_bus: makes a bus of the process to a platform's broker.
    """

    def __init__(
        self, process: Process, make_bus: Callable[[str, str], IBus], redis: dict[str, Redis], sql: Sql
    ) -> None:
        self._process = process
        self._make_bus = make_bus
        self._redis = redis
        self._sql = sql

    def make_bus(self, moid: str, addresses: tuple[BrokerAddress, ...]) -> IBus:
        return self._make_bus(addresses[0].vhost, f"{self._process.name}>{moid}")

    def make_store(self, address: RedisAddress) -> IConferenceStore:
        store: IConferenceStore = cast("IConferenceStore", self._redis[address.platformmoid].remote(self._process))
        return store

    def make_state(self, store: IConferenceStore) -> IPlatformState:
        assert isinstance(store, RemoteStore)
        redis = self._redis[store.platform]
        port = cast("type[Interface]", IPlatformState)
        return cast("IPlatformState", Remote(store.link, redis.state, port, redis.observe_state))

    def make_ledger(self, store: IConferenceStore) -> ILedger:
        assert isinstance(store, RemoteStore)
        target = MemoryLedger(self._redis[store.platform].state.server)
        return cast("ILedger", Remote(store.link, target, cast("type[Interface]", ILedger)))

    def make_planned(self, store: IConferenceStore) -> IPlannedConferences:
        assert isinstance(store, RemoteStore)
        return cast("IPlannedConferences", RemotePlanned(store.link, store.target.server))

    def make_book(self, store: IConferenceStore) -> ILocatorBook:
        assert isinstance(store, RemoteStore)
        target = MemoryLocatorBook(store.target.server)
        return cast("ILocatorBook", Remote(store.link, target, cast("type[Interface]", ILocatorBook)))

    def make_database(self, address: SqlAddress | None) -> IConferenceDatabase | None:
        return cast("IConferenceDatabase", RemoteDatabase(ServerLink(self._process, self._sql), self._sql.database))

    async def drop_store(self, store: IConferenceStore) -> None:
        assert isinstance(store, RemoteStore)
        store.link.server.links.remove(store.link)
