"""The restore timer (seed 9.1): what waits to be restored, on every platform that is served, paced and by urgency."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from css.domain.platforms import Platforms
from css.handlers.restoring import Pending, Restoring
from css.ports.store import IConferenceStore, IPlatformState, StoreError

PAGE = 500
LEASE_MS = 5_000
"""How long a claimed conference is left to the instance that claimed it."""
BUCKET = "restore"


class RestoreTimer:
    """One round begins the restores that are due, as far as the rate allows.

    @param rate_per_second: of all instances together; 0: unlimited.
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

    async def tick(self) -> None:
        """One round. A store that is away does not keep the others waiting. Fails with the last `StoreError`."""
        if self._platforms().own_abnormal:
            return
        failed: StoreError | None = None
        for moid in self._platforms().service:
            store = self._stores.get(moid)
            try:
                if store is not None:
                    await self._tick_store(store)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _tick_store(self, store: IConferenceStore) -> None:
        index = f"restore/{store.platform}"
        while True:
            numbers = await store.claim_due(index, LEASE_MS, PAGE)
            waiting = await self._restoring.load(store, numbers)
            places = await self._draw(len(waiting))
            begun = [Deferred.fromCoroutine(self._begin(each)) for each in waiting[:places]]
            await DeferredList(begun, consumeErrors=True)
            # Without a place in the rate they are due again at once, in their old order.
            await store.put_back(index, [(late.conference.e164, late.conference.due_ms) for late in waiting[places:]])
            if len(numbers) < PAGE or places < len(waiting):
                return

    async def _draw(self, want: int) -> int:
        if not want or not self._rate_per_second:
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
