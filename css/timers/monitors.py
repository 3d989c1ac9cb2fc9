"""Monitors that nobody has heard of for too long: looked for by those who have listened that long (seed 10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.internet.interfaces import IReactorTime

from css.domain.conference import monitor_index
from css.handlers.due import DueWork
from css.handlers.tally import Tally
from css.ports.bus import IBus
from css.ports.store import IConferenceStore

SHORTEST_STALL_SECONDS = 2.0


class MonitorWatch:
    """One round takes what has expired, of every store whose heartbeats this instance could have noted for a time-out.

    While the own broker or that store is away, or this instance stands still, heartbeats wait or fail: no monitor is
    ended for that. A monitor that has died then is ended at most one time-out later.

    @param overdue: takes one conference of a store.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        own: str,
        bus: IBus,
        stores: Mapping[str, IConferenceStore],
        overdue: Callable[[IConferenceStore, str], Awaitable[None]],
        tally: Tally,
        timeout_seconds: float,
    ) -> None:
        self._reactor = reactor
        self._bus = bus
        self._stores = stores
        self._timeout_seconds = timeout_seconds
        self._listening: dict[str, tuple[IConferenceStore, int, float]] = {}
        self._last_seconds = reactor.seconds()
        self._believed: dict[str, IConferenceStore] = {}
        self._work = DueWork(monitor_index(own), self._believed.values, overdue, tally)
        bus.on_state_change(self._interrupted)

    async def tick(self) -> None:
        """One round. Fails with `StoreError`."""
        now = self._reactor.seconds()
        stall = max(SHORTEST_STALL_SECONDS, self._timeout_seconds / 3)
        if not self._bus.connected or now - self._last_seconds > stall:
            self._listening.clear()
        self._last_seconds = now
        self._believed.clear()
        self._believed.update((moid, store) for moid, store in self._stores.items() if self._is_believed(store, now))
        await self._work.tick()

    def _is_believed(self, store: IConferenceStore, now: float) -> bool:
        if not (store.available and self._bus.connected):
            self._listening.pop(store.platform, None)
            return False
        known = self._listening.get(store.platform)
        if known is None or known[:2] != (store, store.links):
            known = self._listening[store.platform] = (store, store.links, now)
        return now - known[2] >= self._timeout_seconds

    def _interrupted(self, connected: bool) -> None:
        """The link to the own broker has gone, or is there anew."""
        self._listening.clear()
