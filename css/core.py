"""What every handler and timer of an instance is built on: clocks, steps, outbox, placement, signs of life."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime

from css.config import Settings, TimersSection
from css.domain.epochs import EpochSource
from css.domain.events import Rules
from css.domain.platforms import Platforms
from css.handlers.carriers import BatchCarrier, RowWriter
from css.handlers.clocks import StoreClocks
from css.handlers.domains import DomainCache
from css.handlers.doubtful import Doubtful
from css.handlers.duty import Doubts, Duty
from css.handlers.effects import Composer
from css.handlers.following import Following
from css.handlers.forwarding import Forwarding
from css.handlers.letters import LEDGER_LANE, LOAD_LANE, SQL_LANE, TAKE_LANE
from css.handlers.liveness import Liveness
from css.handlers.lookup import Lookup
from css.handlers.outbox import Outbox, Post
from css.handlers.placing import Placing
from css.handlers.probes import Probe
from css.handlers.requests import Answers
from css.handlers.steps import Steps
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.handlers.trails import Trails
from css.ports.bus import IBus
from css.ports.ledger import ILedger, LedgerStep
from css.ports.licence import ILicenceCipher
from css.ports.planned import ILocatorBook, IPlannedConferences
from css.ports.sql import IConferenceDatabase
from css.ports.store import IConferenceStore, IPlatformState

SHORTEST_LEASE_SECONDS = 1.0


class World(msgspec.Struct):
    """What an instance works with; the parts that can change are asked for at each use."""

    reactor: IReactorTime
    random: Random
    own_bus: IBus
    platforms: Callable[[], Platforms]
    stores: Mapping[str, IConferenceStore]
    state: Callable[[], IPlatformState]
    ledger: Callable[[], ILedger]
    planned: Mapping[str, IPlannedConferences]
    book: Callable[[], ILocatorBook]
    peers: Mapping[str, IBus]
    database: Callable[[], IConferenceDatabase | None]
    domains: DomainCache
    cipher: ILicenceCipher
    session: str
    """A text that no other run of any instance has."""
    probe: Probe


class Core:
    """Built once from the settings; the parts are for the handlers and timers to be made with."""

    def __init__(self, settings: Settings, world: World, tally: Tally) -> None:
        own, timers = settings.platform.moid, settings.timers
        self.own = own
        self.settings = settings
        self.world = world
        self.tally = tally
        self.tracker = Tracker()
        self.clocks = StoreClocks(world.reactor)
        self.epochs = EpochSource(0)
        self.lease_ms = lease_ms_of(timers)
        self.booking_lease_ms = 2 * milliseconds(timers.creating_timeout_seconds)
        self.post = Post(
            world.reactor,
            self.clocks,
            world.own_bus,
            world.peers,
            tally,
            milliseconds(timers.unroutable_seconds),
        )
        self.outbox = Outbox(own, self.clocks, self.post, self.tracker, self.lease_ms, world.probe)
        self._make_carriers()
        self.liveness = Liveness(own, world.state, self.clocks, milliseconds(timers.mcu_timeout_seconds))
        grace_ms = milliseconds(timers.sync_grace_seconds)
        self.duty = Duty(own, world.platforms, world.state, self.clocks, grace_ms)
        self.doubts = Doubts(own, self.duty, world.ledger, self.epochs)
        self.placing = self._make_placing()
        composer = Composer(own, world.platforms)
        self.steps = Steps(rules_of(settings), self.clocks, composer, self.outbox, tally, world.probe)
        self.steps.may_write = lambda: self.duty.on
        self.lookup = Lookup(own, world.platforms, world.stores, tally)
        self.answers = Answers(own, world.stores, self.clocks, self.outbox, self.post, tally, world.probe)
        self._make_following()

    def _make_placing(self) -> Placing:
        return Placing(
            self.own,
            self.world.platforms,
            self.world.state,
            self.clocks,
            self.epochs,
            self.world.random,
            self.tracker,
            self.liveness.silent_before_ms,
            self.booking_lease_ms,
            max(1, round(self.settings.timers.mcu_penalty_seconds)),
        )

    def _make_following(self) -> None:
        """What knows of requests that other platforms decide on."""
        own, world, tally = self.own, self.world, self.tally
        trails = Trails(own, world.stores, world.peers)
        self.doubtful = Doubtful(
            own,
            world.stores,
            self.clocks,
            world.own_bus,
            world.peers,
            self.answers,
            trails,
            tally,
            world.session,
            world.probe,
        )
        self.forwarding = Forwarding(own, world.peers, tally, trails, self.doubtful, world.probe)
        self.following = Following(own, world.stores, trails, self.answers, self.forwarding, self.doubtful)

    def _make_carriers(self) -> None:
        world = self.world
        self.rows = RowWriter(world.database, self.outbox, self.tracker, self.tally, world.probe)

        async def free(bookings: list[tuple[str, str]]) -> None:
            await world.state().unbook(bookings)

        async def take(bookings: list[tuple[str, str]]) -> None:
            await world.state().rebook(bookings, self.booking_lease_ms)

        async def note(steps: list[LedgerStep]) -> None:
            await world.ledger().note(steps)

        rest = (self.outbox, self.tracker, world.probe)
        freer = BatchCarrier(LOAD_LANE, lambda parcel: parcel.bookings, free, *rest)
        taker = BatchCarrier(TAKE_LANE, lambda parcel: parcel.bookings, take, *rest)
        writer = BatchCarrier(LEDGER_LANE, lambda parcel: parcel.steps, note, *rest)
        # Taken before given back: one that was both within a moment must not stay taken.
        self.batches: tuple[BatchCarrier[Any], ...] = (taker, freer, writer)
        self.outbox.carriers[SQL_LANE] = self.rows.carry
        self.outbox.carriers.update({carrier.lane: carrier.carry for carrier in self.batches})

    def has_flushed(self) -> bool:
        """Whether `flush` would find nothing to do."""
        return self.outbox.is_clear and not any(carrier.waits for carrier in self.batches)

    async def flush(self) -> None:
        """Begin to carry out what is neither message nor row, and forget what is done. Fails with `StoreError`."""
        for carrier in self.batches:
            carrier.tick()
        await self.outbox.flush(self.world.stores)

    async def write_rows(self) -> None:
        """Begin to write the rows that wait."""
        self.rows.tick()

    async def finish(self) -> None:
        """Carry out what is no message, and forget what is done. Fails with `StoreError`."""
        await self.rows.apply_waiting()
        for carrier in self.batches:
            await carrier.apply_waiting()
        await self.outbox.flush(self.world.stores)


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)


def lease_ms_of(timers: TimersSection) -> int:
    """How long an instance is left alone with what it is to send. What has reached no queue is tried again, and parked,
    when that is over: so it does not outlast `unroutable_seconds`, but for the time that a step takes at least.
    """
    return milliseconds(min(timers.outbox_lease_seconds, max(SHORTEST_LEASE_SECONDS, timers.unroutable_seconds)))


def rules_of(settings: Settings) -> Rules:
    """What decisions depend on."""
    timers = settings.timers
    return Rules(
        request_timeout_ms=milliseconds(timers.request_timeout_seconds),
        creating_timeout_ms=milliseconds(timers.creating_timeout_seconds),
        restore_interval_ms=milliseconds(timers.restore_interval_seconds),
        legacy_wait_ms=milliseconds(timers.legacy_wait_seconds),
        monitor_timeout_ms=milliseconds(timers.monitor_timeout_seconds),
        small_terminals=settings.license.small_conference_terminals,
    )
