"""The outbox sweep: carries out what a dead instance, or a broker that was away, left behind; same message ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from css.domain.platforms import Platforms
from css.handlers.effects import Parcel
from css.handlers.letters import (
    ASK_LANE,
    LEDGER_LANE,
    LOAD_LANE,
    SQL_LANE,
    TAKE_LANE,
    TEMPLATE_LANE,
    lease_of,
    peer_of,
    unpack_bookings,
    unpack_intents,
    unpack_letters,
    unpack_rows,
    unpack_steps,
)
from css.handlers.outbox import Outbox, Post
from css.handlers.probes import Probe, no_probe
from css.handlers.tally import Tally
from css.ports.store import IConferenceStore, OutboxBatch, StoreError

PAGE = 200
PEER_ROUND_SECONDS = 10.0
"""How often letters to a platform without a link are looked at: only their age can matter."""
MOST_FOR_A_PEER = 10_000
"""How many entries wait for one platform that can't be reached (contract, section 1)."""


LEFT_TO_THEIR_OWNER = (ASK_LANE, LOAD_LANE, TAKE_LANE, LEDGER_LANE)
"""What nobody does for a platform that is abnormal."""


class OutboxSweep:
    """One round looks through the lanes of this platform in every store; in those of source platforms that are served
    here, also through the lanes of platforms that are abnormal.

    @param lease_ms: how long a claimed number is left to the instance that claimed it.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        outbox: Outbox,
        post: Post,
        tally: Tally,
        lease_ms: int,
        probe: Probe = no_probe,
    ) -> None:
        self._reactor = reactor
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._outbox = outbox
        self._post = post
        self._tally = tally
        self._lease_ms = lease_ms
        self._probe = probe
        self._next_look: dict[tuple[str, str], float] = {}
        """(store, lane to a platform without a link) -> when it is looked at again."""
        self._sizes: dict[tuple[str, str], int] = {}
        """The same -> how many entries were in it in this round."""
        self._surplus = 0
        """How many of the next entries are too many, and so are parked."""

    async def tick(self) -> None:
        """One round. Fails with the last `StoreError`, after all stores have been tried."""
        failed: StoreError | None = None
        parked = self._tally["parked_unreachable"]
        self._sizes.clear()
        for store in list(self._stores.values()):
            try:
                for lane in await store.outbox_lanes(self._own):
                    await self._sweep(store, lane)
                for owner in self._abnormal(store):
                    await self._sweep_of(store, owner)
            except StoreError as error:
                failed = error
        if self._tally["parked_unreachable"] > parked:
            count = self._tally["parked_unreachable"] - parked
            self.log.error("ALERT: {count} messages to platforms that can't be reached are parked", count=count)
        if failed is not None:
            raise failed

    def _abnormal(self, store: IConferenceStore) -> list[str]:
        """Platforms whose instances may not be there to sweep the store, which is served here."""
        return [platform for source, platform in self._platforms().lost if source == store.platform]

    async def _sweep_of(self, store: IConferenceStore, owner: str) -> None:
        """What an abnormal platform has left: its letters as far as its broker can be reached, its rows.

        What it has asked of its RMS and its MCUs is of no use any more, what it counts is in its own Redis.
        """
        for lane in await store.outbox_lanes(owner):
            if lane in LEFT_TO_THEIR_OWNER:
                continue
            peer = self._peer(owner, lane)
            if not peer or self._post.reaches(peer):
                while await self._sweep_page(store, lane, owner):
                    pass

    def _peer(self, owner: str, lane: str) -> str:
        """Whose broker the letters of a lane go to; empty: the own one, or it is no lane of letters."""
        if lane in self._outbox.carriers:
            return ""
        peer = peer_of(lane) or owner
        return "" if peer == self._own else peer

    async def _sweep(self, store: IConferenceStore, lane: str) -> None:
        peer = peer_of(lane)
        if peer and not self._post.reaches(peer):
            await self._sweep_unreachable(store, lane)
            return
        while await self._sweep_page(store, lane):
            pass

    async def _sweep_unreachable(self, store: IConferenceStore, lane: str) -> None:
        """What waits for a platform without a link is parked when it is too old, and when it is too much."""
        place, now = (store.platform, lane), self._reactor.seconds()
        size = self._sizes[place] = await store.outbox_size(self._own, lane)
        total = sum(count for (_, other), count in self._sizes.items() if other == lane)
        self._surplus = max(0, total - MOST_FOR_A_PEER)
        if not self._surplus and now < self._next_look.get(place, 0.0):
            return
        self._next_look[place] = now + PEER_ROUND_SECONDS
        try:
            for _ in range(size // PAGE + 1):
                await self._sweep_page(store, lane)
        finally:
            self._surplus = 0

    async def _sweep_page(self, store: IConferenceStore, lane: str, owner: str = "") -> bool:
        """Carry one page out. @return: whether another may follow at once: there is more, and this one has gone."""
        batches = await store.take_outbox(owner or self._own, lane, lease_of(lane, self._lease_ms), PAGE)
        gone = True
        for batch in batches:
            self._probe("sweep", "before_publish")
            for mark, data in batch.entries:
                if not await self._again(store, lane, batch, mark, data, owner):
                    gone = False
                    if lane != ASK_LANE:
                        break  # what comes later may not overtake it
        # Rows and places only join a queue here, which is bounded: one page a round.
        return gone and len(batches) == PAGE and lane not in self._outbox.carriers

    async def _again(
        self, store: IConferenceStore, lane: str, batch: OutboxBatch, mark: str, data: bytes, owner: str
    ) -> bool:
        """Carry one entry out; whether the number's next one may follow."""
        if self._outbox.is_done(store, batch.e164, lane, mark, owner):
            return True
        if not owner and self._outbox.is_carrying(store, batch.e164, lane, mark):
            return False
        self._tally.count(f"swept_{lane.partition('/')[0]}")
        try:
            if lane in self._outbox.carriers:
                parcel = _parcel(lane, data)
                self._outbox.carriers[lane](store, batch.e164, mark, parcel, owner)
                return True
            letters = unpack_letters(data)
        except msgspec.MsgspecError as error:
            self.log.error(
                "{e164}: ALERT: an outbox entry of lane {lane} can't be read and is dropped: {error}",
                e164=batch.e164,
                lane=lane,
                error=str(error),
            )
            self._outbox.mark_done(store, batch.e164, lane, mark, owner)
            return True
        if self._surplus:
            self._surplus -= 1
            left = await self._post.give_up(letters)
        else:
            peer = self._peer(owner or self._own, lane)
            left = await self._post.deliver(letters, store.platform, peer, patient=False)
        self._probe("sweep", "after_confirm")
        if not left:
            self._outbox.mark_done(store, batch.e164, lane, mark, owner)
            return True
        if len(left) < len(letters):
            await self._outbox.keep_only(store, batch.e164, lane, mark, left, owner)
        return False


def _parcel(lane: str, data: bytes) -> Parcel:
    if lane == SQL_LANE:
        return Parcel([], unpack_rows(data), [], [])
    if lane == LEDGER_LANE:
        return Parcel([], [], [], unpack_steps(data))
    if lane == TEMPLATE_LANE:
        return Parcel(intents=unpack_intents(data))
    return Parcel([], [], unpack_bookings(data), [])
