"""Bookings of MCU load are compared with their records once, after their lease; what no record names is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.logger import Logger

from css.domain.conference import Conference, State, from_fields, parse_placement
from css.handlers.tally import Tally
from css.ports.store import IConferenceStore, IPlatformState, StoreError

PAGE = 200


class BookingCheck:
    """What a crash between booking and commit leaves behind is found here.

    @param lease_ms: when a booking whose record can't be read now is looked at again.
    """

    log = Logger()

    def __init__(
        self,
        state: Callable[[], IPlatformState],
        stores: Mapping[str, IConferenceStore],
        tally: Tally,
        lease_ms: int,
    ) -> None:
        self._state = state
        self._stores = stores
        self._tally = tally
        self._lease_ms = lease_ms

    async def tick(self) -> None:
        """Look at the bookings whose lease has run out. Fails with `StoreError`."""
        while await self._look() == PAGE:
            pass

    async def _look(self) -> int:
        bookings = await self._state().claim_bookings(self._lease_ms, PAGE)
        settled: list[tuple[str, str]] = []
        stale: list[tuple[str, str]] = []
        used: set[tuple[str, str]] = set()
        for ip, token in bookings:
            try:
                holder = await self._holder(ip, token)
            except StoreError:
                continue
            (settled if holder else stale).append((ip, token))
            if holder is not None and holder.state is State.ONGOING:
                used.add((ip, holder.pid))
        if settled:
            # Whoever took the ACK may have died before it had written down which process it came from.
            await self._state().expect_processes(sorted(used))
            await self._state().settle_bookings(settled)
        if stale:
            self._tally.count("bookings_dropped", len(stale))
            await self._state().unbook(stale)
        return len(bookings)

    async def _holder(self, ip: str, token: str) -> Conference | None:
        """The conference whose record names the placement there. Fails with `StoreError`: nobody can tell now."""
        placement = parse_placement(token)
        if placement is None:
            return None
        platform, e164, epoch = placement
        store = self._stores.get(platform)
        if store is None:
            raise StoreError(f"the store of {platform} is not known")
        loaded = await store.load(e164)
        if not loaded.record:
            return None
        try:
            c = from_fields(e164, loaded.record, loaded.conf)
        except ValueError as error:
            self.log.error("{e164}: ALERT: {error}", e164=e164, error=str(error))
            raise StoreError(f"{e164}: its record can't be read") from error
        return c if (c.ip, c.epoch) == (ip, epoch) else None
