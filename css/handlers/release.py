"""A CM's release request (contract: "Release")."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.logger import Logger

from css.domain.conference import Conference, Requester, State
from css.domain.errors import ErrCode
from css.domain.events import Event, ReleaseAsked
from css.domain.platforms import Platforms
from css.handlers.dispatch import Routes
from css.handlers.doubtful import Refusal
from css.handlers.forwarding import Forwarding
from css.handlers.hops import has_hopped
from css.handlers.lookup import Lookup
from css.handlers.requests import Answers, BegunElsewhere, pending, requester_of
from css.handlers.steps import Steps
from css.messages.create import ReleaseNack, ReleaseRequest
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore, StoreError


class Releasing:
    """Ends conferences that a CM no longer wants."""

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        lookup: Lookup,
        steps: Steps,
        answers: Answers,
        forwarding: Forwarding,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._lookup = lookup
        self._steps = steps
        self._answers = answers
        self._forwarding = forwarding
        self._begun = BegunElsewhere(own, stores, steps.clocks, steps.rules.request_timeout_ms)

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {ReleaseRequest: self.release}

    async def release(self, request: ReleaseRequest, delivery: Delivery) -> None:
        """End a conference in whatever state it is, and answer at once."""
        e164 = request.confE164
        requester, certain = requester_of(request, delivery, e164, request.mtreqid)
        if self._platforms().own_abnormal:
            await self._answers.say(self._own, requester, certain, _nack(request, ErrCode.PLATFORM_ABNORMAL))
            return
        found = await self._lookup.find(e164, requester.request_key)
        if certain and found.request is not None:
            # A repetition, perhaps late: it must not end a conference that has since got the same number.
            await self._answers.repeat(self._stores[self._own], found.request, requester)
            return
        c = found.conference(e164)
        if c is None or found.store is None:
            if certain and found.silent and await self._begun.knows(requester, delivery):
                return
            missing = ErrCode.CONF_NOT_FOUND if found.all_answered else ErrCode.UNREACHABLE_PLATFORM
            await self._refuse(request, requester, certain, missing)
            return
        if self._is_elsewhere(c):
            if has_hopped(delivery):
                await self._refuse(request, requester, certain, ErrCode.CONF_NOT_RUNNING)
            else:
                await self._forward(request, requester, certain, c.platformmoid, delivery)
            return
        if await self._release(found.store, e164, requester, certain):
            return
        known = (await found.store.load(e164, requester.request_key)).request if certain else None
        if known is not None:
            await self._answers.repeat(found.store, known, requester)
        else:
            await self._refuse(request, requester, certain, ErrCode.CONF_NOT_FOUND)

    async def _forward(
        self, request: ReleaseRequest, requester: Requester, certain: bool, platform: str, delivery: Delivery
    ) -> None:
        refusal = Refusal(requester, certain, _nack(request, ErrCode.UNREACHABLE_PLATFORM))
        if not await self._forwarding.forward(delivery, request.confE164, platform, refusal):
            await self._refuse(request, requester, certain, ErrCode.UNREACHABLE_PLATFORM)

    def _is_elsewhere(self, c: Conference) -> bool:
        """Whether another platform runs the conference, or is about to.

        One that waits to be restored runs nowhere: whoever is asked ends it. Should an MCU have it after all, its list
        tells, and it is released there.
        """
        return c.platformmoid != self._own and c.state is not State.PENDING_RESTORE

    async def _release(self, store: IConferenceStore, e164: str, requester: Requester, certain: bool) -> bool:
        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is not None and self._is_elsewhere(c):
                raise StoreError(f"release of {e164}: it has just gone to {c.platformmoid}")
            return None if c is None else ReleaseAsked(now_ms=now_ms, requester=requester)

        # The commit asks once more whether the request is new: another instance may be busy with a repetition of it,
        # and what it ends must not be followed by the end of the next conference with the number.
        memory = pending(requester, certain) if certain else None
        if certain and store.platform != self._own:
            await self._begun.note(requester)
        return await self._steps.take(store, e164, "release", prepare, memory) is not None

    async def _refuse(self, request: ReleaseRequest, requester: Requester, certain: bool, error: ErrCode) -> None:
        self.log.info("{e164}: release refused: {error}", e164=request.confE164, error=error)
        await self._answers.give(self._stores[self._own], request.confE164, requester, certain, _nack(request, error))


def _nack(request: ReleaseRequest, error: ErrCode) -> ReleaseNack:
    return ReleaseNack(confE164=request.confE164, mtreqid=request.mtreqid, errcode=error.value)
