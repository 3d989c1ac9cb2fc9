"""Finding a conference by its number alone, over every store of this platform."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.logger import Logger

from css.domain.conference import Conference, from_fields
from css.domain.platforms import Platforms
from css.handlers.tally import Tally
from css.ports.store import Fields, IConferenceStore, Loaded, StoreError


class Found(msgspec.Struct):
    """What the stores know of a number.

    `store` is None if no store that answered has a record; `all_answered` tells whether that is certain.
    """

    store: IConferenceStore | None = None
    loaded: Loaded | None = None
    silent: tuple[str, ...] = ()
    """Moids of the own and possible platforms whose store did not answer, or is not known at all."""
    ended_epoch: int | None = None
    """The highest epoch among the tombstones: every placement of the number up to it is over, in whatever store."""
    request: bytes | None = None
    """The remembered request that was asked for: None: unknown, empty: pending, else its answer."""

    def conference(self, e164: str) -> Conference | None:
        """The record that was found, decoded."""
        return None if self.loaded is None else from_fields(e164, self.loaded.record, self.loaded.conf)

    @property
    def all_answered(self) -> bool:
        return not self.silent

    def covers(self, epoch: int | None) -> bool:
        """Whether the placement with this epoch is certainly over; without an epoch nobody can tell."""
        return is_covered(self.ended_epoch, epoch)


class Lookup:
    """Asks the own store first, then those of the possible platforms.

    @param stores: by moid, the own platform's first.
    """

    log = Logger()

    def __init__(
        self, own: str, platforms: Callable[[], Platforms], stores: Mapping[str, IConferenceStore], tally: Tally
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._tally = tally

    async def find(self, e164: str, request_key: str = "", first: bool = False) -> Found:
        """Never fails: a store that does not answer, or is not there, only makes `all_answered` false.

        @param first: a record that is found is enough: the other stores are not asked, so none can hold this up.
        """
        found = Found(silent=without_store(self._platforms(), self._stores))
        for store in self._in_order():
            try:
                loaded = await store.load(e164, request_key)
            except StoreError as error:
                found.silent += (store.platform,)
                self._silent(e164, store, error)
                continue
            if found.request is None:
                found.request = loaded.request
            found.ended_epoch = later(found.ended_epoch, loaded.tombstone)
            if loaded.record:
                self._take(found, e164, store, loaded)
                if first:
                    break
        return found

    def _silent(self, e164: str, store: IConferenceStore, error: StoreError) -> None:
        self.log.info("{e164}: store {name} is silent: {error}", e164=e164, name=store.platform, error=str(error))

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


def without_store(platforms: Platforms, stores: Mapping[str, IConferenceStore]) -> tuple[str, ...]:
    """Own and possible platforms that no store is known of (yet): what they hold can't be asked."""
    return tuple(moid for moid in platforms.possible_and_own if moid not in stores)


def later(epoch: int | None, tombstone: Fields) -> int | None:
    """The higher one of an epoch and a tombstone's; None: neither is there."""
    ended = tombstone.get("epoch")
    return epoch if ended is None else max(int(ended), epoch or 0)


def is_covered(ended_epoch: int | None, epoch: int | None) -> bool:
    """Whether a tombstone with the first epoch tells that the placement with the second one is over.

    Epochs of a number only grow, whichever store holds it: what is not newer than what has ended has ended too.
    """
    return ended_epoch is not None and epoch is not None and epoch <= ended_epoch


def _rank(loaded: Loaded) -> tuple[int, str]:
    """The higher epoch counts; of equal ones the greater `platformmoid` (contract, section 1)."""
    return int(loaded.record["epoch"]), loaded.record["platformmoid"]
