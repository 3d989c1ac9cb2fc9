"""The domain directory, kept the same in the Redis of every service platform (seed 3).

`DomainCache(...)`: `platform_of(moid)` and `guards(platform)` are for creates: the guard makes a commit fail when the
directory has changed since it was read, then `refresh()` and look again. `load()` once at the start, `tick()` now and
then, `routes` for the BMC's changes, `platforms_changed` when the service list changes.

`ap_domain` is the truth, read at the start; while SQL is away the Redis are believed. A platform's Redis that has not
had the full set since it began to be served is *behind*: it gets the set when it answers, single changes are in that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from css.domain.directory import KEY_PREFIX, KEY_SUFFIX, Directory, Domain, from_fields, key_of, to_fields
from css.domain.platforms import Change, Platforms
from css.handlers.dispatch import Routes
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.messages.domains import DomainAddNotice, DomainDelNotice, DomainModNotice
from css.ports.bus import Delivery
from css.ports.sql import DomainRow, IConferenceDatabase, SqlError, SqlRefused
from css.ports.store import Fields, IConferenceStore, StoreError

GENERATION_KEY = "css/domains/generation"
_HASHES_A_WRITE = 500
_ATTEMPTS = 5
_NEVER = "never read"
"""No generation: those are numbers, or missing."""

DomainNotice = DomainAddNotice | DomainModNotice | DomainDelNotice


class _View(msgspec.Struct, frozen=True):
    """One store's directory; not newer than its generation says, so a guard on that never passes too much."""

    directory: Directory
    generation: str


class DomainCache:
    """Which platform a user domain belongs to.

    @param stores: live, by moid.
    @param database: gives the database, None while it has never been reached.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        database: Callable[[], IConferenceDatabase | None],
        tracker: Tracker,
        tally: Tally,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._database = database
        self._tracker = tracker
        self._tally = tally
        self._lock = DeferredLock()
        self._views: dict[str, _View] = {}
        self._behind: set[str] = {own}
        self._sql_was_read = False

    @property
    def routes(self) -> Routes:
        """What it handles: the BMC's changes."""
        return {DomainAddNotice: self.changed, DomainModNotice: self.changed, DomainDelNotice: self.changed}

    def current(self) -> tuple[Directory, str]:
        """The own store's directory as it was last read, and its generation; empty before the first reading."""
        view = self._views.get(self._own)
        return (view.directory, view.generation) if view else (Directory(), "")

    def users_of(self, platform: str) -> list[str]:
        """The user domains of a platform, as the own store's directory was last read."""
        return self.current()[0].users_of(platform)

    def guards(self, platform: str) -> tuple[tuple[str, str], ...]:
        """For a commit in that platform's store: nothing in its directory has changed since it was read. One that was
        not read yet, as the platform has only just begun to be served, never holds."""
        view = self._views.get(platform)
        return ((GENERATION_KEY, view.generation if view else _NEVER),)

    async def platform_of(self, moid: str) -> str | None:
        """The platform of a user domain that may create; None if it is unknown, stopped, of another level, or below
        no platform. Says None only after looking whether that is still true.

        @raise StoreError: the own store has to be asked, and does not answer.
        """
        found = self._find(moid)
        if found is None or (self._platforms().serves(found) and found not in self._views):
            await self.refresh()
            found = self._find(moid)
        return found

    def _find(self, moid: str) -> str | None:
        """The own store's opinion, which the source platform's store must share: that is the one that is guarded."""
        found = self.current()[0].platform_of(moid)
        if not isinstance(found, str):
            return None
        view = self._views.get(found)
        return found if view is None or view.directory.platform_of(moid) == found else None

    async def refresh(self) -> None:
        """Read again what has changed since it was last read.

        @raise StoreError: the own store does not answer; another one that does not keeps its last directory.
        """
        await self._lock.run(self._refresh)

    async def load(self) -> None:
        """Bring the Redis of every service platform up to `ap_domain`, as far as they answer, and read the directory.

        @raise StoreError: the own store does not answer.
        """
        self._behind = set(self._platforms().service)
        await self.tick()
        if self._own not in self._views:
            await self.refresh()

    async def tick(self) -> None:
        """Catch up with what could not be done before: SQL, Redis that are behind; notice changes by other instances.

        @raise StoreError: the own store does not answer.
        """
        # Outside of the lock: creates must not wait for a database that hangs.
        if not self._sql_was_read and await self._rows() is not None:
            self._sql_was_read = True
            self._behind.update(self._platforms().service)
        await self._lock.run(self._catch_up)

    def platforms_changed(self, platforms: Platforms, change: Change) -> None:
        """A platform that is served from now on gets the full set; of one that is not, nothing is kept."""
        for moid in change.left:
            self._behind.discard(moid)
            self._views.pop(moid, None)
        if change.entered:
            self._behind.update(change.entered)
            self._tracker.run(self._spread(), "writing the domains to a platform that is served now")

    def store_emptied(self, moid: str) -> None:
        """A store had lost everything: it gets the full set again, with the next round."""
        self._views.pop(moid, None)
        if moid in self._platforms().service:
            self._behind.add(moid)

    async def changed(self, notice: DomainNotice, delivery: Delivery) -> None:
        """Write one change of the BMC to every service platform.

        @raise StoreError: one that is not behind did not answer; the others have it. The delivery is given back.
        """
        await self._lock.run(self._change, notice, delivery.redelivered)

    async def _spread(self) -> None:
        try:
            await self.tick()
        except StoreError as error:
            self.log.warn("the domains are written later: {error}", error=str(error))

    async def _catch_up(self) -> None:
        for moid in self._platforms().service:
            store = self._stores.get(moid)
            if moid in self._behind and store is not None and (store.available or moid == self._own):
                await self._bring_up(store)
        await self._refresh()

    async def _bring_up(self, store: IConferenceStore) -> None:
        try:
            if await self._write_all(store):
                self._behind.discard(store.platform)
        except StoreError as error:
            if store.platform == self._own:
                raise
            self.log.warn("the Redis of {moid} gets the domains later: {error}", moid=store.platform, error=error)

    async def _write_all(self, store: IConferenceStore) -> bool:
        """Make a store's domains those of `ap_domain`, or of the own store. Again, if somebody else wrote meanwhile.

        @return: whether that is done.
        """
        for _ in range(_ATTEMPTS):
            before = await _generation(store)
            wanted = await self._wanted(store)
            if wanted is None:
                return True
            present = await store.read_hashes(KEY_PREFIX, KEY_SUFFIX)
            changes: dict[str, Fields | None] = {key: None for key in present if key not in wanted}
            changes.update({key: fields for key, fields in wanted.items() if present.get(key) != fields})
            writes = 0
            for part in _parts(changes):
                await store.write_hashes(part, bump=GENERATION_KEY)
                writes += 1
            if changes:
                self.log.info("{n} domains brought up to date for {moid}", n=len(changes), moid=store.platform)
            if await _generation(store) == before + writes:
                return True
        return False

    async def _wanted(self, store: IConferenceStore) -> dict[str, Fields] | None:
        """The full set, None if nobody knows better than the store itself."""
        rows = await self._rows()
        if rows:
            return {key_of(row.moid): to_fields(_domain(row)) for row in rows}
        if rows is not None:
            # CSS creates the table where it is missing: that nobody has filled it yet does not mean no domains.
            self.log.warn("ap_domain is empty: the domains in Redis are kept")
        own = self._stores.get(self._own)
        if own is None or own is store:
            return None
        return await own.read_hashes(KEY_PREFIX, KEY_SUFFIX)

    async def _rows(self) -> list[DomainRow] | None:
        """All of `ap_domain`, None while SQL is away."""
        database = self._database()
        if database is None:
            return None
        try:
            return await database.domains()
        except (SqlError, SqlRefused) as error:
            self.log.warn("ap_domain cannot be read: {error}", error=str(error))
            return None

    async def _refresh(self) -> None:
        for moid in self._platforms().service:
            store = self._stores.get(moid)
            if store is None or not (store.available or moid == self._own):
                continue
            try:
                await self._read(store)
            except StoreError:
                if moid == self._own:
                    raise

    async def _read(self, store: IConferenceStore) -> None:
        generation = await store.read_string(GENERATION_KEY)
        known = self._views.get(store.platform)
        if known is not None and known.generation == generation:
            return
        hashes = await store.read_hashes(KEY_PREFIX, KEY_SUFFIX)
        domains = [from_fields(key, fields) for key, fields in hashes.items()]
        self._views[store.platform] = _View(Directory(each for each in domains if each is not None), generation)

    async def _change(self, notice: DomainNotice, redelivered: bool) -> None:
        if self._own not in self._stores:
            raise StoreError("the own store is not known yet")
        row = await self._row(notice.moid) if redelivered else None
        failure: StoreError | None = None
        for moid in self._platforms().service:
            if moid != self._own and (moid in self._behind or moid not in self._stores):
                continue
            try:
                await self._change_in(self._stores[moid], notice, row)
            except StoreError as error:
                self.log.warn(
                    "{domain}: not yet in the Redis of {moid}: {error}", domain=notice.moid, moid=moid, error=str(error)
                )
                failure = failure or error
        self._tally.count("domain_changes")
        if failure is not None:
            raise failure

    async def _row(self, moid: str) -> Domain | None:
        """What comes again may be older than what came since: `ap_domain` decides, where it has the domain."""
        database = self._database()
        if database is None:
            return None
        try:
            row = await database.domain(moid)
        except (SqlError, SqlRefused):
            return None
        return _domain(row) if row is not None else None

    async def _change_in(self, store: IConferenceStore, notice: DomainNotice, row: Domain | None) -> None:
        """Again, if another instance wrote meanwhile: it may have changed other fields of the same domain."""
        key = key_of(notice.moid)
        for _ in range(_ATTEMPTS):
            before = await _generation(store)
            domain = row or _after(notice, from_fields(key, await store.read_hash(key)))
            if domain is None and not isinstance(notice, DomainDelNotice):
                self._tally.count("domain_changes_ignored")
                self.log.warn("{domain}: a change of an unknown domain without its level: ignored", domain=notice.moid)
                return
            await store.write_hashes({key: to_fields(domain) if domain else None}, bump=GENERATION_KEY)
            if await _generation(store) == before + 1:
                break


def _after(notice: DomainNotice, present: Domain | None) -> Domain | None:
    """A domain as a notice leaves it; None: there is none."""
    if isinstance(notice, DomainDelNotice):
        return None
    given = {name: value for name in Domain.__struct_fields__ if (value := getattr(notice, name)) is not None}
    if present is not None and isinstance(notice, DomainModNotice):
        return msgspec.structs.replace(present, **given)
    return Domain(**given) if "level" in given else None


def _domain(row: DomainRow) -> Domain:
    return Domain(**{name: getattr(row, name) for name in Domain.__struct_fields__})


async def _generation(store: IConferenceStore) -> int:
    text = await store.read_string(GENERATION_KEY)
    return int(text) if text.isdigit() else 0


def _parts(changes: dict[str, Fields | None]) -> list[dict[str, Fields | None]]:
    items = list(changes.items())
    return [dict(items[start : start + _HASHES_A_WRITE]) for start in range(0, len(items), _HASHES_A_WRITE)]
