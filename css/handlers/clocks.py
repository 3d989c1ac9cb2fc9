"""Time, as each store tells it: deadlines of a conference are judged by one clock only, that of its store."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from css.ports.store import IConferenceStore


class StoreClocks:
    """The local clock plus the measured offset to each store's clock.

    Before the first `refresh` of a store the offset of the last measured one, else none, is assumed.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._offsets_ms: dict[str, int] = {}
        self._last_ms = 0

    def local_ms(self) -> int:
        """This machine's clock, milliseconds since the epoch."""
        return int(self._reactor.seconds() * 1000)

    def now_ms(self, platform: str) -> int:
        """The clock of a platform's store, milliseconds since the epoch."""
        return int(self._reactor.seconds() * 1000) + self._offsets_ms.get(platform, self._last_ms)

    async def know(self, store: IConferenceStore) -> None:
        """Measure a store's clock, unless that has been done: a machine's own may be wrong by hours. Fails with
        `StoreError`.
        """
        if store.platform not in self._offsets_ms:
            await self.refresh(store)

    async def refresh(self, store: IConferenceStore) -> None:
        """Measure a store's clock; half of the round trip is taken off. Fails with `StoreError`."""
        asked_ms = self.local_ms()
        store_ms = await store.now_ms()
        answered_ms = self.local_ms()
        self._last_ms = self._offsets_ms[store.platform] = store_ms - (asked_ms + answered_ms) // 2
