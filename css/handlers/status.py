"""What network management is told of each instance (seed 11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.logger import Logger

from css.domain.conference import platform_index
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.letters import Kind, Letter, message_id
from css.handlers.outbox import Post
from css.messages.codec import encode
from css.messages.reports import StatusNotice
from css.ports.bus import Outgoing
from css.ports.store import IConferenceStore, StoreError

MOST_WAITING = 10
"""Older reports than the newest ten are of no use to anybody."""


class StatusReports:
    """Tells how an instance is, in both states of its platform, whether its stores answer or not.

    @param session: a text that no other run of any instance has; begins the ids of its reports.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        instance: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        clocks: StoreClocks,
        post: Post,
        session: str,
    ) -> None:
        self._own = own
        self._instance = instance
        self._platforms = platforms
        self._stores = stores
        self._clocks = clocks
        self._post = post
        self._session = session
        self._made = 0
        self._counts: dict[str, int] = {}
        self._waiting: list[Letter] = []

    async def report(self) -> None:
        """Make a report and send it. Never fails."""
        self._made += 1
        notice = StatusNotice(
            moid=self._own,
            instance=self._instance,
            state="abnormal" if self._platforms().own_abnormal else "normal",
            conferences=await self._conferences(),
            nu=0,
        )
        outgoing = Outgoing(*to.TO_NMS, encode(notice), message_id("status", self._session, self._made))
        self._waiting.append(Letter(Kind.NOTICE, self._clocks.now_ms(self._own), outgoing))
        del self._waiting[:-MOST_WAITING]
        await self.send()

    async def send(self) -> None:
        """Send what could not be sent before. Never fails."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            left = await self._post.deliver(waiting, self._own, patient=False)
            self._waiting = [*left, *self._waiting][-MOST_WAITING:]

    async def _conferences(self) -> int:
        """How many run, or are to run, on this platform; of a store that is away, as it said last."""
        for store in list(self._stores.values()):
            try:
                self._counts[store.platform] = await store.index_size(platform_index(self._own))
            except StoreError:
                continue
        return sum(count for moid, count in self._counts.items() if moid in self._platforms().possible_and_own)
