"""All that an instance does once its own broker and Redis are there: handlers, timers, and their life."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from css.config import Settings
from css.domain.epochs import EpochSource
from css.domain.events import Rules
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.carriers import LoadFreer, RowWriter
from css.handlers.clocks import StoreClocks
from css.handlers.create import Creating
from css.handlers.dispatch import Dispatcher, Routes, merge
from css.handlers.domains import DomainCache
from css.handlers.effects import Composer
from css.handlers.letters import LOAD_LANE, SQL_LANE
from css.handlers.licences import Licences
from css.handlers.liveness import Liveness
from css.handlers.lookup import Lookup
from css.handlers.mcu import McuAnswers
from css.handlers.outbox import Outbox, Post
from css.handlers.placing import Placing
from css.handlers.probes import Probe
from css.handlers.release import Releasing
from css.handlers.requests import Answers
from css.handlers.steps import Steps
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.ports.bus import IBus, IConsumer
from css.ports.licence import ILicenceCipher
from css.ports.sql import IConferenceDatabase
from css.ports.store import IConferenceStore, IPlatformState, StoreError
from css.timers.bookings import BookingCheck
from css.timers.due import DueWork
from css.timers.sweep import OutboxSweep
from css.timers.ticker import Ticker

SLOT_LEASE_MS = 60_000
FLUSH_SECONDS = 0.1
ROWS_SECONDS = 0.25
"""A transaction costs as much as thirty rows: the more rows in one, the better, as long as nobody waits for them."""
DUE_SECONDS = 0.25
LIVENESS_SECONDS = 0.5
SLOT_SECONDS = 15.0
PRUNE_SECONDS = 3600.0
ROW_ORDER_KEPT_SECONDS = 48 * 3600
"""Longer than any late write can come: tombstones and kept answers are gone long before."""
PRUNE_BATCH = 1000


class World(msgspec.Struct):
    """What an instance works with; the parts that can change are asked for at each use."""

    reactor: IReactorTime
    random: Random
    own_bus: IBus
    platforms: Callable[[], Platforms]
    stores: Mapping[str, IConferenceStore]
    state: Callable[[], IPlatformState]
    peers: Mapping[str, IBus]
    database: Callable[[], IConferenceDatabase | None]
    domains: DomainCache
    cipher: ILicenceCipher
    session: str
    """A text that no other run of any instance has."""
    probe: Probe


class Work:
    """Builds the handlers from top to bottom, consumes and ticks from `begin` to `end`."""

    log = Logger()

    def __init__(self, settings: Settings, world: World, tally: Tally, more_routes: Routes) -> None:
        self._settings = settings
        self._world = world
        self.tally = tally
        self.probe = world.probe
        self._tracker = Tracker()
        self._consumers: dict[str, IConsumer] = {}
        self._begun = False
        self._ended = False
        timers = settings.timers
        own = settings.platform.moid
        lease_ms = _ms(timers.outbox_lease_seconds)

        self.clocks = StoreClocks(world.reactor)
        self._epochs = EpochSource(0)
        post = Post(world.reactor, self.clocks, world.own_bus, world.peers, self.tally, _ms(timers.unroutable_seconds))
        self.outbox = Outbox(own, self.clocks, post, lease_ms, world.probe)
        rows = RowWriter(world.database, self.outbox, self._tracker, self.tally, world.probe)
        freer = LoadFreer(world.state, self.outbox, self._tracker, world.probe)
        self.outbox.carriers.update({SQL_LANE: rows.carry, LOAD_LANE: freer.carry})
        self.liveness = Liveness(own, world.state, self.clocks, _ms(timers.mcu_timeout_seconds))
        placing = Placing(
            world.state,
            self.clocks,
            self._epochs,
            world.random,
            self._tracker,
            self.liveness.silent_before_ms,
            2 * _ms(timers.creating_timeout_seconds),
            max(1, round(timers.mcu_penalty_seconds)),
        )
        composer = Composer(own, world.platforms)
        self.steps = steps = Steps(_rules(settings), self.clocks, composer, self.outbox, self.tally, world.probe)
        steps.on_failure = placing.penalise
        lookup = Lookup(own, world.stores, self.tally)
        answers = Answers(self.clocks, self.outbox, post, self.tally, world.probe)
        creating = Creating(
            own,
            world.platforms,
            world.stores,
            world.domains,
            self.clocks,
            self._epochs,
            steps,
            answers,
            placing,
            self.tally,
        )
        releasing = Releasing(own, world.platforms, world.stores, lookup, steps, answers)
        mcus = McuAnswers(own, world.stores, lookup, steps, placing, self.liveness, self._tracker, self.tally)
        post.on_silence = mcus.silent_at_once
        self.licences = Licences(
            own,
            world.platforms,
            world.stores,
            world.domains.platform_of,
            world.own_bus,
            world.cipher,
            self.tally,
            world.session,
        )
        self._rows, self._freer = rows, freer
        routes = merge(creating.routes, releasing.routes, mcus.routes, self.licences.routes, more_routes)
        self._dispatcher = Dispatcher(world.own_bus, routes, self.tally, self.liveness.notice, world.probe)

        due = DueWork(own, world.stores, self.clocks, mcus.overdue)
        sweep = OutboxSweep(own, world.stores, self.outbox, post, self.tally, lease_ms, world.probe)
        bookings = BookingCheck(world.state, world.stores, self.tally, 2 * _ms(timers.creating_timeout_seconds))
        self._tickers = [
            self._ticker("deadlines", DUE_SECONDS, due.tick),
            self._ticker("outbox sweep", min(1.0, timers.outbox_lease_seconds / 2), sweep.tick),
            self._ticker("outbox flush", FLUSH_SECONDS, self._flush),
            self._ticker("rows", ROWS_SECONDS, self._write_rows),
            self._ticker("signs of life", LIVENESS_SECONDS, self.liveness.flush),
            self._ticker("booking check", 1.0, bookings.tick),
            self._ticker("instance slot", SLOT_SECONDS, self._renew_slot),
            self._ticker("store clocks", 5.0, self._refresh_clocks),
            self._ticker("row order", PRUNE_SECONDS, self._prune),
        ]
        self._licence_ticker = self._ticker("licence requests", timers.state_refresh_seconds, self.licences.ask)

    def _ticker(self, name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> Ticker:
        return Ticker(self._world.reactor, name, seconds, work)

    @property
    def in_flight(self) -> int:
        """How many deliveries and background works are under way."""
        in_flight: int = sum(consumer.in_flight for consumer in self._consumers.values())
        return in_flight + self._tracker.in_flight

    def refuse(self) -> None:
        """Take only what CMs ask: while the own platform is abnormal they are all refused."""
        self._consume([to.CM_QUEUE])

    async def begin(self) -> None:
        """Claim a slot, measure the stores' clocks, tick, and only then consume; a store that is away is waited for."""
        while not self._ended:
            try:
                await self._renew_slot()
                await self.clocks.refresh(self._world.stores[self._settings.platform.moid])
                break
            except StoreError as error:
                self.log.warn("waiting for the own Redis: {error}", error=str(error))
                await deferLater(self._world.reactor, 1.0)
        if self._ended:
            return
        self._begun = True
        self._world.own_bus.on_state_change(self._bus_changed)
        for ticker in self._tickers:
            ticker.start()
        self.liveness.begin_to_consume()
        self._consume(to.WORK_QUEUES)
        self._licence_ticker.start(at_once=True)

    def _bus_changed(self, connected: bool) -> None:
        if connected:
            self.liveness.begin_to_consume()
        else:
            self.liveness.stop_consuming()

    def _consume(self, queues: Sequence[str]) -> None:
        for queue in queues:
            if queue not in self._consumers:
                consumer = self._world.own_bus.consume(queue, self._dispatcher, self._settings.amqp.prefetch)
                self._consumers[queue] = consumer

    async def end(self) -> None:
        """Stop in order: consumers, work in flight, timers, what the outbox can still forget."""
        self._ended = True
        consumers, self._consumers = self._consumers, {}
        await DeferredList([consumer.cancel() for consumer in consumers.values()], consumeErrors=True)
        await self._tracker.drained()
        await DeferredList([ticker.stop() for ticker in (*self._tickers, self._licence_ticker)], consumeErrors=True)
        if self._begun:
            await self._last_words()
        await self._tracker.drained()

    async def _last_words(self) -> None:
        try:
            await self._rows.apply_waiting()
            await self._freer.free_waiting()
            await self._flush()
            await self.liveness.flush()
            await self._world.state().release_slot(self._settings.instance.name)
        except Exception as error:
            self.log.warn("left to the other instances at stop: {error}", error=str(error))

    async def _flush(self) -> None:
        self._freer.tick()
        await self.outbox.flush(self._world.stores)

    async def _prune(self) -> None:
        """Forget the order of rows that were deleted long ago. Fails with `SqlError`."""
        database = self._world.database()
        while database is not None and await database.prune(ROW_ORDER_KEPT_SECONDS, PRUNE_BATCH) == PRUNE_BATCH:
            pass

    async def _write_rows(self) -> None:
        self._rows.tick()

    async def _renew_slot(self) -> None:
        slot = await self._world.state().claim_slot(self._settings.instance.name, SLOT_LEASE_MS)
        self._epochs.move_to(slot)

    async def _refresh_clocks(self) -> None:
        waits: list[Deferred[Any]] = [
            Deferred.fromCoroutine(self.clocks.refresh(store))
            for store in self._world.stores.values()
            if store.available
        ]
        await DeferredList(waits, consumeErrors=True)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _rules(settings: Settings) -> Rules:
    timers = settings.timers
    return Rules(
        request_timeout_ms=_ms(timers.request_timeout_seconds),
        creating_timeout_ms=_ms(timers.creating_timeout_seconds),
        small_terminals=settings.license.small_conference_terminals,
    )
