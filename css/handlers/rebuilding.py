"""A Redis that has lost everything is filled again from the open rows (section "An emptied store" of the design)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from css.domain.conference import Conference, Fields, State, from_fields
from css.domain.decision import Decision
from css.domain.effects import take_load
from css.domain.platforms import Platforms
from css.handlers.clocks import StoreClocks
from css.handlers.steps import Steps, reservations
from css.handlers.tally import Tally
from css.ports.sql import ConfinfoRow, IConferenceDatabase, SqlError
from css.ports.store import Commit, IConferenceStore, Outcome, StoreError

INCARNATION_KEY = "css/incarnation"
"""There in every store that has been filled: what a Redis that lost everything lacks."""
PAGE = 500


class Rebuilding:
    """Looks whether a store has been emptied, and fills it again.

    @param grace_ms: how long the MCUs have to list what they still run, before it is restored elsewhere.
    @param fill_more: writes what else of SQL belongs in a store.
    @param emptied: called with the moid of a store that had been emptied, once it is filled.
    """

    log = Logger()

    def __init__(
        self,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        database: Callable[[], IConferenceDatabase | None],
        clocks: StoreClocks,
        steps: Steps,
        tally: Tally,
        grace_ms: int,
        emptied: Callable[[str], None],
        fill_more: Callable[[IConferenceStore, IConferenceDatabase], Awaitable[None]],
    ) -> None:
        self._platforms = platforms
        self._stores = stores
        self._database = database
        self._clocks = clocks
        self._steps = steps
        self._tally = tally
        self._grace_ms = grace_ms
        self._emptied = emptied
        self._looking = False
        self._fill_more = fill_more
        self._filled: dict[str, IConferenceStore] = {}

    def all_are_whole(self) -> bool:
        """Whether every own and possible platform has a store and nothing is missing in it, as far as it is known:
        else what has no record may yet get one."""
        moids, stores = self._platforms().possible_and_own, self._stores
        return all(moid in stores and self._filled.get(moid) is stores[moid] for moid in moids)

    def first_look(self, reactor: IReactorTime, seconds: float) -> Deferred[None]:
        """One round before anything is consumed. @return: fires when it has ended, or so many seconds have passed; it
        then goes on by itself. Never fails: what is away is looked at again by the next rounds."""
        looked: Deferred[None] = Deferred()
        waiting = reactor.callLater(seconds, looked.callback, None)

        def ended(result: object) -> None:
            if isinstance(result, Failure):
                self.log.warn("not every store could be looked at: {error}", error=result.getErrorMessage())
            if waiting.active():
                waiting.cancel()
                looked.callback(None)

        _ = Deferred.fromCoroutine(self.tick()).addBoth(ended)
        return looked

    async def tick(self) -> None:
        """One round over all stores, unless one is under way. Fails with the last `StoreError` or `SqlError`."""
        if self._looking:
            return
        self._looking = True
        try:
            await self._round()
        finally:
            self._looking = False

    async def _round(self) -> None:
        failed: StoreError | SqlError | None = None
        for store in list(self._stores.values()):
            try:
                await self._look(store)
            except (StoreError, SqlError) as error:
                failed = error
        if failed is not None:
            raise failed

    async def _look(self, store: IConferenceStore) -> None:
        if await store.read_string(INCARNATION_KEY):
            self._filled[store.platform] = store
            return
        self._filled.pop(store.platform, None)
        database = self._database()
        if database is None:
            raise SqlError(f"the Redis of {store.platform} is empty, and SQL is not there to fill it from")
        count = await self._fill(store, database)
        await self._fill_more(store, database)
        await store.write_hashes({}, bump=INCARNATION_KEY)
        self._filled[store.platform] = store
        if count:
            self._tally.count("stores_rebuilt")
            self.log.error(
                "ALERT: the Redis of {moid} had lost its conferences: {count} are rebuilt from SQL, to be restored",
                moid=store.platform,
                count=count,
            )
        self._emptied(store.platform)

    async def _fill(self, store: IConferenceStore, database: IConferenceDatabase) -> int:
        count, after = 0, ""
        while True:
            rows = await database.confinfo_page(store.platform, after, PAGE)
            sides = await database.sides([row.e164 for row in rows])
            for row in rows:
                count += await self._rebuild(store, row, sides.get(row.e164, ""))
            if len(rows) < PAGE:
                return count
            after = rows[-1].e164

    async def _rebuild(self, store: IConferenceStore, row: ConfinfoRow, side: str) -> bool:
        now_ms = self._clocks.now_ms(store.platform)
        c = recorded(row, side, now_ms, now_ms + self._grace_ms)
        if c is None:
            self.log.error("{e164}: ALERT: its record is lost, and its row does not say enough", e164=row.e164)
            return False
        decision = Decision(because="rebuilt from its row", record=c, effects=(take_load(c),))

        def extras(commit: Commit) -> Commit:
            # What runs counts, whatever the limit says now.
            free = [replace(each, limit_key="", required=False) for each in reservations(c)]
            # One that has ended since its row was read stays ended.
            return replace(commit, reserve=tuple(free), above_tombstone=str(c.epoch))

        result = await self._steps.start(store, row.e164, "rebuild", decision, now_ms, extras)
        return result.outcome is Outcome.DONE


def recorded(row: ConfinfoRow, side: str, now_ms: int, due_ms: int) -> Conference | None:
    """The record as it was at its last row, waiting to be listed or restored."""
    conf = {
        "confname": row.confname,
        "password": row.password,
        "begintime": str(row.begintime),
        "duration": str(max(0, row.endtime - row.begintime) // 60 if row.endtime else 0),
    }
    try:
        fields: Fields = msgspec.json.decode(side, type=dict[str, str])
        c = from_fields(row.e164, {**fields, "version": "0"}, conf)
    except (ValueError, msgspec.MsgspecError):
        return None
    return replace(
        c,
        state=State.PENDING_RESTORE,
        attempt=None,
        endtime=row.endtime,
        lost_ms=now_ms,
        due_ms=due_ms,
        missed=None,
        monitors=(),
        version_base=now_ms,
    )
