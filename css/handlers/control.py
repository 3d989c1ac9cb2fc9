"""Control of running conferences: what CMs and MCUs tell each other is passed on (seed 2.3.3, 5, 10)."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from css.domain.conference import Conference, State
from css.domain.errors import ErrCode
from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.dispatch import Routes
from css.handlers.doubtful import Refusal
from css.handlers.effects import Parcel
from css.handlers.following import Following
from css.handlers.forwarding import Forwarding
from css.handlers.hops import has_hopped
from css.handlers.letters import Kind, Letter, lane_at_home, message_id, peer_lane
from css.handlers.lookup import Found, Lookup
from css.handlers.outbox import Outbox, Post
from css.handlers.passing import PassedRequests
from css.handlers.requests import Answers, requester_of
from css.handlers.tally import Tally
from css.handlers.tracker import NumberLocks
from css.messages.catalogue import answer_type
from css.messages.codec import encode_as, wire_type
from css.messages.control import (
    CmControl,
    CmRequest,
    McuControl,
    ModifyNameAck,
    ModifyNameNack,
    ModifyNameRequest,
    StartMonitorRequest,
    StopMonitorRequest,
    refusal,
)
from css.ports.bus import BusError, Delivery, Outgoing
from css.ports.store import IConferenceStore, StoreError

NameAnswer = ModifyNameAck | ModifyNameNack
BeforePassing = Callable[[CmRequest, Conference, IConferenceStore], Awaitable[ErrCode | None]]
"""Called with a CM's request, the record as it was read, and its store, before the request goes to the MCU here. Gives
why it must not go, None: it may. If it fails the request is given back. A request that comes again may be shown again.
"""


class Control:
    """Passes messages on between CMs and the MCUs of their conferences, and to other platforms' CSS.

    @param store: gives the own platform's store.
    @param session: a text that no other run of any instance has.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        store: Callable[[], IConferenceStore | None],
        clocks: StoreClocks,
        lookup: Lookup,
        answers: Answers,
        passed: PassedRequests,
        forwarding: Forwarding,
        following: Following,
        outbox: Outbox,
        post: Post,
        tally: Tally,
        session: str,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._store = store
        self._clocks = clocks
        self._lookup = lookup
        self._answers = answers
        self._passed = passed
        self._forwarding = forwarding
        self._following = following
        self._outbox = outbox
        self._post = post
        self._tally = tally
        self._session = session
        self._locks = NumberLocks()
        self._numbers = itertools.count(1)
        self.before_passing: list[BeforePassing] = []

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return {
            CmControl: self.from_cm,
            StartMonitorRequest: self.from_cm,
            StopMonitorRequest: self.from_cm,
            ModifyNameAck: self.from_cm,
            ModifyNameNack: self.from_cm,
            McuControl: self.from_mcu,
            ModifyNameRequest: self.from_mcu,
        }

    async def from_cm(self, message: CmRequest | NameAnswer, delivery: Delivery) -> None:
        """To the MCU that runs the conference, here or on another platform. A request gets an answer."""
        if not isinstance(message, NameAnswer) and answer_type(wire_type(message), "NACK"):
            await self._ask(message, delivery)
        elif not await self._tell(message, delivery):
            self._tally.count("controls_dropped")
            self.log.info("{e164}: {type} dropped", e164=message.confE164, type=wire_type(message))

    async def _ask(self, request: CmRequest, delivery: Delivery) -> None:
        requester, certain = requester_of(request, delivery, request.confE164, request.mtreqid)
        if self._platforms().own_abnormal:
            refusal = Refusal(requester, certain, _nack(request, ErrCode.PLATFORM_ABNORMAL))
            await self._following.refuse(request.confE164, refusal, delivery)
            return
        unreachable = Refusal(requester, certain, _nack(request, ErrCode.UNREACHABLE_PLATFORM))
        if await self._following.decider(request.confE164, unreachable, delivery) is None:
            return
        found = await self._lookup.find(request.confE164, requester.request_key, first=True)
        store = self._store()
        if store is None:
            raise StoreError(f"no store of {self._own}")
        if certain and found.request is not None:
            await self._answers.repeat(store, found.request, requester)
            return
        c = found.conference(request.confE164)
        if c is not None and found.store is not None and self._runs_here(c):
            error = await self._objection(request, c, found.store)
            if error is None:
                await self._passed.pass_on(c, request, delivery, requester, certain)
                return
        else:
            error = await self._elsewhere(c, found, delivery, unreachable)
        if error is not None:
            self.log.info("{e164}: control refused: {error}", e164=request.confE164, error=error)
            await self._answers.give(store, request.confE164, requester, certain, _nack(request, error))

    async def _objection(self, request: CmRequest, c: Conference, store: IConferenceStore) -> ErrCode | None:
        for before in self.before_passing:
            error = await before(request, c, store)
            if error is not None:
                return error
        return None

    async def _tell(self, message: CmRequest | NameAnswer, delivery: Delivery) -> bool:
        """@return: whether there was somebody to tell: an MCU here, or another platform."""
        if self._platforms().own_abnormal:
            return False
        found = await self._lookup.find(message.confE164, first=True)
        c = found.conference(message.confE164)
        if c is None or not self._runs_here(c):
            # A CM answers once; what it says unasked it may say again.
            waits = isinstance(message, NameAnswer) or wire_type(message).endswith(("_ACK", "_NACK"))
            return await self._elsewhere(c, found, delivery, waits=waits) is None
        if isinstance(message, NameAnswer) and _names_another(message, c):
            return False
        body = encode_as(message, delivery.body)
        identity = delivery.message_id or self._fresh_id()
        queue = to.mcu_queue(c.ip, c.pid)
        outgoing = Outgoing(to.DEFAULT, queue, body, identity, delivery.correlation_id)
        letter = Letter(Kind.COMMAND, self._clocks.now_ms(self._own), outgoing)
        if await self._post.deliver([letter], self._own):
            raise BusError(f"{queue} could not be told")
        return True

    def _runs_here(self, c: Conference) -> bool:
        return c.state is State.ONGOING and c.platformmoid == self._own

    async def _elsewhere(
        self,
        c: Conference | None,
        found: Found,
        delivery: Delivery,
        refusal: Refusal | None = None,
        waits: bool = False,
    ) -> ErrCode | None:
        """What does not run here goes to where it runs. @return: None: it has gone there, else why it can't."""
        if c is None:
            return ErrCode.CONF_NOT_FOUND if found.all_answered else ErrCode.UNREACHABLE_PLATFORM
        if c.state is not State.ONGOING or has_hopped(delivery):
            return ErrCode.CONF_NOT_RUNNING
        reached = await self._forwarding.forward(delivery, c.e164, c.platformmoid, refusal, waits)
        return None if reached else ErrCode.UNREACHABLE_PLATFORM

    async def from_mcu(self, message: McuControl | ModifyNameRequest, delivery: Delivery) -> None:
        """To whoever asked, else to the CM that the conference belongs to."""
        kind = wire_type(message).rpartition("_")[2]
        if kind in ("ACK", "NACK") and await self._answered(kind, delivery):
            return
        peer = await self._cm_platform(message.confE164, delivery)
        if kind == "REQ":
            # A CM that answers where it is told to reaches CSS, which finds the MCU wherever it then is.
            address, properties = to.TO_CM_REQUEST, (delivery.correlation_id, to.CONTROL_QUEUE)
        else:
            address, properties = to.TO_CM_NOTICE, ("", "")
        outgoing = Outgoing(*address, delivery.body, delivery.message_id or self._fresh_id(), *properties)
        number = f"{message.confE164}?cm"
        await self._locks.run(number, lambda: self._notify(number, outgoing, peer))

    async def _answered(self, kind: str, delivery: Delivery) -> bool:
        """@return: whether somebody awaited it, or had done."""
        try:
            return await self._passed.answered(delivery.correlation_id, delivery.body, acked=kind == "ACK")
        except StoreError:
            if not self._platforms().own_abnormal:
                raise
            # The own Redis may be gone with the platform: until it is back nobody knows who asked.
            self._tally.count("answers_not_awaited")
            return True

    async def _cm_platform(self, e164: str, delivery: Delivery) -> str:
        """Moid of the platform whose CM is told; empty: the own one's."""
        if not e164:
            return ""
        found = await self._lookup.find(e164, first=True)
        if found.store is not None:
            source = found.store.platform
            return "" if self._platforms().serves(source) else source
        if not all(self._platforms().serves(moid) for moid in found.silent) and not delivery.redelivered:
            # Once more a moment later; for ever would fill the queue while another platform's store is away.
            raise StoreError(f"{e164}: no record found, and not every store answered")
        return ""

    async def _notify(self, number: str, outgoing: Outgoing, peer: str) -> None:
        """Have a CM told, after what waits for it already. Where there is no store to wait in, now or not at all."""
        store = self._store()
        try:
            if store is None:
                raise StoreError(f"no store of {self._own}")
            await self._clocks.know(store)
            now_ms = self._clocks.now_ms(self._own)
            lane = peer_lane(peer) if peer else lane_at_home(Kind.NOTICE, outgoing.exchange)
            parcels = {lane: Parcel([Letter(Kind.NOTICE, now_ms, outgoing)], [], [])}
            mark = f"{now_ms}.{next(self._numbers)}.{outgoing.message_id}"
            await self._outbox.send(store, number, parcels, mark, now_ms)
        except StoreError:
            letter = Letter(Kind.NOTICE, self._clocks.now_ms(self._own), outgoing)
            if await self._post.deliver([letter], self._own, peer, patient=not peer):
                raise

    def _fresh_id(self) -> str:
        """For what came without an id: another one each time, since nothing tells two equal messages apart."""
        return message_id("passed", self._session, next(self._numbers))


def _names_another(answer: NameAnswer, c: Conference) -> bool:
    """Whether an answer names another process than the one that the conference is on now."""
    return (answer.ip or c.ip, answer.pid or c.pid) != (c.ip, c.pid)


def _nack(request: CmRequest, error: ErrCode) -> McuControl:
    nack = answer_type(wire_type(request), "NACK")
    assert nack is not None  # only requests are refused
    return refusal(nack, request.confE164, request.mtreqid, error.value)
