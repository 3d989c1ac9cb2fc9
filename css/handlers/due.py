"""What is due in an index: each member is claimed by one instance, which takes it; none is forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from css.handlers.aside import UNREADABLE, NothingThere, SetAside
from css.handlers.tally import Tally
from css.ports.store import IConferenceStore, StoreError

LEASE_MS = 5_000
"""How long a claimed member is left to the instance that claimed it."""
PAGE = 100


class DueWork:
    """One round asks every store for what is due on this platform.

    @param index: its members, numbers or ids of ours that begin with one, by when they are due.
    @param stores: gives those that are asked.
    @param take: takes one member of a store. Unless it moves it in the index, or out of it, it comes again after the
        lease; what can't be read much later only.
    """

    log = Logger()

    def __init__(
        self,
        index: str,
        stores: Callable[[], Iterable[IConferenceStore]],
        take: Callable[[IConferenceStore, str], Awaitable[None]],
        tally: Tally,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._index = index
        self._stores = stores
        self._take = take
        self._lease_ms = lease_ms
        self._aside = SetAside(tally)

    async def tick(self) -> None:
        """One round. A store that is away does not keep the others waiting. Fails with the last `StoreError`."""
        failed: StoreError | None = None
        for store in list(self._stores()):
            try:
                await self._tick_store(store)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _tick_store(self, store: IConferenceStore) -> None:
        while True:
            numbers = await store.claim_due(self._index, self._lease_ms, PAGE)
            work = [Deferred.fromCoroutine(self._one(store, number)) for number in numbers]
            await DeferredList(work, consumeErrors=True)
            if len(numbers) < PAGE:
                return

    async def _one(self, store: IConferenceStore, number: str) -> None:
        try:
            await self._take(store, number)
        except UNREADABLE as error:
            await self._aside.put(store, self._index, number, error)
        except NothingThere:
            await self._aside.drop(store, self._index, number)
        except StoreError as error:
            self.log.info("{number}: due, but its step waits: {error}", number=number, error=str(error))
        except Exception:
            self.log.failure("{number}: due, but its step failed", number=number)
