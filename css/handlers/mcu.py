"""What MCUs say about conferences and themselves (seed 1.1, 9)."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from css.domain import expiry
from css.domain.conference import Conference, parse_placement
from css.domain.creation import hosts_to_try, names_placement
from css.domain.events import (
    DeadlinePassed,
    Event,
    McuAccepted,
    McuEnded,
    McuProcess,
    McuRefused,
    Placement,
    StateChanged,
)
from css.handlers.aside import NothingThere
from css.handlers.dispatch import Routes
from css.handlers.duty import Doubts
from css.handlers.liveness import Liveness
from css.handlers.lookup import Lookup
from css.handlers.others import OthersAnswers
from css.handlers.placing import Placing, StepBookings
from css.handlers.requests import seen_once
from css.handlers.steps import Steps
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.messages.create import McuCreateAck, McuCreateNack, McuReleaseNotice
from css.messages.mcu import DisconnectNotice, HeartbeatNotice, RestoreAck, RestoreNack, StateChangeNotice
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore, StoreError

CLOCK_TOLERANCE_MS = 100
"""The store said that a deadline has come; by the clock as it was last measured it may seem a little too early."""


class McuAnswers:
    """Takes the answers and notices of MCUs, and the silence of those that do not answer."""

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        lookup: Lookup,
        steps: Steps,
        placing: Placing,
        liveness: Liveness,
        doubts: Doubts,
        tracker: Tracker,
        tally: Tally,
    ) -> None:
        self._own = own
        self._stores = stores
        self._lookup = lookup
        self._steps = steps
        self._placing = placing
        self._liveness = liveness
        self._doubts = doubts
        self._tracker = tracker
        self._tally = tally
        self._others = OthersAnswers(own, stores, steps.clocks, tally)

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {
            McuCreateAck: self._others.guarded(self.accepted),
            McuCreateNack: self._others.guarded(self.refused),
            RestoreAck: self._others.guarded(self.accepted),
            RestoreNack: self._others.guarded(self.refused),
            McuReleaseNotice: self._others.guarded(self.ended),
            StateChangeNotice: self.changed,
            HeartbeatNotice: self.heard,
            DisconnectNotice: self.disconnected,
        }

    async def accepted(self, ack: McuCreateAck | RestoreAck, delivery: Delivery) -> None:
        """An MCU process has started a conference."""
        store = await self._store_of(ack.confE164, ack.epoch, delivery)
        if store is None:
            return

        async def prepare(c: Conference | None, now_ms: int) -> Event:
            return McuAccepted(
                now_ms=now_ms, platform=self._own, ip=ack.ip, pid=ack.pid, epoch=ack.epoch, time=ack.time
            )

        decision = await self._steps.take(store, ack.confE164, "accept", prepare)
        self._liveness.confirmed(ack.ip, ack.pid)
        if decision is not None and decision.changed:
            self._placing.answered(ack.ip)

    async def refused(self, nack: McuCreateNack | RestoreNack, delivery: Delivery) -> None:
        """A host has refused a conference: the next one is booked and asked."""
        store = await self._store_of(nack.confE164, nack.epoch, delivery)
        if store is None:
            return
        await self._refused(store, nack.confE164, nack.ip, nack.epoch, silent=False)

    def silent_at_once(self, token: str) -> None:
        """The request of a placement reached no queue: its host is not there."""
        placement = parse_placement(token)
        store = self._stores.get(placement[0]) if placement else None
        if placement is None or store is None:
            return
        _, e164, epoch = placement
        self._tally.count("mcu_without_queue")
        # Not awaited: this is called from within a step of the same conference.
        self._tracker.run(self._refused(store, e164, "", epoch, silent=True), f"next MCU for {e164}")

    async def _refused(self, store: IConferenceStore, e164: str, ip: str, epoch: int | None, *, silent: bool) -> None:
        bookings = StepBookings(self._placing)

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None or c.platformmoid != self._own:
                return None
            host = ip or c.ip
            placement = await _next_host(bookings, c, now_ms) if names_placement(c, host, epoch) else None
            served = self._placing.serves(c.source)
            return McuRefused(now_ms=now_ms, ip=host, epoch=epoch, silent=silent, placement=placement, served=served)

        decision = await self._steps.take(store, e164, "refuse", prepare)
        bookings.settle(decision)
        if decision is not None and decision.penalise:
            self._placing.penalise(decision.penalise)

    async def overdue(self, store: IConferenceStore, e164: str) -> None:
        """What a conference awaits has not come in time.

        @raise NothingThere: there is no such conference.
        """
        bookings, is_there = StepBookings(self._placing), True

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            nonlocal is_there
            is_there = c is not None
            if c is None or not c.due_ms or now_ms + CLOCK_TOLERANCE_MS < c.due_ms:
                return None
            now_ms = max(now_ms, c.due_ms)
            if expiry.is_over(c, now_ms + CLOCK_TOLERANCE_MS):
                now_ms = max(now_ms, c.endtime * 1000)
            placement = await _next_host(bookings, c, now_ms)
            return DeadlinePassed(now_ms=now_ms, placement=placement, served=self._placing.serves(c.source))

        decision = await self._steps.take(store, e164, "overdue", prepare)
        bookings.settle(decision)
        if not is_there:
            raise NothingThere(e164)
        if decision is not None and decision.penalise:
            self._placing.penalise_silence(decision.penalise, self._steps.rules.request_timeout_ms)

    async def ended(self, notice: McuReleaseNotice, delivery: Delivery) -> None:
        """A placement is over on its MCU."""
        store = await self._store_of(notice.confE164, notice.epoch, delivery)
        if store is None:
            return

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None:
                return None
            is_its_own = (c.ip, c.pid) == (notice.ip, notice.pid) and notice.epoch in (None, c.epoch)
            if is_its_own and (loss := await self._doubts.loss(c, now_ms)):
                return loss
            return McuEnded(now_ms=now_ms, platform=self._own, ip=notice.ip, pid=notice.pid, epoch=notice.epoch)

        await self._steps.take(store, notice.confE164, "ended", prepare)

    async def changed(self, notice: StateChangeNotice, delivery: Delivery) -> None:
        """A conference has another name or password (seed 5.1, 5.2)."""
        store = await self._store_of(notice.confE164, None, delivery)
        if store is None:
            if not delivery.redelivered:
                raise StoreError(f"{notice.confE164}: no record found, and not every store answered")
            return  # no list repairs a name, so it was tried once more; for ever would fill the queue
        mcu = McuProcess(self._own, notice.ip, notice.pid)

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None:
                return None
            return StateChanged(now_ms=now_ms, mcu=mcu, confname=notice.confname, password=notice.password)

        # One that comes again, after the next one, would bring the earlier name back.
        once = seen_once(notice, delivery, notice.confE164)
        await self._steps.take(store, notice.confE164, "change", prepare, once)

    async def heard(self, notice: HeartbeatNotice, delivery: Delivery) -> None:
        """A sign of life; it was noted before this handler was called."""

    async def disconnected(self, notice: DisconnectNotice, delivery: Delivery) -> None:
        """The link layer has lost a process (seed 9.4): nothing new is placed there."""
        await self._liveness.disconnected(notice.ip, notice.pid)

    async def _store_of(self, e164: str, epoch: int | None, delivery: Delivery) -> IConferenceStore | None:
        """The store that has the conference: told by the correlation id, else found by the number.

        None: no store that answered has a record or a tombstone of it, and that of another platform can't be asked. The
        message is dropped: given back it would fill the queue for as long as that store is away, and the MCU's next
        lists say the same once it is back. Fails with `StoreError` while the own store is away.
        """
        placement = parse_placement(delivery.correlation_id)
        if placement is not None and placement[1] == e164 and placement[0] in self._stores:
            return self._stores[placement[0]]
        found = await self._lookup.find(e164)
        if found.store is not None:
            return found.store
        if self._own in found.silent:
            raise StoreError(f"{e164}: no record found, and the own store did not answer")
        if found.silent and not found.covers(epoch):
            self._tally.count("mcu_answers_left_to_lists")
            return None
        return self._stores[self._own]


async def _next_host(bookings: StepBookings, c: Conference, now_ms: int) -> Placement | None:
    hosts = hosts_to_try(c, now_ms)
    room = c.attempt.roommoid if c.attempt else ""
    return await bookings.book(c, hosts, room, now_ms)
