"""Finding a conference by its number alone, over every store of this platform."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from css.handlers.tally import Tally
from css.ports.store import IConferenceStore, Loaded, StoreError


class Found(msgspec.Struct):
    """What the stores know of a number.

    `store` is None if no store that answered has a record; `all_answered` tells whether that is certain.
    """

    store: IConferenceStore | None
    loaded: Loaded | None
    all_answered: bool
    request: bytes | None = None
    """The remembered request that was asked for: None: unknown, empty: pending, else its answer."""


class Lookup:
    """Asks the own store first, then those of the possible platforms.

    @param stores: by moid, the own platform's first.
    """

    log = Logger()

    def __init__(self, own: str, stores: Mapping[str, IConferenceStore], tally: Tally) -> None:
        self._own = own
        self._stores = stores
        self._tally = tally

    async def find(self, e164: str, request_key: str = "") -> Found:
        """Never fails: a store that does not answer only makes `all_answered` false."""
        found = Found(None, None, True)
        for store in self._in_order():
            try:
                loaded = await store.load(e164, request_key)
            except StoreError as error:
                found.all_answered = False
                self.log.info(
                    "{e164}: store {name} is silent: {error}", e164=e164, name=store.platform, error=str(error)
                )
                continue
            if found.request is None:
                found.request = loaded.request
            if loaded.record:
                self._take(found, e164, store, loaded)
        return found

    def _in_order(self) -> list[IConferenceStore]:
        own = self._stores.get(self._own)
        others = [store for moid, store in self._stores.items() if moid != self._own]
        return [own, *others] if own is not None else others

    def _take(self, found: Found, e164: str, store: IConferenceStore, loaded: Loaded) -> None:
        if found.store is None or found.loaded is None:
            found.store, found.loaded = store, loaded
            return
        self._tally.count("found_twice")
        self.log.error(
            "{e164}: ALERT: in two stores, {one} and {two}: the higher epoch counts",
            e164=e164,
            one=found.store.platform,
            two=store.platform,
        )
        if _rank(loaded) > _rank(found.loaded):
            found.store, found.loaded = store, loaded


def _rank(loaded: Loaded) -> tuple[int, str]:
    """The higher epoch counts; of equal ones the greater `platformmoid` (contract, section 1)."""
    return int(loaded.record["epoch"]), loaded.record["platformmoid"]
