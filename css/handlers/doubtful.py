"""What was handed over to another platform and perhaps did not get there (contract, "Forwarding"), and what waits here
for the store that knows of it."""

from __future__ import annotations

import itertools
from base64 import b64decode, b64encode
from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from css.domain.conference import Requester
from css.domain.errors import Unreadable
from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.due import DueWork
from css.handlers.effects import ANSWER_KEPT_SECONDS
from css.handlers.letters import message_id
from css.handlers.probes import Probe, no_probe
from css.handlers.requests import Answers
from css.handlers.tally import Tally
from css.handlers.trails import Trail, Trails
from css.messages.base import Message
from css.messages.codec import decode, encode
from css.ports.bus import BusError, Delivery, IBus, Outgoing, Unroutable
from css.ports.store import Commit, IConferenceStore, RequestWrite, StoreError

INDEX = "doubtful"
"""Index of what is to be sent again, by when; members are `<number>?<id>`."""
DOUBT_MS = 60_000
"""How long it is sent again. Refused earlier, a request that got there would be answered twice."""
WAIT_MS = 540_000
"""How long a request waits here for the store that knows of it: then it is looked at again, whatever is away."""
KNOWN_MS = 480_000
"""How long after that it is sent all the same, where there is a link by then: the other platform knows it again for ten
minutes after it got there. Whoever should have sent it was dead, or without the own Redis."""
NEWEST_MS = 86_400_000
"""The same of what nobody sends again. It is remembered for a week: all instances may be away meanwhile."""
NEWEST_KEPT_SECONDS = 7 * 86_400
RETRY_MS = 1_000
_SETTLED = b"settled"


class Refusal(msgspec.Struct, frozen=True):
    """What is said to a requester whose request could not be handed over. `certain`: see `requester_of`."""

    requester: Requester
    certain: bool
    message: Message


class _Doubted(msgspec.Struct, frozen=True, array_like=True):
    platform: str
    """Whose broker is to have it."""
    outgoing: Outgoing
    until_ms: int
    requester: Requester | None
    """None: nobody awaits an answer."""
    certain: bool
    refusal: bytes
    needs: str = ""
    """It waits for this platform's store; empty: for the broker only."""
    turn: str = ""
    """Another one each time that it is kept."""


class Doubtful:
    """Keeps such messages in the own platform's store, and sends them again with the same id until their fate is known.

    @param stores: the stores of the own and the possible platforms, by moid.
    @param bus: the own broker.
    @param peers: the other platforms' brokers by moid.
    @param session: a text that no other run of any instance has.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        stores: Mapping[str, IConferenceStore],
        clocks: StoreClocks,
        bus: IBus,
        peers: Mapping[str, IBus],
        answers: Answers,
        trails: Trails,
        tally: Tally,
        session: str,
        probe: Probe = no_probe,
    ) -> None:
        self._own = own
        self._stores = stores
        self._clocks = clocks
        self._bus = bus
        self._peers = peers
        self._answers = answers
        self._trails = trails
        self._tally = tally
        self._session = session
        self._probe = probe
        self._numbers = itertools.count(1)
        self._due = DueWork(INDEX, self._own_store, self._again, tally, RETRY_MS)

    async def keep(self, e164: str, platform: str, outgoing: Outgoing, refusal: Refusal | None) -> None:
        """Send it again until the other platform's broker has it, or it is too late. Fails with `StoreError`.

        @param refusal: for its requester, should it be too late; None: nobody awaits an answer.
        """
        asked = (refusal.requester, refusal.certain, encode(refusal.message)) if refusal else (None, False, b"")
        await self._keep(e164, DOUBT_MS, _Doubted(platform, outgoing, 0, *asked))
        self._tally.count("forwards_in_doubt")
        self.log.info("{e164}: what was for {platform} is sent again later", e164=e164, platform=platform)

    async def keep_here(self, e164: str, platform: str, delivery: Delivery) -> None:
        """Put a request into its queue again once another platform's store is back. Fails with `StoreError`."""
        await self._keep(e164, WAIT_MS, self._waiting(platform, delivery))

    async def keep_newest(self, subject: str, platform: str, delivery: Delivery) -> None:
        """As `keep_here`, for a notice that nobody sends again: it waits for as long as it takes, and of one subject
        only the one that came last does."""
        doubted = self._waiting(platform, delivery)
        await self._keep("", NEWEST_MS, doubted, ("newest", subject), NEWEST_KEPT_SECONDS)

    def _waiting(self, platform: str, delivery: Delivery) -> _Doubted:
        outgoing = Outgoing(
            to.DEFAULT,
            delivery.queue,
            delivery.body,
            delivery.message_id,
            delivery.correlation_id,
            delivery.reply_to,
            headers=dict(delivery.headers),
        )
        self._tally.count("requests_waiting")
        self.log.info("{queue}: a message waits for the store of {platform}", queue=delivery.queue, platform=platform)
        return _Doubted(self._own, outgoing, 0, None, False, b"", platform)

    async def _keep(
        self,
        e164: str,
        for_ms: int,
        doubted: _Doubted,
        subject: tuple[str, str] | None = None,
        kept_seconds: int = ANSWER_KEPT_SECONDS,
    ) -> None:
        """@param subject: it takes the place of what is kept of the same one; None: the message is one of its own."""
        store, marked = self._stores.get(self._own), doubted.outgoing.message_id
        if store is None:
            raise StoreError(f"no store of {self._own}")
        await self._clocks.know(store)
        turn = (self._session, next(self._numbers))
        doubted = msgspec.structs.replace(doubted, until_ms=self._now_ms() + for_ms, turn=message_id("turn", *turn))
        identity = subject or (("id", marked) if marked else turn)
        kept_id = f"{e164}?{message_id('doubtful', *identity)}"
        await store.commit(
            Commit(
                e164=kept_id,
                touch_record=False,
                answers=(_memory(kept_id, b64encode(msgspec.msgpack.encode(doubted)), kept_seconds),),
                index_add={INDEX: self._now_ms() + RETRY_MS},
            )
        )

    async def tick(self) -> None:
        """Send again what is due. Fails with `StoreError`."""
        for store in self._own_store():
            await self._clocks.know(store)
        await self._due.tick()

    def _own_store(self) -> list[IConferenceStore]:
        store = self._stores.get(self._own)
        return [] if store is None else [store]

    async def _again(self, store: IConferenceStore, kept_id: str) -> None:
        text = (await store.load(kept_id, _memory_key(kept_id))).request
        guards: tuple[tuple[str, str], ...] = ()
        if text is not None and text != _SETTLED:
            doubted = _decode(text)
            self._probe("doubtful", "before_publish")
            if not await self._sent(doubted) and not await self._refused(store, kept_id, doubted):
                return
            self._probe("doubtful", "after_confirm")
            # Whoever got it meanwhile may have kept it once more: that is for the next round.
            guards = ((f"css/req/{_memory_key(kept_id)}", text.decode()),)
        settled = (_memory(kept_id, _SETTLED),)
        await store.commit(
            Commit(e164=kept_id, touch_record=False, answers=settled, index_drop=(INDEX,), guards=guards)
        )

    async def _sent(self, doubted: _Doubted) -> bool:
        """@return: whether the broker that is to have it has it now."""
        bus = self._bus if doubted.needs else self._peers.get(doubted.platform)
        if bus is None or not bus.connected or not self._may_go(doubted):
            return False
        try:
            await bus.publish(doubted.outgoing)
        except Unroutable:
            self.log.info("{platform}: no CSS has ever been there", platform=doubted.platform)
            return False
        except BusError:
            return False
        if doubted.needs:
            return True
        self._tally.count("forwarded")
        if doubted.requester is not None and doubted.certain:
            await self._trails.reached(doubted.requester, doubted.platform)
        return True

    def _may_go(self, doubted: _Doubted) -> bool:
        if not doubted.needs:
            return not self._is_late(doubted, KNOWN_MS)
        store = self._stores.get(doubted.needs)
        return (store is not None and store.available) or self._is_late(doubted)

    async def _refused(self, store: IConferenceStore, kept_id: str, doubted: _Doubted) -> bool:
        """@return: whether it is too late, and whoever asked knows it."""
        if doubted.needs or not self._is_late(doubted):
            return False
        e164 = kept_id.partition("?")[0]
        self._tally.count("forwards_failed")
        self.log.info("{e164}: {platform} could not be reached", e164=e164, platform=doubted.platform)
        if doubted.requester is not None:
            trail = Trail(doubted.platform, True) if doubted.certain else None
            refusal = decode(doubted.refusal)
            await self._answers.give(store, e164, doubted.requester, doubted.certain, refusal, trail)
        return True

    def _is_late(self, doubted: _Doubted, by_ms: int = 0) -> bool:
        return self._now_ms() >= doubted.until_ms + by_ms

    def _now_ms(self) -> int:
        return self._clocks.now_ms(self._own)


def _decode(text: bytes) -> _Doubted:
    """@raise Unreadable: it is none."""
    try:
        return msgspec.msgpack.decode(b64decode(text), type=_Doubted)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Unreadable(f"what is remembered of a request that is to be sent again: {error}") from error


def _memory_key(kept_id: str) -> str:
    return f"fwd-{kept_id.partition('?')[2]}"


def _memory(kept_id: str, value: bytes, kept_seconds: int = ANSWER_KEPT_SECONDS) -> RequestWrite:
    return RequestWrite(_memory_key(kept_id), value, kept_seconds)
