"""The restore timer (seed 9.1): what waits to be restored, on every platform that is served, paced and by urgency."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from css.domain.conference import pending_index
from css.domain.platforms import Platforms
from css.handlers.restoring import Pending, Restoring
from css.ports.store import IConferenceStore, IPlatformState, StoreError

PAGE = 500
LEASE_MS = 5_000
"""How long a claimed conference is left to the instance that claimed it."""
BUCKET = "restore"


class RestoreTimer:
    """One round begins the restores that are due, as far as the rate allows.

    @param rate_per_second: of all platforms that are served here and all instances, together; 0: unlimited.
    """

    log = Logger()

    def __init__(
        self,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        state: Callable[[], IPlatformState],
        restoring: Restoring,
        rate_per_second: float,
    ) -> None:
        self._platforms = platforms
        self._stores = stores
        self._state = state
        self._restoring = restoring
        self._rate_per_second = rate_per_second
        self._rounds = 0

    async def tick(self) -> None:
        """One round. A store that is away does not keep the others waiting. Fails with the last `StoreError`."""
        failed: StoreError | None = None
        service = self._platforms().service
        # Each has the first choice of the places in its turn: what waits in one store may have use for all of them.
        first = self._rounds % len(service)
        self._rounds += 1
        for moid in service[first:] + service[:first]:
            store = self._stores.get(moid)
            try:
                if store is not None:
                    await self._tick_store(store)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _tick_store(self, store: IConferenceStore) -> None:
        await self._overdue(store)
        while True:
            ready, more = await store.ready_restores(PAGE)
            while more:
                ready, more = await store.ready_restores(PAGE)
            places = await self._draw(min(ready, PAGE))
            await self._begin_first(store, places)
            if places < PAGE:
                return

    async def _overdue(self, store: IConferenceStore) -> None:
        """What is due of those that wait and is no attempt: it needs no place in the rate."""
        while True:
            numbers = await store.claim_due(pending_index(store.platform), LEASE_MS, PAGE)
            await self._restoring.settle(store, numbers)
            if len(numbers) < PAGE:
                return

    async def _begin_first(self, store: IConferenceStore, places: int) -> None:
        """Begin so many restores, the most urgent first. Places that are left when other instances were faster
        are forgone."""
        while places:
            numbers = await store.claim_restores(LEASE_MS, places)
            waiting = await self._restoring.load(store, numbers)
            begun = [Deferred.fromCoroutine(self._begin(each)) for each in waiting]
            await DeferredList(begun, consumeErrors=True)
            places = places - len(waiting) if numbers else 0

    async def _draw(self, want: int) -> int:
        """How many of those that are ready may begin. None while a person has paused them: the rest goes on."""
        if not want or await self._state().is_paused():
            return 0
        if not self._rate_per_second:
            return want
        burst = max(1, round(self._rate_per_second / 2))
        return await self._state().draw(BUCKET, self._rate_per_second, burst, want)

    async def _begin(self, pending: Pending) -> None:
        try:
            await self._restoring.begin(pending)
        except StoreError as error:
            self.log.info("{e164}: its restore waits: {error}", e164=pending.conference.e164, error=str(error))
        except Exception:
            self.log.failure("{e164}: its restore failed", e164=pending.conference.e164)
