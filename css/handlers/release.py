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
from css.handlers.following import Following
from css.handlers.forwarding import Forwarding
from css.handlers.hops import has_hopped
from css.handlers.lookup import Found, Lookup
from css.handlers.requests import Answers, pending, requester_of
from css.handlers.steps import Steps
from css.handlers.trails import Trail
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
        following: Following,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._lookup = lookup
        self._steps = steps
        self._answers = answers
        self._forwarding = forwarding
        self._following = following

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {ReleaseRequest: self.release}

    async def release(self, request: ReleaseRequest, delivery: Delivery) -> None:
        """End a conference in whatever state it is, and answer at once."""
        e164 = request.confE164
        requester, certain = requester_of(request, delivery, e164, request.mtreqid)
        if self._platforms().own_abnormal:
            refusal = Refusal(requester, certain, _nack(request, ErrCode.PLATFORM_ABNORMAL))
            await self._following.refuse(e164, refusal, delivery)
            return
        late = Refusal(requester, certain, _nack(request, ErrCode.UNREACHABLE_PLATFORM))
        decider = await self._following.decider(e164, late, delivery)
        if decider is None:
            return
        found = await self._lookup.find(e164, requester.request_key)
        if certain and found.request is not None:
            # A repetition, perhaps late: it must not end a conference that has since got the same number.
            await self._answers.repeat(self._stores[self._own], found.request, requester)
            return
        error = await self._decide(found, request, requester, certain, delivery, late)
        if error is not None:
            self.log.info("{e164}: release refused: {error}", e164=e164, error=error)
            await self._answers.give(decider, e164, requester, certain, _nack(request, error))

    async def _decide(
        self,
        found: Found,
        request: ReleaseRequest,
        requester: Requester,
        certain: bool,
        delivery: Delivery,
        late: Refusal,
    ) -> ErrCode | None:
        """@return: why the request is refused; None: it is not, or has its answer."""
        e164, c = request.confE164, found.conference(request.confE164)
        if c is None or found.store is None:
            return ErrCode.CONF_NOT_FOUND if found.all_answered else ErrCode.UNREACHABLE_PLATFORM
        if self._is_elsewhere(c):
            if has_hopped(delivery):
                return ErrCode.CONF_NOT_RUNNING
            reached = await self._forwarding.forward(delivery, e164, c.platformmoid, late)
            return None if reached else ErrCode.UNREACHABLE_PLATFORM
        if await self._release(found.store, e164, requester, certain):
            return None
        known = (await found.store.load(e164, requester.request_key)).request if certain else None
        if known is None:
            return ErrCode.CONF_NOT_FOUND
        await self._answers.repeat(found.store, known, requester)
        return None

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
            await self._following.trails.leave(requester, Trail(store.platform))
        return await self._steps.take(store, e164, "release", prepare, memory) is not None


def _nack(request: ReleaseRequest, error: ErrCode) -> ReleaseNack:
    return ReleaseNack(confE164=request.confE164, mtreqid=request.mtreqid, errcode=error.value)
