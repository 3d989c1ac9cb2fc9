"""Monitors of conferences (seed 10): noted before their MCU is asked, kept alive by heartbeats, ended when silent."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from css.domain.conference import Conference, State
from css.domain.errors import ErrCode
from css.domain.events import Event, MonitorHeard, MonitorsDue, MonitorStarted, MonitorStopped
from css.domain.monitoring import refusal
from css.domain.platforms import Platforms
from css.handlers.aside import NothingThere
from css.handlers.dispatch import Routes
from css.handlers.forwarding import Forwarding
from css.handlers.hops import has_hopped
from css.handlers.lookup import Found, Lookup
from css.handlers.steps import Steps
from css.handlers.tally import Tally
from css.messages.control import CmRequest, MonitorHeartbeatNotice, StartMonitorRequest
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore, StoreError


class Monitoring:
    """Notes the monitors of what runs here in the Redis of its source platform."""

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        lookup: Lookup,
        steps: Steps,
        forwarding: Forwarding,
        tally: Tally,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._lookup = lookup
        self._steps = steps
        self._forwarding = forwarding
        self._tally = tally

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {MonitorHeartbeatNotice: self.heard}

    async def before_passing(self, request: CmRequest, c: Conference, store: IConferenceStore) -> ErrCode | None:
        """A request is about to go to its MCU: note the start of a monitor.

        @return: why it must not go. Fails with `StoreError` if it can't be noted, or the conference has just moved.
        """
        if not isinstance(request, StartMonitorRequest):
            return None
        refused: ErrCode | None = None

        async def prepare(now: Conference | None, now_ms: int) -> Event | None:
            nonlocal refused
            refused = refusal(now, request.monitorid) if now is not None else None
            if now is None or refused is not None:
                return None
            return MonitorStarted(now_ms=now_ms, monitorid=request.monitorid, platform=self._own, epoch=c.epoch)

        step = await self._steps.take(store, c.e164, "monitor_start", prepare)
        if refused is None and (step is None or not step.changed):
            raise StoreError(f"{c.e164} has moved while a monitor was to start")
        return refused

    async def heard(self, notice: MonitorHeartbeatNotice, delivery: Delivery) -> None:
        """A monitor is still wanted: noted where the conference runs. It goes to no MCU."""
        if self._platforms().own_abnormal:
            self._dropped(notice)
            return
        found = await self._lookup.find(notice.confE164, first=True)
        c = found.conference(notice.confE164)
        if c is None or found.store is None:
            self._without_record(found, notice, delivery)
        elif c.state is State.ONGOING and c.platformmoid != self._own:
            if has_hopped(delivery) or not await self._forwarding.forward(delivery, c.e164, c.platformmoid):
                self._dropped(notice)
        else:
            await self._note(found.store, notice)

    def _without_record(self, found: Found, notice: MonitorHeartbeatNotice, delivery: Delivery) -> None:
        # The own store is needed for everything. For another platform's this is tried once more only: for ever would
        # fill the queue while that is away.
        if self._own in found.silent or (found.silent and not delivery.redelivered):
            raise StoreError(f"{notice.confE164}: no record found, and not every store answered")
        self._dropped(notice)

    async def _note(self, store: IConferenceStore, notice: MonitorHeartbeatNotice) -> None:
        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            return None if c is None else MonitorHeard(now_ms=now_ms, monitorid=notice.monitorid)

        step = await self._steps.take(store, notice.confE164, "monitor_heard", prepare)
        if step is None or not step.changed:
            self._tally.count("monitor_heartbeats_ignored")

    def _dropped(self, notice: MonitorHeartbeatNotice) -> None:
        self._tally.count("monitor_heartbeats_dropped")
        self.log.info("{e164}: heartbeat of monitor {id} dropped", e164=notice.confE164, id=notice.monitorid)

    async def stopped(self, e164: str, monitorid: str, started_ms: int) -> None:
        """An MCU has acknowledged that it has stopped a monitor. Never fails: what is not forgotten now expires."""

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            return None if c is None else MonitorStopped(now_ms=now_ms, monitorid=monitorid, started_ms=started_ms)

        store = (await self._lookup.find(e164, first=True)).store
        try:
            if store is not None:
                await self._steps.take(store, e164, "monitor_stop", prepare)
        except StoreError as error:
            self.log.info("{e164}: a stopped monitor is left to expire: {error}", e164=e164, error=str(error))

    async def overdue(self, store: IConferenceStore, e164: str) -> None:
        """The time of a monitor may have run out: its MCU is told to stop. Fails with `StoreError`.

        @raise NothingThere: there is no such conference.
        """
        is_there = True

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            nonlocal is_there
            is_there = c is not None
            return None if c is None else MonitorsDue(now_ms=now_ms, platform=self._own)

        step = await self._steps.take(store, e164, "monitor_expiry", prepare)
        if not is_there:
            raise NothingThere(e164)
        if step is not None and step.changed:
            self._tally.count("monitors_expired", len(step.effects))
            self.log.info("{e164}: {because}", e164=e164, because=step.because)
