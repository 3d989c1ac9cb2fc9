"""Conferences whose platform is abnormal, in the stores that are served here (seed 2.3.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.logger import Logger

from css.domain.conference import Conference, due_index
from css.domain.events import DeadlinePassed, Event
from css.domain.losses import AbnormalPlatform
from css.domain.platforms import Platforms
from css.domain.recovery import is_abandoned
from css.handlers.clocks import StoreClocks
from css.handlers.restoring import Restoring
from css.handlers.steps import Steps
from css.handlers.tally import Tally
from css.handlers.tracker import all_of
from css.ports.ledger import ILedger, Recovery
from css.ports.store import IConferenceStore, StoreError

PAGE = 200
RECENT = 50
"""How many of the newest recoveries are looked through for the one under way."""


class Takeover:
    """Takes conferences off platforms that are abnormal. A standing condition, not an event: an instance that starts
    late, or crashes half-way, still takes over what is left. Restores follow, paced and in order as all others.

    The own store is served as well: a backup that dies after it has handed back loses what still runs there.

    @param restore: a round of restores. What has been taken is begun to be restored at once: a main whose own PMS says
        that it is normal looks as often for what waits, and would be given back for ever what is taken off it.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        ledger: Callable[[], ILedger],
        clocks: StoreClocks,
        steps: Steps,
        restoring: Restoring,
        restore: Callable[[], Awaitable[None]],
        tally: Tally,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._ledger = ledger
        self._clocks = clocks
        self._steps = steps
        self._restoring = restoring
        self._restore = restore
        self._tally = tally
        self._passed_over: dict[str, int] = {}
        """How many of a platform's oldest deadlines in the own store the last rounds have looked at already."""

    async def tick(self) -> None:
        """One round. A store that is away does not keep the others waiting. Fails with the last `StoreError`."""
        await self._each(self._take, self._platforms().lost)

    async def _each(
        self, work: Callable[[IConferenceStore, str], Awaitable[None]], pairs: tuple[tuple[str, str], ...]
    ) -> None:
        failed: StoreError | None = None
        for source, platform in pairs:
            store = self._stores.get(source)
            try:
                if store is not None:
                    await work(store, platform)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _take(self, store: IConferenceStore, platform: str) -> None:
        loss = AbnormalPlatform(platform)
        if not await store.index_size(loss.index):
            return
        recovery = await self._recovery(loss)

        def is_lost() -> bool:  # it may come back in the middle of this round
            return (store.platform, platform) in self._platforms().lost

        taken = await self._restoring.take_off([store], loss, recovery, is_lost)
        self._tally.count("taken_over", taken)
        if taken:
            await self._restore()

    async def _recovery(self, loss: AbnormalPlatform) -> Recovery:
        """The one that is under way, perhaps begun by another instance or before a restart; else a new one."""
        now_ms = self._clocks.now_ms(self._own)
        for known in await self._ledger().recent(RECENT):
            is_same = (known.kind, known.subject, known.ended_ms) == (loss.kind, loss.subject, 0)
            if is_same and not known.came_to_nothing(now_ms):
                return known
        return self._restoring.recovery(loss, f"the PMS says that platform {loss.platform} is abnormal")

    async def watch_others(self) -> None:
        """One round over what others have begun to place in the own store and never finished: past twice the creating
        time-out it counts as failed. Fails with `StoreError`.

        A backup that was cut off in the middle of a handback would else keep it `creating` for ever. What it has left
        running stays overdue as well, and is passed over: the next round looks at what is behind it.
        """
        store = self._stores.get(self._own)
        if store is None:
            return
        timeout_ms = self._steps.rules.creating_timeout_ms
        for platform in self._platforms().peers:
            before_ms = self._clocks.now_ms(self._own) - timeout_ms
            first = self._passed_over.get(platform, 0)
            numbers = await store.due_before(due_index(platform), before_ms, first + PAGE)
            self._passed_over[platform] = first + PAGE if len(numbers) == first + PAGE else 0
            await all_of(self._abandon(store, e164, platform) for e164 in numbers[first:])

    async def _abandon(self, store: IConferenceStore, e164: str, platform: str) -> None:
        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None or c.platformmoid != platform or not is_abandoned(c, now_ms, self._steps.rules):
                return None
            return DeadlinePassed(now_ms=now_ms, placement=None)

        if await self._steps.take(store, e164, "abandoned", prepare) is not None:
            self._tally.count("abandoned")
            self.log.warn(
                "{e164}: platform {platform} began to place it and never finished", e164=e164, platform=platform
            )
