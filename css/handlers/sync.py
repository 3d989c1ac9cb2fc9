"""An MCU process's list of conferences, compared with the records of every store (seed 9.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.logger import Logger

from css.domain.conference import Conference
from css.domain.epochs import EpochSource
from css.domain.events import Absent, Event, Listed
from css.domain.platforms import Platforms
from css.handlers.aside import UNREADABLE, SetAside
from css.handlers.dispatch import Routes
from css.handlers.duty import Doubts
from css.handlers.lookup import without_store
from css.handlers.outbox import Post
from css.handlers.restoring import Restoring
from css.handlers.steps import Prepare, Steps
from css.handlers.strangers import Strangers, release_letters
from css.handlers.tally import Tally
from css.handlers.tracker import all_of
from css.messages.mcu import ConfListEntry, ConfListNotice
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore, IPlatformState, ListMark, McuSeen, StoreError

CHUNK = 500


class Syncing:
    """Takes the lists. Only what differs is loaded, only what changes is committed.

    @param heard: writes the signs of life, and with them the rooms that processes report. Fails with `StoreError`.
    @param patience_ms: for how long lists of a process may be taken for older ones by their numbers.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        state: Callable[[], IPlatformState],
        epochs: EpochSource,
        steps: Steps,
        restoring: Restoring,
        strangers: Strangers,
        doubts: Doubts,
        post: Post,
        tally: Tally,
        heard: Callable[[], Awaitable[None]],
        patience_ms: int,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._state = state
        self._epochs = epochs
        self._steps = steps
        self._restoring = restoring
        self._strangers = strangers
        self._doubts = doubts
        self._post = post
        self._tally = tally
        self._aside = SetAside(tally)
        self._heard = heard
        self._patience_ms = patience_ms

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {ConfListNotice: self.listed}

    async def listed(self, notice: ConfListNotice, delivery: Delivery) -> None:
        """Make records and MCU agree. Fails with `StoreError` when the own store is away: the list comes again."""
        state = self._state()
        if await self._is_old(state, notice):
            self._tally.count("lists_too_old")
            return
        abnormal = bool(notice.roommoid) and notice.roommoid in await state.abnormal_rooms()
        if abnormal:
            await self._heard()  # or what is taken off might be put there again: the room may be news of this list
            # Before anything is released: the end notice of a placement that the record still names would end it.
            await self._restoring.void_process(notice.ip, notice.pid, notice.roommoid)
        if notice.restarted:
            await self._replaced(state, notice)
        self._tally.count("lists")
        unknown, certain = await self._compare(notice)
        if abnormal:
            await self._release_all(notice, unknown, f"room {notice.roommoid} is abnormal")
            return
        if not (delivery.redelivered and notice.time is None and notice.seq is None):
            # One that comes again and does not say which one it is can't be told from a second list.
            await self._find_absent(notice)
        await self._strangers.judge(notice, unknown, certain)

    async def _is_old(self, state: IPlatformState, notice: ConfListNotice) -> bool:
        if notice.seq is None:
            return False
        mark = ListMark(notice.seq, notice.time, bool(notice.restarted))
        return not await state.accept_list(notice.ip, notice.pid, mark, self._patience_ms)

    async def _compare(self, notice: ConfListNotice) -> tuple[list[ConfListEntry], bool]:
        """Settle every entry that has a record. @return: those without one, and whether every own and possible store
        is there and answered."""
        unknown: list[ConfListEntry] = []
        certain = not without_store(self._platforms(), self._stores)
        for start in range(0, len(notice.confdatainfo), CHUNK):
            remaining = list(notice.confdatainfo[start : start + CHUNK])
            for store in list(self._stores.values()):
                try:
                    remaining = await self._compare_with(store, notice, remaining)
                except StoreError:
                    if store.platform == self._own:
                        raise
                    certain = False
            unknown += remaining
        return unknown, certain

    async def _compare_with(
        self, store: IConferenceStore, notice: ConfListNotice, entries: list[ConfListEntry]
    ) -> list[ConfListEntry]:
        """Settle the entries whose record is in this store. @return: those that it has none of."""
        if not entries:
            return []
        pairs = [(entry.confE164, "" if entry.epoch is None else str(entry.epoch)) for entry in entries]
        different = set(await store.differing(notice.ip, notice.pid, pairs))
        work = [entry for entry in entries if entry.confE164 in different]
        known = await all_of(self._settle(store, notice, entry) for entry in work)
        return [entry for entry, has_record in zip(work, known, strict=True) if not has_record]

    async def _settle(self, store: IConferenceStore, notice: ConfListNotice, entry: ConfListEntry) -> bool:
        """@return: whether there is a record."""
        known = False

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            nonlocal known
            known = c is not None
            if c is None:
                return None
            return Listed(
                now_ms=now_ms,
                ip=notice.ip,
                pid=notice.pid,
                epoch=entry.epoch,
                createtime=entry.createtime,
                roommoid=notice.roommoid,
                platform=self._own,
                fresh_epoch=self._epochs.next(now_ms, c.epoch),
            )

        is_read = await self._kept_apart(store, entry.confE164, "listed", prepare)
        return known or not is_read

    async def _find_absent(self, notice: ConfListNotice) -> None:
        """What should run on the process, and is not in its list."""
        listed = {entry.confE164 for entry in notice.confdatainfo}
        for store in list(self._stores.values()):
            try:
                await self._find_absent_in(store, notice, listed)
            except StoreError:
                if store.platform == self._own:
                    raise

    async def _find_absent_in(self, store: IConferenceStore, notice: ConfListNotice, listed: set[str]) -> None:
        index, cursor = f"mcu/{self._own}/{notice.ip}/{notice.pid}", ""
        while True:
            page, cursor = await store.page_index(index, cursor, CHUNK)
            await all_of(self._absent(store, e164, notice) for e164 in page if e164 not in listed)
            if not cursor:
                return

    async def _absent(self, store: IConferenceStore, e164: str, notice: ConfListNotice) -> None:
        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None:
                return None
            if (c.ip, c.pid) == (notice.ip, notice.pid) and (loss := await self._doubts.loss(c, now_ms)):
                return loss
            return Absent(
                now_ms=now_ms, platform=self._own, ip=notice.ip, pid=notice.pid, time=notice.time, seq=notice.seq
            )

        await self._kept_apart(store, e164, "absent", prepare)

    async def _kept_apart(self, store: IConferenceStore, e164: str, name: str, prepare: Prepare) -> bool:
        """A step of a conference; one whose record can't be read keeps no other of the list waiting. @return: whether
        it can be read."""
        try:
            await self._steps.take(store, e164, name, prepare)
        except UNREADABLE as error:
            self._aside.tell(store, e164, "the record", error)
            return False
        return True

    async def _replaced(self, state: IPlatformState, notice: ConfListNotice) -> None:
        """This process replaces all others of its host: what ran on those is to be restored at once.

        That is done once: a process that began later is not replaced by one that repeats itself.
        """
        if await state.is_replacement_known(notice.ip, notice.pid):
            return
        await self._heard()  # one that began a moment ago is replaced, too
        for pid, seen_ms in (await state.processes_of(notice.ip)).items():
            if pid != notice.pid and seen_ms:
                gone = McuSeen(notice.ip, pid, seen_ms)
                await self._restoring.lose(gone, f"MCU {gone.ip} process {gone.pid} was replaced by {notice.pid}")
                await state.note_seen([McuSeen(notice.ip, pid, 0)])
        await state.note_replacement(notice.ip, notice.pid)

    async def _release_all(self, notice: ConfListNotice, entries: list[ConfListEntry], because: str) -> None:
        if not entries:
            return
        self.log.warn(
            "{count} conferences of MCU {ip} process {pid} are released: {because}",
            count=len(entries),
            ip=notice.ip,
            pid=notice.pid,
            because=because,
        )
        await self._post.deliver(release_letters(notice, entries), self._own)
