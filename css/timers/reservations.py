"""Places under licences that no record has: hands and failovers leave them behind, steps do not (seed 4.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from css.domain.conference import Size
from css.domain.platforms import Platforms
from css.handlers.steps import licence_set
from css.handlers.tally import Tally
from css.ports.store import Fields, IConferenceStore

PAGE = 200
PAGES_A_TICK = 20
ROUND_SECONDS = 900.0
"""From the beginning of one round to that of the next, at least; the first begins so long after the start."""


class ReservationSweep:
    """Looks through the sets of counted conferences of every store that is served, some pages at a time."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        tally: Tally,
    ) -> None:
        self._reactor = reactor
        self._platforms = platforms
        self._stores = stores
        self._tally = tally
        self._begun = reactor.seconds()
        self._todo: list[tuple[str, str]] = []
        """(platform, set) that are still to be looked through; the last one is under way."""
        self._cursor = ""

    async def tick(self) -> None:
        """Some pages. Fails with `StoreError`; the set that is under way is begun anew then."""
        if not self._todo and self._reactor.seconds() - self._begun >= ROUND_SECONDS:
            self._begun = self._reactor.seconds()
            await self._plan()
        for _ in range(PAGES_A_TICK):
            if not self._todo:
                return
            await self._page(*self._todo[-1])

    async def _plan(self) -> None:
        for platform in self._platforms().service:
            store = self._stores.get(platform)
            if store is not None and store.available:
                domains: dict[str, Fields] = await store.read_hashes("domain/", "/info")
                moids = [key.split("/")[1] for key in domains]
                self._todo += [(platform, licence_set(moid, size)) for moid in moids for size in Size]

    async def _page(self, platform: str, name: str) -> None:
        store, cursor, self._cursor = self._stores.get(platform), self._cursor, ""
        dropped = 0
        if store is not None and store.available:
            dropped, self._cursor = await store.sweep_reservations(name, cursor, PAGE)
        if dropped:
            self._tally.count("reservations_dropped", dropped)
            self.log.warn("{count} places of {name} belonged to no conference: given back", count=dropped, name=name)
        if not self._cursor:
            self._todo.pop()
