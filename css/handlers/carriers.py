"""Effects that are no messages: rows of SQL, and booked places that are given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec
from twisted.logger import Logger

from css.handlers.effects import Parcel
from css.handlers.letters import SQL_LANE
from css.handlers.outbox import Outbox
from css.handlers.probes import Probe, no_probe
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.ports.sql import IConferenceDatabase, SqlError, SqlRefused
from css.ports.store import IConferenceStore, StoreError

T = TypeVar("T")


class _Waiting(msgspec.Struct):
    store: IConferenceStore
    e164: str
    mark: str
    parcel: Parcel
    owner: str = ""
    """Platform whose instances should have carried it out; empty: this one's."""


class RowWriter:
    """Applies rows in batches, one batch at a time. Rows that can't be applied now are left to the outbox.

    @param database: gives the database, None while there is none: then all is left to the outbox.
    """

    log = Logger()
    BATCH = 500
    MOST_WAITING = 5_000

    def __init__(
        self,
        database: Callable[[], IConferenceDatabase | None],
        outbox: Outbox,
        tracker: Tracker,
        tally: Tally,
        probe: Probe = no_probe,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._tracker = tracker
        self._tally = tally
        self._probe = probe
        self._waiting: list[_Waiting] = []
        self._busy = False
        self.down = False

    def carry(self, store: IConferenceStore, e164: str, mark: str, parcel: Parcel, owner: str = "") -> None:
        """Take rows to apply soon; with too many waiting already they are left to the outbox's sweep."""
        if len(self._waiting) < self.MOST_WAITING:
            self._waiting.append(_Waiting(store, e164, mark, parcel, owner))

    def tick(self) -> None:
        """Begin to apply what waits."""
        if self._waiting and not self._busy:
            self._tracker.run(self.apply_waiting(), "writing rows")

    async def apply_waiting(self) -> None:
        """Apply what waits, batch after batch, until nothing does or the database is away."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self.BATCH], self._waiting[self.BATCH :]
                if not await self._apply(batch):
                    self._waiting.clear()  # the outbox has them
        finally:
            self._busy = False

    async def _apply(self, batch: list[_Waiting]) -> bool:
        database = self._database()
        if database is None:
            return False
        self._probe("rows", "before_commit")
        try:
            await database.apply([row for each in batch for row in each.parcel.rows])
        except SqlError as error:
            self._note_down(error)
            return False
        except SqlRefused as error:
            return await self._apply_one_by_one(database, batch, error)
        self._probe("rows", "after_commit")
        self._done(batch)
        self._note_up()
        return True

    async def _apply_one_by_one(
        self, database: IConferenceDatabase, batch: list[_Waiting], refusal: SqlRefused
    ) -> bool:
        """One row of the batch is refused for ever: find it, report it, apply the others. False: SQL went away."""
        for each in batch:
            try:
                await database.apply(each.parcel.rows)
            except SqlRefused as error:
                self._tally.count("rows_refused")
                self.log.error("{e164}: ALERT: its row is refused: {error}", e164=each.e164, error=str(error))
                self._outbox.mark_done(each.store, each.e164, SQL_LANE, each.mark, each.owner)
            except SqlError as error:
                self._note_down(error)
                return False
            else:
                self._done([each])
        self._note_up()
        return True

    def _done(self, batch: list[_Waiting]) -> None:
        for each in batch:
            self._outbox.mark_done(each.store, each.e164, SQL_LANE, each.mark, each.owner)
        self._tally.count("rows_written", sum(len(each.parcel.rows) for each in batch))

    def _note_down(self, error: Exception) -> None:
        if not self.down:
            self.down = True
            self.log.warn("the SQL database is away, rows wait in the outbox: {error}", error=str(error))

    def _note_up(self) -> None:
        if self.down:
            self.down = False
            self.log.info("the SQL database is back, rows are written again")


class BatchCarrier(Generic[T]):
    """Carries the entries of one lane out, many in one step: load, the ledger.

    @param lane: of the outbox.
    @param items: what of a parcel the lane is about.
    @param action: what is done with all of them.
    """

    log = Logger()
    BATCH = 500
    """Entries in one step: a longer one would keep the store from everybody else."""

    def __init__(
        self,
        lane: str,
        items: Callable[[Parcel], list[T]],
        action: Callable[[list[T]], Awaitable[None]],
        outbox: Outbox,
        tracker: Tracker,
        probe: Probe = no_probe,
    ) -> None:
        self.lane = lane
        self._items = items
        self._action = action
        self._outbox = outbox
        self._tracker = tracker
        self._probe = probe
        self._waiting: list[_Waiting] = []

    def carry(self, store: IConferenceStore, e164: str, mark: str, parcel: Parcel, owner: str = "") -> None:
        """Take a parcel to carry out soon."""
        self._waiting.append(_Waiting(store, e164, mark, parcel, owner))

    @property
    def waits(self) -> bool:
        """Whether there is anything to carry out."""
        return bool(self._waiting)

    def tick(self) -> None:
        """Begin to carry out what waits."""
        if self._waiting:
            self._tracker.run(self.apply_waiting(), f"the lane {self.lane}")

    async def apply_waiting(self) -> None:
        """Do what waits; what fails is left to the outbox."""
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), self.BATCH):
            if not await self._apply(waiting[start : start + self.BATCH]):
                return

    async def _apply(self, batch: list[_Waiting]) -> bool:
        self._probe("loads", "before_commit")
        try:
            await self._action([item for each in batch for item in self._items(each.parcel)])
        except StoreError as error:
            self.log.info(
                "{count} entries of {lane} are left: {error}", count=len(batch), lane=self.lane, error=str(error)
            )
            return False
        self._probe("loads", "after_commit")
        for each in batch:
            self._outbox.mark_done(each.store, each.e164, self.lane, each.mark, each.owner)
        return True
