"""Conferences that an MCU lists and no store has a record of (seed 9.2, with a safety valve)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from css.domain.conference import Conference, Size, State
from css.domain.decision import Decision
from css.domain.effects import take_load
from css.domain.epochs import EpochSource
from css.domain.expiry import schedule
from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.letters import Kind, Letter, message_id
from css.handlers.lookup import Lookup
from css.handlers.outbox import Post
from css.handlers.rebuilding import recorded
from css.handlers.steps import Steps, reservations
from css.handlers.tally import Tally
from css.handlers.tracker import all_of
from css.messages.codec import encode
from css.messages.create import CreateRequest, McuReleaseCommand
from css.messages.mcu import ConfListEntry, ConfListNotice
from css.ports.bus import Outgoing
from css.ports.sql import ConfinfoRow, IConferenceDatabase, SqlError
from css.ports.store import Commit, IConferenceStore, IPlatformState, Outcome, StoreError

T = TypeVar("T")
AT_ONCE = 50
"""Questions to a store at a time."""
PAGE = 500
"""Numbers that SQL is asked for at a time."""
MANY = 10
"""More strangers than this, and more than a tenth of all that is known, are more likely a lost store than strays."""


class Strangers:
    """Rebuilds what an open row in SQL still tells of; releases what is certainly over.

    @param patience_ms: how long one must have been listed without a record before it is released.
    @param stores_are_whole: whether no store is known to have lost what it held.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        state: Callable[[], IPlatformState],
        lookup: Lookup,
        database: Callable[[], IConferenceDatabase | None],
        clocks: StoreClocks,
        epochs: EpochSource,
        steps: Steps,
        post: Post,
        tally: Tally,
        patience_ms: int,
        stores_are_whole: Callable[[], bool],
    ) -> None:
        self._own = own
        self._stores = stores
        self._state = state
        self._lookup = lookup
        self._database = database
        self._clocks = clocks
        self._epochs = epochs
        self._steps = steps
        self._post = post
        self._tally = tally
        self._patience_ms = patience_ms
        self._stores_are_whole = stores_are_whole

    async def judge(self, notice: ConfListNotice, strangers: list[ConfListEntry], certain: bool) -> None:
        """Take the strangers of one list.

        @param certain: whether every own and possible store answered; if not, none is released.
        """
        since = await self._state().unknown_since(notice.ip, notice.pid, [entry.confE164 for entry in strangers])
        over: list[ConfListEntry] = []
        left = strangers
        certain = certain and self._stores_are_whole()
        if certain:
            over, left, certain = await self._by_tombstone(strangers)
        pages = [left[start : start + PAGE] for start in range(0, len(left), PAGE)]
        left = [entry for page in pages for entry in await self._lost(notice, page)]
        if not certain:
            return
        await self._release(notice, over)
        if not await self._are_too_many(notice, left):
            now_ms = self._clocks.now_ms(self._own)
            patient = [entry for entry in left if now_ms - since[entry.confE164] >= self._patience_ms]
            await self._release(notice, patient)

    async def _by_tombstone(
        self, strangers: list[ConfListEntry]
    ) -> tuple[list[ConfListEntry], list[ConfListEntry], bool]:
        """@return: those that have ended, the others without a record, and whether every store answered."""
        over: list[ConfListEntry] = []
        left: list[ConfListEntry] = []
        certain = True
        found = await _in_turns(self._lookup.find(entry.confE164) for entry in strangers)
        for entry, known in zip(strangers, found, strict=True):
            certain = certain and known.all_answered
            if known.store is None:
                (over if known.covers(entry.epoch) else left).append(entry)
        return over, left, certain

    async def _are_too_many(self, notice: ConfListNotice, left: list[ConfListEntry]) -> bool:
        """The safety valve. Fails with `StoreError`: then none is released either."""
        if len(left) <= MANY:
            return False
        known = 0
        for store in list(self._stores.values()):
            known += await store.index_size(f"platform/{self._own}")
        if 10 * len(left) <= known:
            return False
        self._tally.count("strangers_alerts")
        self.log.error(
            "ALERT: {count} conferences of MCU {ip} process {pid} have no record, {known} are known: none is released",
            count=len(left),
            known=known,
            ip=notice.ip,
            pid=notice.pid,
        )
        return True

    async def _release(self, notice: ConfListNotice, entries: list[ConfListEntry]) -> None:
        if entries:
            self._tally.count("strangers_released", len(entries))
            self.log.warn(
                "{count} conferences of MCU {ip} process {pid} without a record are released, first {e164}",
                count=len(entries),
                ip=notice.ip,
                pid=notice.pid,
                e164=entries[0].confE164,
            )
            await self._post.deliver(release_letters(notice, entries), self._own)

    async def _lost(self, notice: ConfListNotice, entries: list[ConfListEntry]) -> list[ConfListEntry]:
        """Those that no open row gave the record back. While SQL or the row's store is away, or not known here, nothing
        is known: not rebuilt, not released."""
        database = self._database()
        if database is None:
            return []
        numbers = [entry.confE164 for entry in entries]
        try:
            rows = await database.confinfos(numbers)
            sides = await database.sides(list(rows)) if rows else {}
        except SqlError:
            return []
        with_row = [entry for entry in entries if entry.confE164 in rows]
        rebuilt = await _in_turns(
            self._rebuilt(notice, entry, rows[entry.confE164], sides.get(entry.confE164, "")) for entry in with_row
        )
        there = {entry.confE164 for entry, is_rebuilt in zip(with_row, rebuilt, strict=True) if is_rebuilt}
        return [entry for entry in entries if entry.confE164 not in there]

    async def _rebuilt(self, notice: ConfListNotice, entry: ConfListEntry, row: ConfinfoRow, side: str) -> bool:
        """Whether its open row gave the record back, or may do so later."""
        store = self._stores.get(row.srcplatformmoid)
        if store is None:
            self._tally.count("strangers_of_unknown_stores")
            return True
        try:
            ended = (await store.load(entry.confE164)).tombstone
            if entry.epoch is None and ended and int(ended["time"]) >= row.begintime:
                return False  # it has ended; its row is about to be deleted
            return await self._rebuild(store, row, side, notice, entry)
        except StoreError:
            return True

    async def _rebuild(
        self, store: IConferenceStore, row: ConfinfoRow, side: str, notice: ConfListNotice, entry: ConfListEntry
    ) -> bool:
        """@return: whether there is a record now; False: it has ended, only its row has not been deleted yet."""
        now_ms = self._clocks.now_ms(store.platform)
        epoch = entry.epoch if entry.epoch is not None else self._epochs.next(now_ms)
        known = _conference(row, side, notice, entry, epoch, self._own)
        c = schedule(msgspec.structs.replace(known, version_base=now_ms), now_ms)
        decision = Decision(
            because=f"its record was lost; rebuilt as {notice.ip} process {notice.pid} lists it",
            record=c,
            effects=(take_load(c),),
        )

        def extras(commit: Commit) -> Commit:
            # What runs counts, whatever the limit says now.
            free = [msgspec.structs.replace(each, limit_key="", required=False) for each in reservations(c)]
            return msgspec.structs.replace(commit, reserve=tuple(free), above_tombstone=str(epoch))

        result = await self._steps.start(store, row.e164, "rebuild", decision, now_ms, extras)
        if result.outcome is Outcome.DONE:
            self._tally.count("records_rebuilt")
        return result.outcome is not Outcome.OLD_EPOCH


async def _in_turns(works: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """What coroutines return, a limited number of them at a time."""
    left, results = iter(works), list[T]()
    while part := list(islice(left, AT_ONCE)):
        results += await all_of(part)
    return results


def _conference(
    row: ConfinfoRow, side: str, notice: ConfListNotice, entry: ConfListEntry, epoch: int, own: str
) -> Conference:
    """What the row, the record as it was when the row was written, and the MCU know together."""
    known = recorded(row, side, 0, 0)
    if known is not None:
        return msgspec.structs.replace(
            known,
            state=State.ONGOING,
            platformmoid=own,
            ip=notice.ip,
            pid=notice.pid,
            roommoid=notice.roommoid,
            epoch=epoch,
            createtime=entry.createtime,
            acked_time=entry.createtime,
            recovery="",
        )
    return _new(row, notice, entry, epoch, own)


def _new(row: ConfinfoRow, notice: ConfListNotice, entry: ConfListEntry, epoch: int, own: str) -> Conference:
    """By the row alone: what else the CM once said is lost."""
    duration = max(0, row.endtime - row.begintime) // 60 if row.endtime else 0
    request = CreateRequest(
        confE164=row.e164, confname=row.confname, moid=row.moid, password=row.password, duration=duration
    )
    return Conference(
        e164=row.e164,
        moid=row.moid,
        source=row.srcplatformmoid,
        platformmoid=own,
        state=State.ONGOING,
        epoch=epoch,
        first_epoch=epoch,
        roommoid=notice.roommoid,
        ip=notice.ip,
        pid=notice.pid,
        createtime=entry.createtime,
        endtime=row.endtime,
        size=Size.SMALL,
        licensed_under=(row.moid, row.srcplatformmoid),
        create=encode(request).decode(),
        confname=row.confname,
        password=row.password,
        begintime=row.begintime,
        duration=duration,
    )


def release_letters(notice: ConfListNotice, entries: Iterable[ConfListEntry]) -> list[Letter]:
    """Commands to end placements that no record knows: without an outbox, since the next list shows what is left."""
    letters = []
    for entry in entries:
        command = McuReleaseCommand(confE164=entry.confE164, ip=notice.ip, pid=notice.pid, epoch=entry.epoch)
        identity = message_id("stray", entry.confE164, notice.ip, notice.pid, entry.epoch, notice.time, notice.seq)
        address = to.mcu_queue(notice.ip, notice.pid)
        letters.append(Letter(Kind.COMMAND, 0, Outgoing(to.DEFAULT, address, encode(command), identity)))
    return letters
