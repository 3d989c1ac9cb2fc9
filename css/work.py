"""All that an instance does once its own broker and Redis are there: handlers, timers, and their life."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger

from css.asking import requests_of_cms
from css.config import Settings
from css.controlling import Controlling
from css.core import Core, World, milliseconds
from css.handlers import addresses as to
from css.handlers.dispatch import Dispatcher, Routes, merge
from css.handlers.mcu import McuAnswers
from css.handlers.offduty import LegacyNumbers, OffDuty
from css.handlers.rebuilding import Rebuilding
from css.handlers.restoring import Restoring
from css.handlers.strangers import Strangers
from css.handlers.sync import Syncing
from css.handlers.tally import Tally
from css.handlers.tracker import ended_by
from css.licensing import Licensing
from css.ports.bus import IConsumer
from css.ports.store import StoreError
from css.reporting import Reporting
from css.rounds import DUE_SECONDS, LIVENESS_SECONDS, conference_rounds
from css.templating import make_templates
from css.timers.bookings import BookingCheck
from css.timers.reservations import ReservationSweep
from css.timers.sweep import OutboxSweep
from css.timers.ticker import Ticker

SLOT_LEASE_MS = 60_000
FLUSH_SECONDS = 0.1
ROWS_SECONDS = 0.25
"""A transaction costs as much as thirty rows: the more rows in one, the better, as long as nobody waits for them."""
DUTY_SECONDS = 1.0
LEGACY_SECONDS = 5.0
"""How old what is remembered of legacy conferences may be when their store goes away."""
SLOT_SECONDS = 15.0
FIRST_LOOK_SECONDS = 5.0
"""How long the start waits for emptied stores to be filled again."""
PLACES_SECONDS = 60.0
PRUNE_SECONDS = 3600.0
ROW_ORDER_KEPT_SECONDS = 48 * 3600
"""Longer than any late write can come: tombstones and kept answers are gone long before."""
PRUNE_BATCH = 1000
END_SECONDS = 30.0
"""How long a stop waits for what is under way. A list of many thousands of strangers may take minutes."""


class Work:
    """Builds the handlers from top to bottom, consumes and ticks from `begin` to `end`."""

    log = Logger()

    def __init__(self, settings: Settings, world: World, tally: Tally, more_routes: Routes) -> None:
        self._settings = settings
        self._world = world
        self.tally = tally
        self.probe = world.probe
        self._core = core = Core(settings, world, tally)
        self.clocks, self.outbox, self.steps, self.liveness = core.clocks, core.outbox, core.steps, core.liveness
        self.duty = core.duty
        self._consumers: dict[str, IConsumer] = {}
        self._begun = False
        self._ended = False
        self._mcus = self._make_mcus()
        self._restoring = Restoring(
            core.own, world.stores, world.ledger, core.clocks, core.epochs, core.steps, self._mcus.overdue, tally
        )
        self._grace_ms = milliseconds(settings.timers.sync_grace_seconds)
        self._templates = make_templates(core)
        self._rebuilding = self._make_rebuilding()
        self._licensing = Licensing(core)
        self.licences = self._licensing.licences
        self.controlling = Controlling(core)
        self._legacy = LegacyNumbers(core.own, world.stores)
        routes = self._routes(more_routes)
        self.reporting = Reporting(core)
        self._dispatcher = Dispatcher(world.own_bus, routes, tally, core.liveness.notice, world.probe, world.peers)
        self._make_tickers()
        # What was missed while the broker was away must not make MCUs look dead.
        core.liveness.link_changed(world.own_bus.connected)
        world.own_bus.on_state_change(core.liveness.link_changed)

    def _routes(self, more: Routes) -> Routes:
        """What is handled, and by whom; what is done instead while the own platform is abnormal."""
        core = self._core
        routes = merge(
            requests_of_cms(core),
            self._mcus.routes,
            self._make_syncing().routes,
            self.controlling.routes,
            self._licensing.routes,
            self._templates.routes,
            more,
        )
        return OffDuty(core.own, core.duty, self._legacy, core.clocks, core.post, self.tally).guarded(routes)

    def _make_tickers(self) -> None:
        """What is done every so often: what concerns conferences only while the own platform is normal."""
        core, refresh_seconds = self._core, self._settings.timers.state_refresh_seconds
        rounds = conference_rounds(core, self._mcus.overdue, self._restoring, self._rebuilding)
        rounds.append(("monitors", DUE_SECONDS, self.controlling.monitors.tick))
        self._flush = Ticker(self._world.reactor, "outbox flush", FLUSH_SECONDS, core.flush, core.has_flushed)
        self._doubtful = self._ticker("forwards in doubt", DUE_SECONDS, core.doubtful.tick)
        tickers = [self._ticker(name, seconds, core.duty.while_on(work)) for name, seconds, work in rounds]
        self.tickers = [*tickers, *self._house_rounds()]
        self._licence_ticker = self._ticker("licence requests", refresh_seconds, self.licences.ask)

    def _make_mcus(self) -> McuAnswers:
        core, world = self._core, self._world
        mcus = McuAnswers(
            core.own,
            world.stores,
            core.lookup,
            core.steps,
            core.placing,
            core.liveness,
            core.doubts,
            core.tracker,
            self.tally,
        )
        core.post.on_silence.append(mcus.silent_at_once)
        return mcus

    def _store_emptied(self, moid: str) -> None:
        self._world.domains.store_emptied(moid)
        self.licences.store_emptied(moid)
        self.reporting.planned.store_emptied(moid)

    def _make_rebuilding(self) -> Rebuilding:
        core, world = self._core, self._world
        return Rebuilding(
            world.platforms,
            world.stores,
            world.database,
            core.clocks,
            core.steps,
            self.tally,
            self._grace_ms,
            self._store_emptied,
            self._templates.fill,
        )

    def _make_syncing(self) -> Syncing:
        core, world = self._core, self._world
        strangers = Strangers(
            core.own,
            world.stores,
            world.state,
            core.lookup,
            world.database,
            core.clocks,
            core.epochs,
            core.steps,
            core.post,
            self.tally,
            milliseconds(self._settings.timers.mcu_timeout_seconds),
            self._rebuilding.all_are_whole,
        )
        return Syncing(
            core.own,
            world.platforms,
            world.stores,
            world.state,
            core.epochs,
            core.steps,
            self._restoring,
            strangers,
            core.doubts,
            core.post,
            self.tally,
            core.liveness.flush,
            milliseconds(self._settings.timers.mcu_timeout_seconds),
        )

    def _house_rounds(self) -> list[Ticker]:
        """What keeps the instance's own house in order."""
        core, world = self._core, self._world
        sweep = OutboxSweep(
            world.reactor,
            core.own,
            world.platforms,
            world.stores,
            core.outbox,
            core.post,
            self.tally,
            core.lease_ms,
            world.probe,
        )
        places = ReservationSweep(world.reactor, world.platforms, world.stores, self.tally)
        bookings = BookingCheck(world.state, world.stores, self.tally, core.booking_lease_ms)
        return [
            self._ticker("duty", DUTY_SECONDS, core.duty.tick),
            self._ticker("legacy conferences", LEGACY_SECONDS, self._legacy.read),
            self._ticker("outbox sweep", min(1.0, core.lease_ms / 2000), sweep.tick),
            self._flush,
            self._ticker("silence on control", DUE_SECONDS, self.controlling.passed.tick),
            self._doubtful,
            self._ticker("rows", ROWS_SECONDS, core.write_rows),
            self._ticker("signs of life", LIVENESS_SECONDS, core.liveness.flush),
            self._ticker("booking check", 1.0, bookings.tick),
            self._ticker("licence places", PLACES_SECONDS, places.tick),
            self._ticker("instance slot", SLOT_SECONDS, self._renew_slot),
            self._ticker("store clocks", 5.0, self._refresh_clocks),
            self._ticker("row order", PRUNE_SECONDS, self._prune),
        ]

    def _ticker(self, name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> Ticker:
        return Ticker(self._world.reactor, name, seconds, work)

    @property
    def in_flight(self) -> int:
        """How many deliveries and background works are under way."""
        in_flight: int = sum(consumer.in_flight for consumer in self._consumers.values())
        return in_flight + self._core.tracker.in_flight

    def reaches(self, peer: str) -> bool:
        """Whether there is a link to another platform's broker."""
        return self._core.post.reaches(peer)

    def refuse(self) -> None:
        """Take only what CMs ask, what MCUs list, and licences and domains: the own platform is abnormal."""
        self.duty.suspended()
        # Refusals go through the outbox: what is delivered must not be sent again once the platform is normal.
        self._flush.start()
        self._doubtful.start()
        self.reporting.start()
        self._consume(to.OFF_DUTY_QUEUES)
        self._licence_ticker.start(at_once=True)

    def resume(self) -> None:
        """The own platform is normal, or normal again: what the BMC changed meanwhile may have been missed."""
        self.licences.ask_again()
        if to.BMC_QUEUE in self._consumers:
            self._core.tracker.run(self.licences.try_to_ask(), "asking for licences again")

    async def begin(self) -> None:
        """Claim a slot, measure the stores' clocks, tick, and only then consume; a store that is away is waited for."""
        while not self._ended:
            try:
                await self._renew_slot()
                await self.clocks.refresh(self._world.stores[self._settings.platform.moid])
                await self.duty.tick()
                await self._legacy.read()
                break
            except StoreError as error:
                self.log.warn("waiting for the own Redis: {error}", error=str(error))
                await deferLater(self._world.reactor, 1.0)
        if not self._ended:
            await self._rebuilding.first_look(self._world.reactor, FIRST_LOOK_SECONDS)
        if self._ended:
            return
        self._begun = True
        for ticker in self.tickers:
            ticker.start()
        self.reporting.start()
        self.liveness.begin_to_consume(self._grace_ms)
        self._consume(to.WORK_QUEUES)
        self._licence_ticker.start(at_once=True)

    def _consume(self, queues: Sequence[str]) -> None:
        for queue in queues:
            if queue not in self._consumers:
                consumer = self._world.own_bus.consume(queue, self._dispatcher, self._settings.amqp.prefetch)
                self._consumers[queue] = consumer

    async def end(self) -> None:
        """Stop in order: consumers, work in flight, timers, what the outbox can still forget.

        What is not done within `END_SECONDS` is left to the other instances, as if this one had been killed.
        """
        self._ended = True
        reactor, core = self._world.reactor, self._core
        until = reactor.seconds() + END_SECONDS
        consumers, self._consumers = list(self._consumers.values()), {}
        tickers = (*self.tickers, self._licence_ticker)
        drained = await ended_by(until, reactor, *(consumer.cancel() for consumer in consumers))
        drained &= await ended_by(until, reactor, core.tracker.drained())
        drained &= await ended_by(until, reactor, *(ticker.stop() for ticker in tickers), self.reporting.stop())
        if not drained:
            # Its slot stays its own, since what is under way may still make epochs.
            self.log.warn("what is still under way {seconds} s after the stop is left to others", seconds=END_SECONDS)
            return
        if self._begun:
            await self._last_words()
        await core.tracker.drained()

    async def _last_words(self) -> None:
        try:
            await self._core.finish()
            await self.liveness.flush()
            await self._world.state().release_slot(self._settings.instance.name)
        except Exception as error:
            self.log.warn("left to the other instances at stop: {error}", error=str(error))

    async def _prune(self) -> None:
        """Forget the order of rows that were deleted long ago. Fails with `SqlError`."""
        database = self._world.database()
        while database is not None and await database.prune(ROW_ORDER_KEPT_SECONDS, PRUNE_BATCH) == PRUNE_BATCH:
            pass

    async def _renew_slot(self) -> None:
        slot = await self._world.state().claim_slot(self._settings.instance.name, SLOT_LEASE_MS)
        self._core.epochs.move_to(slot)

    async def _refresh_clocks(self) -> None:
        waits: list[Deferred[Any]] = [
            Deferred.fromCoroutine(self.clocks.refresh(store))
            for store in self._world.stores.values()
            if store.available
        ]
        await DeferredList(waits, consumeErrors=True)
