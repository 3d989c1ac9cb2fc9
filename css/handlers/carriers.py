"""Effects that are no messages: rows of SQL, and booked places that are given back."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.logger import Logger

from css.handlers.effects import Parcel
from css.handlers.letters import LOAD_LANE, SQL_LANE
from css.handlers.outbox import Outbox
from css.handlers.probes import Probe, no_probe
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.ports.sql import IConferenceDatabase, SqlError, SqlRefused
from css.ports.store import IConferenceStore, IPlatformState, StoreError


class _Waiting(msgspec.Struct):
    store: IConferenceStore
    e164: str
    mark: str
    parcel: Parcel


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

    def carry(self, store: IConferenceStore, e164: str, mark: str, parcel: Parcel) -> None:
        """Take rows to apply soon; with too many waiting already they are left to the outbox's sweep."""
        if len(self._waiting) < self.MOST_WAITING:
            self._waiting.append(_Waiting(store, e164, mark, parcel))

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
                self._outbox.mark_done(each.store, each.e164, SQL_LANE, each.mark)
            except SqlError as error:
                self._note_down(error)
                return False
            else:
                self._done([each])
        self._note_up()
        return True

    def _done(self, batch: list[_Waiting]) -> None:
        for each in batch:
            self._outbox.mark_done(each.store, each.e164, SQL_LANE, each.mark)
        self._tally.count("rows_written", sum(len(each.parcel.rows) for each in batch))

    def _note_down(self, error: Exception) -> None:
        if not self.down:
            self.down = True
            self.log.warn("the SQL database is away, rows wait in the outbox: {error}", error=str(error))

    def _note_up(self) -> None:
        if self.down:
            self.down = False
            self.log.info("the SQL database is back, rows are written again")


class LoadFreer:
    """Gives booked places back, many in one step."""

    log = Logger()

    def __init__(
        self, state: Callable[[], IPlatformState], outbox: Outbox, tracker: Tracker, probe: Probe = no_probe
    ) -> None:
        self._state = state
        self._outbox = outbox
        self._tracker = tracker
        self._probe = probe
        self._waiting: list[_Waiting] = []

    def carry(self, store: IConferenceStore, e164: str, mark: str, parcel: Parcel) -> None:
        """Take places to give back soon."""
        self._waiting.append(_Waiting(store, e164, mark, parcel))

    def tick(self) -> None:
        """Begin to give back what waits."""
        if self._waiting:
            self._tracker.run(self.free_waiting(), "giving load back")

    async def free_waiting(self) -> None:
        """Give back what waits; what fails is left to the outbox."""
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        self._probe("loads", "before_commit")
        try:
            await self._state().unbook([booking for each in batch for booking in each.parcel.bookings])
        except StoreError as error:
            self.log.info("{count} places are given back later: {error}", count=len(batch), error=str(error))
            return
        self._probe("loads", "after_commit")
        for each in batch:
            self._outbox.mark_done(each.store, each.e164, LOAD_LANE, each.mark)
