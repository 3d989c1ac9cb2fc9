"""What is done with messages while the own platform is abnormal: no record is read or written (seed 2.3.1)."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Mapping

from twisted.logger import Logger

from css.domain.conference import legacy_index
from css.handlers.clocks import StoreClocks
from css.handlers.dispatch import MessageHandler, Routes
from css.handlers.duty import Duty
from css.handlers.outbox import Post
from css.handlers.strangers import release_letters
from css.handlers.tally import Tally
from css.handlers.tracker import all_of
from css.messages.base import Message
from css.messages.create import McuCreateAck, McuCreateNack, McuReleaseNotice, ResourceAck, ResourceNack
from css.messages.mcu import ConfListEntry, ConfListNotice, DisconnectNotice, RestoreAck, RestoreNack, StateChangeNotice
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore, StoreError

PAGE = 500
PATIENCE_MS = 10_000
"""How long lists wait for the own store's first word about legacy conferences. Then nothing is spared."""


class LegacyNumbers:
    """The conferences here that are bound to old hardware: they are left alone (seed 12).

    What a store said last is believed while it does not answer.
    """

    def __init__(self, own: str, stores: Mapping[str, IConferenceStore]) -> None:
        self._own = own
        self._stores = stores
        self._known: dict[str, frozenset[str]] = {}

    @property
    def are_known(self) -> bool:
        """Whether the own store has ever told."""
        return self._own in self._known

    async def read(self) -> frozenset[str]:
        """@return: their numbers, as far as any store has told them. Never fails."""
        # At the same time: the lists of the own MCUs wait for this, and others' stores may all be slow.
        await all_of(self._read(store) for store in list(self._stores.values()))
        return frozenset().union(*self._known.values())

    async def _read(self, store: IConferenceStore) -> None:
        with contextlib.suppress(StoreError):
            self._known[store.platform] = await self._numbers_in(store)

    async def _numbers_in(self, store: IConferenceStore) -> frozenset[str]:
        index, found, cursor = legacy_index(self._own), set[str](), ""
        if not await store.index_size(index):
            return frozenset()
        while True:
            page, cursor = await store.page_index(index, cursor, PAGE)
            found.update(page)
            if not cursor:
                return frozenset(found)


class OffDuty:
    """Takes what would change records, in place of its handlers, while the platform is abnormal.

    What its MCUs run is released by (`ip`, `pid`, `epoch`), without any store: the backup has it, or will have it.
    """

    log = Logger()

    def __init__(
        self, own: str, duty: Duty, legacy: LegacyNumbers, clocks: StoreClocks, post: Post, tally: Tally
    ) -> None:
        self._own = own
        self._clocks = clocks
        self._asked_ms: int | None = None
        self._duty = duty
        self._legacy = legacy
        self._post = post
        self._tally = tally
        self._instead: dict[type[Message], MessageHandler] = {
            ConfListNotice: self._listed,
            McuCreateAck: self._started,
            RestoreAck: self._started,
            McuCreateNack: self._ignored,
            RestoreNack: self._ignored,
            McuReleaseNotice: self._ignored,
            StateChangeNotice: self._ignored,
            ResourceAck: self._ignored,
            ResourceNack: self._ignored,
        }

    def guarded(self, routes: Routes) -> dict[type[Message], MessageHandler]:
        """The same routes, taken only while the platform is on duty, where that matters."""
        instead = dict(self._instead)
        if DisconnectNotice in routes:
            instead[DisconnectNotice] = _tolerant(routes[DisconnectNotice])
        return {kind: self._choice(handler, instead.get(kind)) for kind, handler in routes.items()}

    def _choice(self, usual: MessageHandler, instead: MessageHandler | None) -> MessageHandler:
        if instead is None:
            return usual

        def choose(message: Message, delivery: Delivery) -> Awaitable[None]:
            return (usual if self._duty.on else instead)(message, delivery)

        return choose

    async def _listed(self, notice: ConfListNotice, delivery: Delivery) -> None:
        spared = await self._legacy.read()
        if not self._legacy.are_known and self._may_wait():
            raise StoreError("it is not known yet which conferences are bound to old hardware")
        over = [entry for entry in notice.confdatainfo if entry.confE164 not in spared]
        if not over:
            return
        self._tally.count("released_off_duty", len(over))
        self.log.warn(
            "{count} conferences of MCU {ip} process {pid} are released: the platform is abnormal",
            count=len(over),
            ip=notice.ip,
            pid=notice.pid,
        )
        await self._post.deliver(release_letters(notice, over), self._own)

    def _may_wait(self) -> bool:
        """One that starts off duty gives the own store a while to tell what is to be spared."""
        now_ms = self._clocks.local_ms()
        if self._asked_ms is None:
            self._asked_ms = now_ms
        return now_ms - self._asked_ms < PATIENCE_MS

    async def _started(self, ack: McuCreateAck | RestoreAck, delivery: Delivery) -> None:
        """It was asked for a moment before: as if it were listed."""
        entry = ConfListEntry(ack.confE164, 0, ack.epoch)
        await self._listed(ConfListNotice(ip=ack.ip, pid=ack.pid, confdatainfo=[entry], time=ack.time), delivery)

    async def _ignored(self, message: Message, delivery: Delivery) -> None:
        self._tally.count("ignored_off_duty")


def _tolerant(handler: MessageHandler) -> MessageHandler:
    """The same, but what the own Redis can't be told is dropped: it must not keep lists waiting."""

    async def handle(message: Message, delivery: Delivery) -> None:
        with contextlib.suppress(StoreError):
            await handler(message, delivery)

    return handle
