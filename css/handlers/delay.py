"""Moving a conference's end, asked for by a CM or by the MCU that runs it (seed 5.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace
from twisted.logger import Logger

from css.domain.conference import Conference, Requester
from css.domain.errors import ErrCode
from css.domain.events import DelayAsked, Event, McuProcess
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.dispatch import Routes
from css.handlers.doubtful import Refusal
from css.handlers.effects import delay_nack
from css.handlers.following import Following
from css.handlers.lookup import Found, Lookup
from css.handlers.requests import Answers, pending, requester_of
from css.handlers.steps import Steps
from css.handlers.trails import Trail
from css.messages.control import DelayRequest, McuDelayRequest
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore


class Delaying:
    """Moves ends, of conferences in the own store and in those of the possible platforms, wherever they run."""

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        stores: Mapping[str, IConferenceStore],
        lookup: Lookup,
        steps: Steps,
        answers: Answers,
        following: Following,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._stores = stores
        self._lookup = lookup
        self._steps = steps
        self._answers = answers
        self._following = following

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {DelayRequest: self.asked_by_cm, McuDelayRequest: self.asked_by_mcu}

    async def asked_by_cm(self, request: DelayRequest, delivery: Delivery) -> None:
        """A CM moves the end; the MCU is told, also one of another platform."""
        requester, certain = requester_of(request, delivery, request.confE164, request.mtreqid)
        await self._delay(request, requester, certain, None, delivery)

    async def asked_by_mcu(self, request: McuDelayRequest, delivery: Delivery) -> None:
        """The MCU process that runs it moves the end; it is answered in its own queue unless it asks otherwise."""
        requester, certain = requester_of(request, delivery, request.confE164, request.mtreqid)
        if not requester.reply_to:
            requester = replace(requester, reply_to=to.mcu_queue(request.ip, request.pid))
        await self._delay(request, requester, certain, McuProcess(self._own, request.ip, request.pid), delivery)

    async def _delay(
        self,
        request: DelayRequest | McuDelayRequest,
        requester: Requester,
        certain: bool,
        mcu: McuProcess | None,
        delivery: Delivery,
    ) -> None:
        e164, to_mcu = request.confE164, mcu is not None

        def refusal(error: ErrCode) -> Refusal:
            return Refusal(requester, certain, delay_nack(e164, requester, error, to_mcu=to_mcu))

        if self._platforms().own_abnormal:
            await self._following.refuse(e164, refusal(ErrCode.PLATFORM_ABNORMAL), delivery)
            return
        decider = await self._following.decider(e164, refusal(ErrCode.UNREACHABLE_PLATFORM), delivery)
        if decider is None:
            return
        found = await self._lookup.find(e164, requester.request_key)
        if certain and found.request is not None:
            await self._answers.repeat(self._stores[self._own], found.request, requester)
            return
        error = await self._decide(found, request, requester, certain, mcu)
        if error is not None:
            self.log.info("{e164}: delay refused: {error}", e164=e164, error=error)
            await self._answers.give(decider, e164, requester, certain, refusal(error).message)

    async def _decide(
        self,
        found: Found,
        request: DelayRequest | McuDelayRequest,
        requester: Requester,
        certain: bool,
        mcu: McuProcess | None,
    ) -> ErrCode | None:
        """@return: why the request is refused; None: it is not, or has its answer."""
        if found.store is None:
            return ErrCode.CONF_NOT_FOUND if found.all_answered else ErrCode.UNREACHABLE_PLATFORM
        if await self._move(found.store, request, requester, certain, mcu):
            return None
        known = (await found.store.load(request.confE164, requester.request_key)).request if certain else None
        if known is None:
            return ErrCode.CONF_NOT_FOUND
        await self._answers.repeat(found.store, known, requester)
        return None

    async def _move(
        self,
        store: IConferenceStore,
        request: DelayRequest | McuDelayRequest,
        requester: Requester,
        certain: bool,
        mcu: McuProcess | None,
    ) -> bool:
        """@return: whether there was a conference, and the request was new."""

        async def prepare(c: Conference | None, now_ms: int) -> Event | None:
            if c is None:
                return None
            return DelayAsked(now_ms=now_ms, requester=requester, minutes=request.delay, mcu=mcu)

        # The commit asks once more whether the request is new: however often it comes, the end moves once.
        memory = pending(requester, certain) if certain else None
        if certain and store.platform != self._own:
            await self._following.trails.leave(requester, Trail(store.platform))
        return await self._steps.take(store, request.confE164, "delay", prepare, memory) is not None
