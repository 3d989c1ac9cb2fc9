"""Requests that MCUs have been passed, and their answers: one for each, whichever instance hears it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from twisted.logger import Logger

from css.domain.conference import Conference, Requester
from css.domain.errors import ErrCode, Unreadable
from css.domain.monitoring import find
from css.handlers import addresses as to
from css.handlers.clocks import StoreClocks
from css.handlers.due import DueWork
from css.handlers.effects import ANSWER_KEPT_SECONDS, Parcel, answer_address, remembered
from css.handlers.letters import ASK_LANE, Kind, Letter, message_id
from css.handlers.outbox import Outbox
from css.handlers.probes import Probe, no_probe
from css.handlers.requests import Answers, answer_lane, pending
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.handlers.trails import HandedOn, without_trail
from css.messages.catalogue import answer_type
from css.messages.codec import encode, wire_type
from css.messages.control import CmRequest, StopMonitorRequest, refusal
from css.ports.bus import Delivery, Outgoing
from css.ports.store import Commit, IConferenceStore, Outcome, RequestWrite, StoreError

INDEX = "passed"
"""Index of what awaits an MCU's answer, by its deadline; members are correlation ids."""
ANSWERED = b"answered"
"""What is remembered of a request once it has been answered: what comes later is not awaited."""


class Passed(msgspec.Struct, frozen=True, array_like=True):
    """A request that an MCU has been passed. `nack`: type of the refusal that the requester gets if it is silent."""

    nack: str
    requester: Requester
    stops: tuple[str, int] | None = None
    """(`monitorid`, `started_ms`) of the monitor that an ACK ends."""


class PassedRequests:
    """Passes requests to MCU processes under a correlation id of its own, `<number>?<id>`, and takes the answers.

    @param store: gives the own platform's store, where what is pending lies.
    @param timeout_ms: how long an MCU may be silent.
    @param session: a text that no other run of any instance has.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        store: Callable[[], IConferenceStore | None],
        clocks: StoreClocks,
        outbox: Outbox,
        answers: Answers,
        tracker: Tracker,
        tally: Tally,
        timeout_ms: int,
        session: str,
        probe: Probe = no_probe,
    ) -> None:
        self._own = own
        self._store = store
        self._clocks = clocks
        self._outbox = outbox
        self._answers = answers
        self._tracker = tracker
        self._tally = tally
        self._timeout_ms = timeout_ms
        self._session = session
        self._probe = probe
        self._count = 0
        self._due = DueWork(INDEX, self._stores, self._is_silent, tally)
        self.stopped: Callable[[str, str, int], Awaitable[None]] = _nobody_listens
        """Called with (e164, `monitorid`, `started_ms`) when an MCU acknowledges the stop of a monitor, before the
        requester is answered. It must not fail."""

    async def pass_on(
        self, c: Conference, request: CmRequest, delivery: Delivery, requester: Requester, certain: bool
    ) -> None:
        """Pass a request to the process that runs its conference; a repetition is answered, not passed again.

        Fails with `StoreError`.
        """
        store, now_ms = self._own_store(), self._clocks.now_ms(self._own)
        passed_id = self._new_id(c.e164, requester, certain)
        letter = self._letter(c, delivery, passed_id, now_ms)
        parcels, mark = {ASK_LANE: Parcel([letter], [], [])}, f"0.0.{letter.outgoing.message_id}"
        nack = answer_type(wire_type(request), "NACK")
        assert nack is not None  # only requests are passed
        commit = Commit(
            e164=passed_id,
            touch_record=False,
            request=pending(requester, certain),
            guards=without_trail(requester, certain),
            answers=(_memory(passed_id, _encode(Passed(nack, requester, _stops(request, c)))),),
            index_add={INDEX: letter.until_ms},
            outbox=self._outbox.entries(parcels, mark, now_ms),
        )
        self._probe("pass", "before_commit")
        result = await store.commit(commit)
        if result.outcome is Outcome.GUARD:
            raise HandedOn(f"{c.e164}: a copy of a control request has just been handed on")
        if result.outcome is not Outcome.DONE:
            await self._answers.repeat(store, result.loaded.request if result.loaded else None, requester)
            return
        self._probe("pass", "after_commit")
        self._tally.count("controls_passed")
        await self._outbox.carry_out(store, passed_id, parcels, mark, result.waiting)
        self._probe("pass", "after_confirm")

    async def answered(self, passed_id: str, body: bytes, *, acked: bool) -> bool:
        """An MCU has answered. @return: whether the correlation id is known. Fails with `StoreError`."""
        if _memory_key(passed_id) == "":
            return False
        store = self._own_store()
        pending_text = (await store.load(passed_id, _memory_key(passed_id))).request
        if pending_text is None:
            return False
        if acked and pending_text != ANSWERED and (stops := _decode(pending_text).stops):
            await self.stopped(passed_id.partition("?")[0], *stops)
        if pending_text == ANSWERED or not await self._answer(store, passed_id, pending_text, body):
            self._tally.count("answers_not_awaited")
        return True

    def silent_at_once(self, token: str) -> None:
        """The process has no queue: it is not there."""
        if _memory_key(token):
            self._tally.count("mcu_without_queue")
            # Not awaited: this is called from within the passing itself.
            self._tracker.run(self._refuse(token), "a control request's refusal")

    async def _refuse(self, passed_id: str) -> None:
        try:
            await self._is_silent(self._own_store(), passed_id)
        except StoreError as error:
            self.log.info("{id}: refused at its deadline: {error}", id=passed_id, error=str(error))

    async def tick(self) -> None:
        """Refuse what has not been answered in time. Fails with `StoreError`."""
        await self._due.tick()

    def _stores(self) -> list[IConferenceStore]:
        store = self._store()
        return [] if store is None else [store]

    async def _is_silent(self, store: IConferenceStore, passed_id: str) -> None:
        text = (await store.load(passed_id, _memory_key(passed_id))).request
        if text is None or text == ANSWERED:
            await store.commit(Commit(e164=passed_id, touch_record=False, index_drop=(INDEX,)))
            return
        passed, e164 = _decode(text), passed_id.partition("?")[0]
        self.log.info("{e164}: its MCU does not answer a control request", e164=e164)
        nack = refusal(passed.nack, e164, passed.requester.mtreqid, ErrCode.MCU_TIMEOUT.value)
        if await self._answer(store, passed_id, text, encode(nack)):
            self._tally.count("controls_timed_out")

    async def _answer(self, store: IConferenceStore, passed_id: str, pending_text: bytes, body: bytes) -> bool:
        """Answer the requester, if nobody has. @return: whether nobody had."""
        await self._clocks.know(store)
        requester, now_ms = _decode(pending_text).requester, self._clocks.now_ms(self._own)
        kind, address = answer_address(requester)
        outgoing = Outgoing(*address, body, message_id("passed-answer", passed_id), requester.correlation_id)
        parcels = {answer_lane(requester, kind, outgoing): Parcel([Letter(kind, now_ms, outgoing)], [], [])}
        mark = f"0.1.{outgoing.message_id}"
        commit = Commit(
            e164=passed_id,
            touch_record=False,
            guards=((f"css/req/{_memory_key(passed_id)}", pending_text.decode()),),
            answers=(_memory(passed_id, ANSWERED), remembered(requester, outgoing)),
            index_drop=(INDEX,),
            outbox=self._outbox.entries(parcels, mark, now_ms),
        )
        self._probe("pass_back", "before_commit")
        result = await store.commit(commit)
        if result.outcome is not Outcome.DONE:
            return False
        self._probe("pass_back", "after_commit")
        await self._outbox.carry_out(store, passed_id, parcels, mark, result.waiting)
        self._probe("pass_back", "after_confirm")
        return True

    def _letter(self, c: Conference, delivery: Delivery, passed_id: str, now_ms: int) -> Letter:
        outgoing = Outgoing(
            to.DEFAULT,
            to.mcu_queue(c.ip, c.pid),
            delivery.body,
            message_id("passed", passed_id),
            passed_id,
            to.MCU_QUEUE,
            self._timeout_ms,
        )
        return Letter(Kind.MCU_REQUEST, now_ms, outgoing, passed_id, now_ms + self._timeout_ms)

    def _new_id(self, e164: str, requester: Requester, certain: bool) -> str:
        """The same one for the same request, if that can be told."""
        self._count += 1
        mark = () if certain else (self._session, self._count)
        return f"{e164}?{message_id('pass', requester.request_key, *mark)}"

    def _own_store(self) -> IConferenceStore:
        store = self._store()
        if store is None:
            raise StoreError(f"no store of {self._own}")
        return store


async def _nobody_listens(e164: str, monitorid: str, started_ms: int) -> None:
    """Nobody notes monitors."""


def _stops(request: CmRequest, c: Conference) -> tuple[str, int] | None:
    """Which monitor a request ends when its MCU acknowledges it."""
    known = find(c, request.monitorid) if isinstance(request, StopMonitorRequest) else None
    return None if known is None else (known.monitorid, known.started_ms)


def _memory_key(passed_id: str) -> str:
    """Where it is remembered who awaits the answer; empty if this is no id of ours."""
    _, mark, unique = passed_id.partition("?")
    return f"fwd-{unique}" if mark and len(unique) == 36 else ""


def _memory(passed_id: str, value: bytes) -> RequestWrite:
    """What is remembered of a request that an MCU has been passed."""
    return RequestWrite(_memory_key(passed_id), value, ANSWER_KEPT_SECONDS)


def _decode(text: bytes) -> Passed:
    """@raise Unreadable: it is none."""
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise Unreadable(f"what is remembered of a request that was passed: {error}") from error


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Passed)
