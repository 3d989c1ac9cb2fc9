"""How a request is known again, and how its answer is repeated (contract section 1, "The same request")."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from css.domain.conference import Requester
from css.handlers.clocks import StoreClocks
from css.handlers.effects import ANSWER_KEPT_SECONDS, Parcel, answer_address, remembered
from css.handlers.hops import origin_of
from css.handlers.letters import Kind, Letter, lane_at_home, message_id, peer_lane, unpack_answer
from css.handlers.outbox import Outbox, Post
from css.handlers.probes import Probe, no_probe
from css.handlers.tally import Tally
from css.handlers.trails import HandedOn, Trail, with_trail, without_trail
from css.messages.base import Message
from css.messages.codec import encode, wire_type
from css.ports.bus import BusError, Delivery, Outgoing
from css.ports.store import Commit, IConferenceStore, Outcome, RequestWrite, StoreError


def requester_of(message: Message, delivery: Delivery, e164: str, mtreqid: str) -> tuple[Requester, bool]:
    """Who asks, and whether an equal key means the same request.

    Equal `message_id`; without one, equal type, number, `mtreqid`, `reply_to` and `correlation_id`; with none of these
    marks, only what the broker flags as redelivered can be the same request.
    """
    if delivery.message_id:
        parts: tuple[str, ...] = ("id", delivery.message_id)
        certain = True
    else:
        parts = (wire_type(message), e164, mtreqid, delivery.reply_to, delivery.correlation_id)
        certain = bool(mtreqid or delivery.correlation_id) or delivery.redelivered
    key = hashlib.sha1("\0".join(parts).encode(), usedforsecurity=False).hexdigest()
    return Requester(mtreqid, delivery.reply_to, delivery.correlation_id, key, origin_of(delivery)), certain


def answer_lane(requester: Requester, kind: Kind, answer: Outgoing) -> str:
    """The lane of a request's answer: that of the platform where it was asked."""
    return peer_lane(requester.origin) if requester.origin else lane_at_home(kind, answer.exchange)


def pending(requester: Requester, certain: bool) -> RequestWrite:
    """The memory of a request whose answer comes later."""
    return RequestWrite(requester.request_key, b"", ANSWER_KEPT_SECONDS, only_new=certain)


def seen_once(notice: Message, delivery: Delivery, e164: str) -> RequestWrite | None:
    """The memory of a notice that must not take effect again when it is repeated; None if it has no mark of its own."""
    if not delivery.message_id:
        return None
    requester, _ = requester_of(notice, delivery, e164, "")
    return RequestWrite(requester.request_key, b"seen", ANSWER_KEPT_SECONDS, only_new=True)


class Answers:
    """Gives answers that belong to no record, and repeats those that are kept."""

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        clocks: StoreClocks,
        outbox: Outbox,
        post: Post,
        tally: Tally,
        probe: Probe = no_probe,
    ) -> None:
        self._own = own
        self._stores = stores
        self._clocks = clocks
        self._outbox = outbox
        self._post = post
        self._tally = tally
        self._probe = probe
        self._given = 0

    async def give(
        self,
        store: IConferenceStore,
        e164: str,
        requester: Requester,
        certain: bool,
        message: Message,
        instead_of: Trail | None = None,
    ) -> None:
        """Answer a request that changes no record; a repetition gets the answer that the first one got.

        @param instead_of: it was handed on in vain. If it has come further meanwhile it is not answered here.
        @raise HandedOn: a copy of it was handed on, so that it may be answered elsewhere.
        @raise StoreError: the store is away.
        """
        await self._clocks.know(store)
        now_ms = self._clocks.now_ms(store.platform)
        kind, outgoing = self._answer_to(requester, certain, message)
        write = remembered(requester, outgoing, only_new=certain)
        parcels = {answer_lane(requester, kind, outgoing): Parcel([Letter(kind, now_ms, outgoing)], [], [])}
        mark = f"0.0.{outgoing.message_id}"
        entries = self._outbox.entries(parcels, mark, now_ms)
        # Not in the outbox of the number itself: it would hold up the effects of the conference that has it.
        number = f"{e164}?{requester.request_key}"
        guards: tuple[tuple[str, str], ...] = ()
        if store.platform == self._own:
            guards = with_trail(requester, instead_of) if instead_of else without_trail(requester, certain)
        commit = Commit(e164=number, touch_record=False, request=write, guards=guards, outbox=entries)
        result = await store.commit(commit)
        if result.outcome is Outcome.GUARD:
            if instead_of is None:
                raise HandedOn(f"{e164}: a copy of the request has just been handed on")
        elif result.outcome is Outcome.DONE:
            self._probe("answer", "after_commit")
            await self._outbox.carry_out(store, number, parcels, mark, ())
            self._probe("answer", "after_confirm")
        elif result.loaded is not None:
            await self.repeat(store, result.loaded.request, requester)

    async def say(self, store_platform: str, requester: Requester, certain: bool, message: Message) -> None:
        """Answer while no store need be there. One that is remembers the answer, or repeats what it was before.

        Fails with `HandedOn`, see `give`, and with `BusError` where the answer can neither be delivered nor kept.

        @param store_platform: in whose store the answer waits, if it can't be delivered at once.
        """
        if certain and await self._repeated_from_anywhere(requester):
            return
        store = self._stores.get(store_platform)
        if store is not None and store.available:
            try:
                await self.give(store, "", requester, certain, message)
                return
            except HandedOn:
                raise
            except StoreError as error:
                self.log.info("answered without any memory: {error}", error=str(error))
        kind, outgoing = self._answer_to(requester, certain, message)
        await self._deliver(kind, outgoing, store_platform, requester.origin)

    async def _repeated_from_anywhere(self, requester: Requester) -> bool:
        """@return: whether a store that is there knows the request. It may have been answered in any of them."""
        for store in list(self._stores.values()):
            with contextlib.suppress(StoreError):
                known = (await store.load("", requester.request_key)).request if store.available else None
                if known is not None:
                    await self.repeat(store, known, requester)
                    return True
        return False

    async def repeat(self, store: IConferenceStore, kept: bytes | None, requester: Requester) -> None:
        """Send a kept answer again; a request that is still pending is answered when its work is done.

        @param requester: as the repetition names it: a CM that has connected anew has another reply queue, and one that
            asks anew awaits its answer under another correlation id.
        """
        self._tally.count("request_repeated")
        if kept:
            kind, (exchange, key) = answer_address(requester)
            outgoing = msgspec.structs.replace(
                unpack_answer(kept), exchange=exchange, routing_key=key, correlation_id=requester.correlation_id
            )
            await self._deliver(kind, outgoing, store.platform, requester.origin)

    async def _deliver(self, kind: Kind, outgoing: Outgoing, platform: str, origin: str) -> None:
        """Deliver an answer, or keep it: then the sweep delivers it. Fails where neither can be done."""
        letter = Letter(kind, self._clocks.now_ms(platform), outgoing)
        if not await self._post.deliver([letter], platform, origin, patient=not origin):
            return
        store = self._stores.get(platform)
        try:
            if store is None:
                raise StoreError(f"no store of {platform}")
            await self._keep(store, letter, origin)
        except StoreError as error:
            if kind is Kind.NOTICE and not origin and await self._post.park_unroutable(letter):
                return
            raise BusError("an answer could neither be delivered nor kept") from error

    async def _keep(self, store: IConferenceStore, letter: Letter, origin: str) -> None:
        await self._clocks.know(store)
        letter = msgspec.structs.replace(letter, born_ms=self._clocks.now_ms(store.platform))
        lane = peer_lane(origin) if origin else lane_at_home(letter.kind, letter.outgoing.exchange)
        mark = f"0.0.{letter.outgoing.message_id}"
        entries = self._outbox.entries({lane: Parcel([letter], [], [])}, mark, letter.born_ms)
        number = f"?{letter.outgoing.message_id}"
        await store.commit(Commit(e164=number, touch_record=False, outbox=entries))

    def _answer_to(self, requester: Requester, certain: bool, message: Message) -> tuple[Kind, Outgoing]:
        """An answer with its address. Its id is the same each time, if the request can be told from others."""
        kind, address = answer_address(requester)
        self._given += 1
        mark = () if certain else (self._clocks.local_ms(), self._given)
        identity = message_id("answer", requester.request_key, *mark)
        return kind, Outgoing(*address, encode(message), identity, requester.correlation_id)
