"""Conferences whose deadline has come: each is claimed by one instance, which lets the state machine decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from css.ports.store import IConferenceStore, StoreError

LEASE_MS = 5_000
"""How long a claimed conference is left to the instance that claimed it."""
PAGE = 100


class DueWork:
    """One round asks every store for what is due on this platform.

    @param index: its members by when they are due.
    @param overdue: takes one conference of a store.
    """

    log = Logger()

    def __init__(
        self,
        index: str,
        stores: Mapping[str, IConferenceStore],
        overdue: Callable[[IConferenceStore, str], Awaitable[None]],
    ) -> None:
        self._index = index
        self._stores = stores
        self._overdue = overdue

    async def tick(self) -> None:
        """One round. A store that is away does not keep the others waiting. Fails with the last `StoreError`."""
        failed: StoreError | None = None
        for store in list(self._stores.values()):
            try:
                await self._tick_store(store)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _tick_store(self, store: IConferenceStore) -> None:
        while True:
            numbers = await store.claim_due(self._index, LEASE_MS, PAGE)
            work = [Deferred.fromCoroutine(self._one(store, e164)) for e164 in numbers]
            await DeferredList(work, consumeErrors=True)
            if len(numbers) < PAGE:
                return

    async def _one(self, store: IConferenceStore, e164: str) -> None:
        try:
            await self._overdue(store, e164)
        except StoreError as error:
            self.log.info("{e164}: due, but its step waits: {error}", e164=e164, error=str(error))
        except Exception:
            self.log.failure("{e164}: due, but its step failed", e164=e164)
