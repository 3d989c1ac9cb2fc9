"""The Redis of each source platform, as service discovery tells them; asked again whenever one is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from css.handlers.tracker import Tracker
from css.messages.pms import RedisAddress
from css.npp.discovery import DiscoveryError
from css.ports.running import IRunningConferences
from css.ports.store import StoreError
from css.timers.ticker import Ticker

LOST_SECONDS = 2.0
"""How often discovery is asked while it has not answered, or while a Redis is away."""
REFRESH_SECONDS = 30.0
"""How often it is asked while all is well: a platform may have been added, or moved."""
UNKNOWN_SECONDS = 5.0
"""A platform that nobody knows is asked for at most so often."""
CONNECT_SECONDS = 2.0
"""How long a reader waits for a link that has only just been made; one that was up before is not waited for."""
CONNECT_POLL_SECONDS = 0.05
PREPARE_PATIENCE_SECONDS = 60.0
"""How long a reader waits while the index of a Redis is made for the first time."""
QUICK_LOOK_SECONDS = 0.02
"""If looking for records that the index lacks took no longer the last time, each walk begins with it."""
LOOK_REST = 50
"""After a look that took longer come at least so many times as long without one."""


class Link(Protocol):
    """The connection behind a source."""

    def start(self) -> None: ...

    def stop(self) -> Deferred[None]: ...

    def on_state_change(self, listener: Callable[[bool], None]) -> None: ...


Connect = Callable[[RedisAddress], tuple[Link, IRunningConferences]]


class Source(msgspec.Struct, eq=False):
    """One source platform's Redis."""

    address: RedisAddress
    link: Link
    running: IRunningConferences
    prepared: Deferred[None] | None = None
    """Under way; None before and after."""
    is_prepared: bool = False
    begun: float = 0.0
    """When it was made, seconds of the reactor's clock."""
    look_seconds: float = 0.0
    """How long the last look for records that its index lacks took."""
    look_failed: bool = False
    """Whether the last one failed."""
    look_again_at: float = 0.0
    """From when another one may begin, seconds of the reactor's clock."""
    was_up: bool = False


class Unavailable(Exception):
    """The question can't be answered now; the text says why."""


class Sources:
    """Keeps a link to each Redis that discovery names.

    @param ask: asks service discovery; fails with `DiscoveryError`.
    @param connect: makes the link to a Redis, not started, and the reader on it.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        ask: Callable[[], Awaitable[list[RedisAddress]]],
        connect: Connect,
    ) -> None:
        self._reactor = reactor
        self._ask = ask
        self._connect = connect
        self._sources: dict[str, Source] = {}
        self._tracker = Tracker()
        self._ticker = Ticker(reactor, "service discovery", LOST_SECONDS, self._tick)
        self._asking: Deferred[None] | None = None
        self._answered_at: float | None = None
        self._asked_at = float("-inf")
        self._error = "service discovery has not answered yet"
        self._stopped = False

    def start(self) -> None:
        """Begin to ask."""
        self._ticker.start(at_once=True)

    async def stop(self) -> None:
        """Close all links."""
        self._stopped = True
        await self._ticker.stop()
        await self._tracker.drained()
        for source in self._sources.values():
            await source.link.stop()
        self._sources.clear()

    async def find(self, platform: str, begins: bool = True) -> IRunningConferences | None:
        """The reader of a source platform, ready; None if there is no such platform. Fails with `Unavailable`.

        @param begins: whether a walk begins: then records that the index lacks are looked for. Where that takes long
            the walk does not wait for it, and it is done now and then only.
        """
        is_old = self._reactor.seconds() - self._asked_at >= UNKNOWN_SECONDS
        if platform not in self._sources and (is_old or self._asking is not None):
            await self.ask()
        source = self._sources.get(platform)
        if source is None:
            if self._answered_at is None:
                raise Unavailable(self._error)
            return None
        while not (source.was_up or self._reactor.seconds() - source.begun >= CONNECT_SECONDS):
            await deferLater(self._reactor, CONNECT_POLL_SECONDS)
        if not source.running.available:
            raise Unavailable(f"the Redis of {platform} is away")
        if not source.is_prepared or (begins and source.look_seconds <= QUICK_LOOK_SECONDS):
            await self._prepare(source)
        elif begins and self._reactor.seconds() >= source.look_again_at:
            _ = self._begin_to_look(source)
        return source.running

    async def ask(self) -> None:
        """Ask discovery, or join the question that is under way. Never fails."""
        if self._asking is not None:
            waiting: Deferred[None] = Deferred()
            _ = self._asking.addBoth(lambda _: waiting.callback(None))
            await waiting
            return
        asking: Deferred[None] = Deferred()
        self._asking = asking
        try:
            await self._ask_now()
        finally:
            self._asking = None
            asking.callback(None)

    async def _tick(self) -> None:
        age = self._reactor.seconds() - self._asked_at
        lost = any(not source.running.available for source in self._sources.values())
        if self._answered_at is None or self._error or lost or age >= REFRESH_SECONDS:
            await self.ask()

    async def _ask_now(self) -> None:
        self._asked_at = self._reactor.seconds()
        try:
            addresses = await self._ask()
        except DiscoveryError as error:
            if str(error) != self._error:
                self.log.warn("service discovery: {error}", error=str(error))
            self._error = str(error)
            return
        if self._error and self._answered_at is not None:
            self.log.info("service discovery answers again")
        self._error, self._answered_at = "", self._reactor.seconds()
        if not self._stopped:
            self._take(addresses)

    def _take(self, addresses: Iterable[RedisAddress]) -> None:
        wanted = {address.platformmoid: address for address in addresses}
        for moid, source in list(self._sources.items()):
            if wanted.get(moid) != source.address:
                self.log.info("leaving the Redis of {moid}", moid=moid)
                del self._sources[moid]
                self._tracker.run(_closed(source), "closing a link")
        for moid, address in wanted.items():
            if moid not in self._sources:
                self._add(moid, address)

    def _add(self, moid: str, address: RedisAddress) -> None:
        self.log.info("connecting to the Redis of {moid} at {ip}:{port}", moid=moid, ip=address.ip, port=address.port)
        link, running = self._connect(address)
        source = Source(address, link, running, begun=self._reactor.seconds(), was_up=running.available)
        self._sources[moid] = source
        link.on_state_change(lambda available: self._link_changed(source, available))
        link.start()

    def _link_changed(self, source: Source, available: bool) -> None:
        source.was_up |= available
        if available or self._stopped or self._sources.get(source.address.platformmoid) is not source:
            return
        # It may have moved, or have lost everything.
        source.is_prepared = False
        self._tracker.run(self.ask(), "asking where a lost Redis is")

    async def _prepare(self, source: Source) -> None:
        """Join whoever prepares it already; a reader that gives up waiting does not stop that."""
        prepared = self._begin_to_look(source)
        waiting: Deferred[None] = Deferred()
        _ = prepared.addBoth(lambda _: None if waiting.called else waiting.callback(None))
        try:
            await waiting.addTimeout(PREPARE_PATIENCE_SECONDS, self._reactor)
        except Exception:
            raise Unavailable(f"the index of {source.address.platformmoid} is still being made") from None
        if not source.is_prepared or source.look_failed:
            raise Unavailable(f"the Redis of {source.address.platformmoid} does not answer")

    def _begin_to_look(self, source: Source) -> Deferred[None]:
        """@return: fires when what is under way, now at the latest, has ended."""
        prepared = source.prepared
        if prepared is None:
            prepared = source.prepared = Deferred()
            self._tracker.run(self._prepare_now(source, prepared), "preparing an index")
        return prepared

    async def _prepare_now(self, source: Source, prepared: Deferred[None]) -> None:
        begun = self._reactor.seconds()
        try:
            await source.running.prepare()
            source.is_prepared, source.look_failed = True, False
            ended = self._reactor.seconds()
            source.look_seconds, source.look_again_at = ended - begun, ended + LOOK_REST * (ended - begun)
        except StoreError as error:
            source.look_failed = True
            self.log.warn("{moid}: {error}", moid=source.address.platformmoid, error=str(error))
        finally:
            source.prepared = None
            prepared.callback(None)


async def _closed(source: Source) -> None:
    await source.link.stop()
