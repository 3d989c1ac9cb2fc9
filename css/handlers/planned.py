"""What the locator is told of reserved conferences, personal templates and virtual rooms (seed 7).

The hashes are the truth, the channel only says where to look; a book in the own Redis says what was told. Each
instance listens to every source platform that is served here, and compares all after it may have missed something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from css.domain.planned import Planned, Report, differences
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.duty import Duty
from css.handlers.effects import Parcel
from css.handlers.letters import Kind, Letter, message_id, notice_lane
from css.handlers.listening import Listening, Place
from css.handlers.outbox import Outbox
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.handlers.turns import Turn, Turns
from css.messages.base import Message
from css.messages.codec import encode, wire_type
from css.messages.upu import UpuAdd, UpuDelete, UpuDeleteDomain, UpuModify
from css.ports.bus import Outgoing
from css.ports.planned import Cleared, ILocatorBook, IPlannedConferences, Told
from css.ports.store import IConferenceStore, OutboxEntry, StoreError

PAGE = 200
MOST_HEARD = 5_000
"""Of more changes at a time than this all are compared instead."""
MOST_PAGES = 100
"""So many pages of names a comparison reads in a round: others wait for the round's end."""
PAUSE_SECONDS = 0.002
"""Between two of them: each keeps a Redis busy for about a millisecond."""
LEASE_MS = 2_000
"""How long an entry is left to whoever told it: all that is told later waits for it."""
ATTEMPTS = 5
"""How often it is looked again when another instance was faster."""
LANE = notice_lane(to.TO_LOCATOR[0])

Tell = Callable[[OutboxEntry, Cleared], Awaitable[Told | None]]


class PlannedReports:
    """Keeps the locator's reserved, template and virtual entries true.

    @param cleared_ms: gives when the locator was cleared last, milliseconds of the own store's clock; 0: never.
    @param settle_seconds: no comparison begins earlier after the first round.
    @param users_of: gives the user domains of a platform, as far as they are known.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        settle_seconds: float,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        planned: Mapping[str, IPlannedConferences],
        book: Callable[[], ILocatorBook],
        users_of: Callable[[str], Iterable[str]],
        clocks: StoreClocks,
        outbox: Outbox,
        duty: Duty,
        cleared_ms: Callable[[], int],
        turns: Turns,
        tracker: Tracker,
        tally: Tally,
        session: str,
    ) -> None:
        self._reactor = reactor
        self._settle_ms = round(settle_seconds * 1000)
        self._ready_ms: int | None = None
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._planned = planned
        self._book = book
        self._users_of = users_of
        self._clocks = clocks
        self._outbox = outbox
        self._duty = duty
        self._cleared_ms = cleared_ms
        self._turns = turns
        self._tracker = tracker
        self._tally = tally
        self._session = session
        self._said = 0
        self._sources: dict[str, Listening] = {}
        self._left: set[str] = set()
        """Source platforms that were served here once, and then no more."""

    async def tick(self) -> None:
        """One round. A store that is away does not keep the others waiting. Fails with the last `StoreError`."""
        failed: StoreError | None = None
        for source in [source for source in self._sources if source not in self._planned]:
            del self._sources[source]
        for source, planned in list(self._planned.items()):
            try:
                if self._serves(source):
                    await self._serve(source, planned)
                elif not self._platforms().serves(source):
                    await self._leave(source, planned)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    def store_emptied(self, moid: str) -> None:
        """A store had lost everything: all of it is compared again."""
        known = self._sources.get(moid)
        if known is not None:
            known.want(self._now_ms())

    @property
    def settled(self) -> bool:
        """Whether nothing that may have been missed is still to be compared."""
        return all(self._sources[moid].is_settled for moid in self._planned if self._serves(moid))

    def _serves(self, source: str) -> bool:
        return self._duty.settled and self._platforms().serves(source)

    def _now_ms(self) -> int:
        return self._clocks.now_ms(self._own)

    async def _serve(self, source: str, planned: IPlannedConferences) -> None:
        began_ms = self._now_ms()
        known = self._known(source, planned)
        known.look(planned.listens, planned.hears, self._cleared_ms(), began_ms)
        if known.place is not None:
            await self._go_on_comparing(source, known, known.place)
        elif known.is_time(began_ms) and not await known.is_covered(self._turns, self._cleared_ms(), began_ms):
            await self._compare(source, known)
        again, known.again = known.again, set()
        for numbers in _parts(again):
            await self._report(source, planned, numbers)
        await known.note(self._turns, began_ms)

    def _known(self, source: str, planned: IPlannedConferences) -> Listening:
        """What is known of a source; begins to listen to it if need be."""
        known = self._sources.get(source)
        if known is not None and known.planned is planned:
            return known
        if self._ready_ms is None:
            self._ready_ms = self._now_ms() + self._settle_ms
        known = self._sources[source] = Listening(source, planned, self._ready_ms, source not in self._left)
        planned.listen(lambda payload: self._heard(source, payload))
        return known

    async def _leave(self, source: str, planned: IPlannedConferences) -> None:
        """Its own platform reports it from now on; what was told here is withdrawn by user domain (seed 7.2)."""
        if self._sources.pop(source, None) is not None:
            self._left.add(source)
            await planned.unlisten()
        if not self._duty.settled:
            return
        moids = sorted(await self._book().moids(source))
        if not moids or self._platforms().serves(source):
            return

        def withdraw(entry: OutboxEntry, cleared: Cleared) -> Awaitable[Told | None]:
            return self._book().withdraw(source, moids, entry, cleared)

        if await self._tell([UpuDeleteDomain(moid=moid) for moid in moids], withdraw) is not None:
            self.log.info("{count} user domains of {moid} are withdrawn from UPU", count=len(moids), moid=source)

    def _heard(self, source: str, payload: bytes) -> None:
        known = self._sources.get(source)
        if known is None:
            return
        try:
            change = _decode(payload)
        except msgspec.MsgspecError as error:
            self._tally.count("changes_unreadable")
            self.log.warn("a change of {moid} can't be read: {error}", moid=source, error=str(error))
            return
        known.heard.add(change.e164)
        if len(known.heard) > MOST_HEARD:
            known.heard.clear()
            known.want(self._now_ms())
        elif not known.is_reading:
            known.is_reading = True
            self._tracker.run(self._read_heard(source, known), "reporting changes to UPU")

    async def _read_heard(self, source: str, known: Listening) -> None:
        """Report what was heard of; a moment later it is looked at again, should the CM tell before it writes."""
        try:
            while known.heard and self._serves(source):
                numbers = list(known.heard)[:PAGE]
                known.heard.difference_update(numbers)
                known.again.update(numbers)
                await self._report(source, known.planned, numbers)
        except StoreError as error:
            self.log.warn("changes of {moid} are reported later: {error}", moid=source, error=str(error))
            known.want(self._now_ms())
        finally:
            known.is_reading = False

    async def _compare(self, source: str, known: Listening) -> None:
        """Compare everything, unless another instance does, or has done so since it was wanted."""
        wanted_ms = known.wanted_ms
        turn = await self._turns.begin(known.turn, wanted_ms)
        if turn is Turn.DONE:
            known.compared(wanted_ms, self._now_ms())
        if turn is not Turn.MINE:
            return
        book = self._book()
        if self._cleared_ms():
            await book.forget(source, self._cleared_ms())
        if source != self._own:
            await book.add_moids(source, list(self._users_of(source)))
        self._tally.count("planned_compared")
        known.place = Place(wanted_ms)
        await self._go_on_comparing(source, known, known.place)

    async def _go_on_comparing(self, source: str, known: Listening, place: Place) -> None:
        """Compare some pages; what is left is for the next round."""
        known.place = None  # should anything fail, it is begun anew
        if not await self._turns.go_on(known.turn):
            return
        for _ in range(MOST_PAGES):
            if not self._serves(source):
                return
            if not await self._compare_page(source, known, place):
                break
            if place.is_end:
                if await self._turns.finish(known.turn):
                    known.compared(place.wanted_ms, self._now_ms())
                return
            if place.cursor:
                await deferLater(self._reactor, PAUSE_SECONDS)
        known.place = place

    async def _compare_page(self, source: str, known: Listening, place: Place) -> bool:
        """What there is, then what the book has. @return: False: the locator is slow; the same page once more."""
        if place.in_book:
            numbers, cursor = await self._book().page(source, place.cursor, PAGE)
        else:
            numbers, cursor = await known.planned.page(place.cursor)
        for part in _parts(numbers):
            if not await self._report(source, known.planned, part):
                return False
        place.move(cursor)
        return True

    async def _report(self, source: str, planned: IPlannedConferences, numbers: list[str]) -> bool:
        """Tell the locator of these numbers what it does not know.

        What it was told is read first: what is planned is newer than that, so no older state is told after a newer one.

        @return: False: it has not got it yet (the outbox has).
        """
        for _ in range(ATTEMPTS):
            told = await self._book().told(source, numbers)
            found = {each.e164: each for each in await planned.read(numbers) if self._is_right(each)}
            reports = differences(told, found, numbers)
            if not reports:
                return True
            if not self._serves(source):
                return False
            messages = [self._message(report) for report in reports]

            def tell(entry: OutboxEntry, cleared: Cleared, reports: list[Report] = reports) -> Awaitable[Told | None]:
                return self._book().tell(source, reports, entry, cleared)

            done = await self._tell(messages, tell)
            if done is not None:
                self._tally.count("planned_reported", len(reports))
                return done
        return False

    def _message(self, report: Report) -> Message:
        entry = report.entry
        if entry is None:
            return UpuDelete(confE164=report.e164, running=0)
        return (UpuModify if report.before else UpuAdd)(**self._fields(entry))

    def _fields(self, entry: Planned) -> dict[str, Any]:
        return {
            "confE164": entry.e164,
            "confname": entry.confname,
            "conftype": entry.conftype,
            "moid": entry.moid,
            "platformmoid": self._own,
            "running": 0,
        }

    def _is_right(self, entry: Planned) -> bool:
        """Whether it can be told: others write these hashes."""
        try:
            msgspec.convert({"type": wire_type(UpuAdd), **self._fields(entry)}, UpuAdd)
        except msgspec.MsgspecError as error:
            self._tally.count("planned_unreadable")
            self.log.debug("{e164} can't be reported to UPU: {error}", e164=entry.e164, error=str(error))
            return False
        return True

    async def _tell(self, messages: list[Message], commit: Tell) -> bool | None:
        """Commit messages with what they tell, and publish them. Fails with `StoreError`.

        @return: whether they are published; None: the commit was refused.
        """
        store = self._stores.get(self._own)
        if store is None:
            raise StoreError("the own Redis is not known")
        now_ms = self._now_ms()
        parcels = {LANE: Parcel([Letter(Kind.NOTICE, now_ms, self._outgoing(each)) for each in messages])}
        entry = OutboxEntry(self._own, LANE, "", parcels[LANE].data(), now_ms + LEASE_MS)
        cleared = self._outbox.cleared(store, "")
        told = None
        try:
            told = await commit(entry, cleared)
        finally:
            if told is None:
                self._outbox.not_cleared(store, "", cleared)
        if told is None:
            return None
        await self._outbox.carry_out(store, "", parcels, told.mark, (LANE,) if told.waits else ())
        return self._outbox.is_done(store, "", LANE, told.mark)

    def _outgoing(self, message: Message) -> Outgoing:
        self._said += 1
        return Outgoing(*to.TO_LOCATOR, encode(message), message_id("planned", self._session, self._said))


class _Change(msgspec.Struct):
    """What is published: the number is what matters, the hashes say the rest."""

    e164: str


_decode = msgspec.json.Decoder(_Change).decode


def _parts(numbers: Iterable[str]) -> list[list[str]]:
    found = list(numbers)
    return [found[start : start + PAGE] for start in range(0, len(found), PAGE)]
