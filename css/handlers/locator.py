"""What the locator knows of this platform's running conferences when the platform is lost, and back (seed 7.2)."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from css.domain.conference import Conference, legacy_index, live_index
from css.domain.events import Event, LocatorCleared
from css.handlers import addresses as to
from css.handlers.aside import UNREADABLE, SetAside
from css.handlers.clocks import StoreClocks
from css.handlers.duty import Duty
from css.handlers.letters import Kind, Letter, message_id
from css.handlers.outbox import Post
from css.handlers.steps import Steps
from css.handlers.tally import Tally
from css.handlers.tracker import all_of
from css.handlers.turns import Turn, Turns
from css.messages.codec import encode
from css.messages.upu import UpuClear
from css.ports.bus import Outgoing
from css.ports.store import IConferenceStore, StoreError

PAGE = 200


class LocatorReports:
    """Clears what this platform reported once it is abnormal, and reports again what runs here once it is normal.

    Each instance clears; one of them fills for all, after the last clearing, and also if all were killed in between.

    @param session: a text that no other run of any instance has; begins the ids of its requests.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        clocks: StoreClocks,
        steps: Steps,
        post: Post,
        duty: Duty,
        turns: Turns,
        tally: Tally,
        session: str,
    ) -> None:
        self._own = own
        self._stores = stores
        self._clocks = clocks
        self._steps = steps
        self._post = post
        self._duty = duty
        self._turns = turns
        self._tally = tally
        self._aside = SetAside(tally)
        self._session = session
        self._cleared = 0
        self._to_clear = False
        self._clearing = False
        self._cleared_ms = 0
        self._filled: dict[str, int] = {}
        """Of which clearing a store's conferences have been reported again."""

    def cleared_ms(self) -> int:
        """When the locator was cleared last, or should have been, milliseconds of the own store's clock; 0: never."""
        return max(self._cleared_ms, self._duty.resumed_ms)

    def suspended(self) -> None:
        """The platform is abnormal; follow with `tick`."""
        self._to_clear = True

    async def tick(self) -> None:
        """One round. Fails with the last `StoreError`; what is left is done by the next one."""
        if self._clearing:
            return
        if self._to_clear:
            self._clearing = True
            try:
                await self._clear()
            finally:
                self._clearing = False
        if not self._to_clear and self._duty.settled:
            await self._fill()

    async def _clear(self) -> None:
        """Without any store: that may be gone."""
        self._cleared += 1
        body = encode(UpuClear(platformmoid=self._own))
        outgoing = Outgoing(*to.TO_LOCATOR, body, message_id("clear", self._session, self._cleared))
        letter = Letter(Kind.NOTICE, self._clocks.now_ms(self._own), outgoing)
        if not await self._post.deliver([letter], self._own):
            self._to_clear = False
            self._cleared_ms = self._clocks.now_ms(self._own)
            self._tally.count("locator_cleared")

    async def _fill(self) -> None:
        cleared_ms, failed = self.cleared_ms(), None
        for store in list(self._stores.values()):
            if not cleared_ms or self._filled.get(store.platform) == cleared_ms:
                continue
            try:
                if await self._fill_from(store, cleared_ms):
                    self._filled[store.platform] = cleared_ms
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _fill_from(self, store: IConferenceStore, cleared_ms: int) -> bool:
        """@return: whether that is done, by whomever."""
        name = f"running/{store.platform}"
        turn = await self._turns.begin(name, cleared_ms)
        if turn is not Turn.MINE:
            return turn is Turn.DONE
        for index in (live_index(self._own), legacy_index(self._own)):
            cursor = ""
            while True:
                page, cursor = await store.page_index(index, cursor, PAGE)
                await all_of(self._report(store, e164) for e164 in page)
                if not await self._turns.go_on(name):
                    return False
                if not cursor:
                    break
        return await self._turns.finish(name)

    async def _report(self, store: IConferenceStore, e164: str) -> None:
        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            return None if c is None else LocatorCleared(now_ms=now_ms, platform=self._own)

        # A step of the conference, so that its end can't overtake it.
        try:
            await self._steps.take(store, e164, "report", prepare)
        except UNREADABLE as error:
            self._aside.tell(store, e164, "the record", error)
