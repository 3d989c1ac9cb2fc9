"""What the world outside must have got, and no more: answers to requests, bills, notices (I1, I9)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import msgspec

from css.domain.conference import Attempt, Situation
from css.domain.errors import ErrCode
from css.handlers import addresses as to
from css.handlers.effects import ANSWER_KEPT_SECONDS
from css.handlers.letters import unpack_answer
from css.messages.codec import Malformed, decode, wire_type
from css.messages.control import CmControl, DelayAck, DelayRequest
from css.messages.create import CreateAck, CreateRequest, ReleaseAck, ReleaseNotice, ReleaseRequest
from css.messages.reports import BillNotice
from css.peers.cm import NOTICES, TO_CSS, TO_MCU
from css.peers.inbox import Received
from css.peers.peer import Peer
from css.ports.bus import Outgoing
from css.ports.store import Outcome
from css.simulation.invariants import Invariant
from css.simulation.servers import Loss
from css.simulation.workload import LONGEST_POISON, POISON
from css.simulation.world import Committed, World

_attempt = msgspec.json.Decoder(Attempt)


class Asked(msgspec.Struct, eq=False):
    """A request that a broker has taken."""

    moid: str
    type: str
    e164: str
    mtreqid: str
    message_id: str
    reply_to: str
    correlation_id: str
    answers: dict[str, str] = {}
    """By message id: the wire type, with the errcode of a refusal."""
    at: list[str] = []
    """Moids of the platforms whose CSS has had it."""
    since: float = 0.0
    """When it was asked, simulated seconds."""
    refused: bool = False
    """It was refused without any memory: by a platform that is abnormal, and whose Redis was out of reach. Nobody can
    tell there whether it has another answer, and nobody can tell later that it was refused."""
    key: str = ""
    """By what CSS knows it again."""
    answered: float = 0.0
    """When it was answered first, simulated seconds."""
    bereft: bool = False
    """A Redis has lost, or forgotten by now, what it knew of it: it may be lost, done twice, answered twice."""
    waived: bool = False
    """It, or its answer, was deleted with a queue, or the answer found no queue: nobody owes anything any more."""


class RequestsAnswered(Invariant):
    """I1 and I9. At each publish: an answer goes to its requester, and says what the first one said. At each commit:
    a request makes at most one conference, ends at most one. Settled: every request that a broker has taken is
    answered, and the answer to a create or a release is true."""

    code = "I1"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked: dict[str, Asked] = {}
        """By correlation id."""
        self._reply_queues = {cm.reply_queue for site in world.sites.values() for cm in site.cms}
        self._kept: set[tuple[str, bytes]] = set()
        """What the stores have remembered as answers: message id and body."""
        self._away: dict[str, float] = {}
        """When each platform's Redis was last out of reach."""
        self._made: Counter[str] = Counter()
        self._ran: set[str] = set()
        self._ended: Counter[str] = Counter()
        self._moved: Counter[str] = Counter()
        self._makers: dict[tuple[str, str], str] = {}
        self._bereft: set[str] = set()
        """Keys of requests that a Redis has lost, or forgotten by now."""

    def rolled_back(self, loss: Loss) -> None:
        """See `Watcher.rolled_back`. What was answered before it, and is not asked again, is as it was."""
        self._bereft |= loss.requests
        for asked in self.asked.values():
            is_late = asked.e164 in loss.numbers and not 0 < asked.answered < loss.since
            asked.bereft = asked.bereft or is_late or asked.key in loss.requests

    def published(self, moid: str, message: Outgoing, routed: bool) -> None:
        """See `Watcher.published`."""
        if not message.exchange and message.routing_key in self._reply_queues:
            self._answer(moid, message, routed)
        elif routed and (message.exchange, message.routing_key) in (TO_CSS, TO_MCU) and message.correlation_id:
            self._request(moid, message)

    def lost(self, moid: str, queue: str, message: Outgoing) -> None:
        """See `Watcher.lost`."""
        asked = self.asked.get(message.correlation_id)
        if asked is not None:
            asked.waived = True

    def _request(self, moid: str, message: Outgoing) -> None:
        asked = self.asked.get(message.correlation_id)
        if asked is not None:
            if moid not in asked.at:
                asked.at.append(moid)
            if 0 < asked.answered < self.world.timeline.now - ANSWER_KEPT_SECONDS + 1:
                # A repetition that lay before a clogged link: by now it is a request of its own, which begins anew.
                asked.bereft = True
                self._bereft.add(asked.key)
            return
        try:
            request = decode(message.body)
        except Malformed:
            return
        if isinstance(request, CreateRequest | ReleaseRequest | DelayRequest | CmControl):
            asked = Asked(
                moid,
                wire_type(request),
                request.confE164,
                request.mtreqid,
                message.message_id,
                message.reply_to,
                message.correlation_id,
                {},
                [moid],
                self.world.timeline.now,
            )
            asked.key = _key(asked)
            self.asked[message.correlation_id] = asked

    def _answer(self, moid: str, message: Outgoing, routed: bool) -> None:
        fields: dict[str, Any] = msgspec.json.decode(message.body)
        asked = self.asked.get(message.correlation_id)
        if asked is None:
            self.world.violate("I9", f"{message.routing_key} gets an answer that it has not asked for: {fields}")
            return
        e164 = asked.e164
        if message.routing_key != asked.reply_to or (fields["confE164"], fields["mtreqid"]) != (e164, asked.mtreqid):
            self.world.violate("I9", f"an answer to {asked.reply_to} went to {message.routing_key}: {fields}", e164)
        if moid != asked.moid:
            self.world.violate("I9", f"an answer to a request at {asked.moid} went to the broker of {moid}", e164)
        asked.waived = asked.waived or not routed
        answer = f"{fields['type']} {fields.get('errcode', '')}"
        if (message.message_id, message.body) not in self._kept:
            self._unremembered(asked, answer)
            return
        asked.answered = asked.answered or self.world.timeline.now
        first = asked.answers.setdefault(message.message_id, answer)
        if asked.bereft:
            return
        if first != answer:
            self.fail(f"{asked.type} {asked.message_id} of {e164} was answered {first}, now {answer}", e164)
        if len(asked.answers) > 1:
            self.fail(f"{asked.type} {asked.message_id} of {e164} has two answers: {asked.answers}", e164)

    def _unremembered(self, asked: Asked, answer: str) -> None:
        """An answer that no store remembers: so refuses a platform that is abnormal, if its Redis is out of reach."""
        is_refused = answer.endswith(f" {ErrCode.PLATFORM_ABNORMAL.value}")
        self.look()
        if not asked.bereft and (not is_refused or all(self._away.get(moid, -1.0) < asked.since for moid in asked.at)):
            self.fail(f"{asked.type} {asked.message_id} of {asked.e164}: no store remembers {answer}", asked.e164)
        asked.refused = True

    def look(self) -> None:
        """See `Invariant.look`."""
        for moid, site in self.world.sites.items():
            redis = self.world.redis[moid]
            links = [link for each in site.running() for link in each.links if link.server is redis]
            if len(links) < len(site.running()) or not all(link.reaches for link in links):
                self._away[moid] = self.world.timeline.now

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        commit = c.commit
        if c.result.outcome is not Outcome.DONE:
            return
        for memory in (commit.request, *commit.answers):
            if memory is not None and memory.value and not memory.key.startswith("fwd-") and memory.key[-1] != "@":
                self._keep(memory.value)
        if not commit.touch_record:
            return
        e164 = commit.e164
        if commit.delete_record:
            for answer in commit.answers:
                self._ended[answer.key] += 1
            return
        self._moves(c)
        attempt = commit.set_fields.get("attempt")
        if not c.before and attempt:
            requester = _attempt.decode(attempt).requester
            key = requester.request_key if requester else ""
            self._made[key] += 1
            self._makers[e164, commit.set_fields["first_epoch"]] = key
            if self._made[key] > 1 and key not in self._bereft:
                self.fail(f"{e164}: one request has made {self._made[key]} conferences", e164)
        elif commit.set_fields.get("state") == "ongoing":
            self._ran.add(self._makers.get((e164, c.before.get("first_epoch", "")), ""))

    def _keep(self, value: bytes) -> None:
        if value == b"seen":
            return
        answer = unpack_answer(value)
        self._kept.add((answer.message_id, answer.body))

    def _moves(self, c: Committed) -> None:
        """A conference's end has moved, at a request."""
        end = c.commit.set_fields.get("endtime", "")
        if (
            c.before.get("endtime", "0") not in ("0", end)
            and end
            and c.before["state"] == c.commit.set_fields.get("state", c.before["state"])
        ):
            for answer in c.commit.answers:
                self._moved[answer.key] += 1

    def unanswered(self) -> list[Asked]:
        """Requests that are owed an answer."""
        return [
            asked
            for asked in self.asked.values()
            if not (asked.answers or asked.refused or asked.waived or asked.bereft)
        ]

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        missing = [f"no answer to {asked.type} {asked.message_id} of {asked.e164}" for asked in self.unanswered()]
        return missing or [line for asked in self.asked.values() if (line := self._untrue(asked))]

    def ended(self) -> list[str]:
        """See `Invariant.ended`."""
        return self.settled()

    def _untrue(self, asked: Asked) -> str:
        """What is wrong with an answer; empty: nothing."""
        if asked.bereft:
            return ""
        key = asked.key
        for answer in asked.answers.values():
            kind, _, errcode = answer.partition(" ")
            if asked.type == wire_type(CreateRequest):
                made, ran = self._made[key], key in self._ran
                if (kind == wire_type(CreateAck)) != ran or (errcode == "CONF_EXISTS" and made):
                    return f"{asked.e164}: answered {answer}, but it made {made} conferences and ran: {ran}"
            elif asked.type == wire_type(ReleaseRequest) and (kind == wire_type(ReleaseAck)) != (self._ended[key] > 0):
                return f"{asked.e164}: answered {answer}, but it ended {self._ended[key]} conferences"
            elif asked.type == wire_type(DelayRequest) and self._moved[key] != (kind == wire_type(DelayAck)):
                return f"{asked.e164}: answered {answer}, but it moved the end {self._moved[key]} times"
        return ""


def _key(asked: Asked) -> str:
    parts = (asked.type, asked.e164, asked.mtreqid, asked.reply_to, asked.correlation_id)
    text = "\0".join(("id", asked.message_id) if asked.message_id else parts)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class EndsReported(Invariant):
    """I1 for what follows an end. Settled: each conference that ran and ended has one bill and one notice to the CM,
    the locator knows just those that run, and so does SQL."""

    code = "I1"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._ends: Counter[str] = Counter()
        self._bills: Counter[str] = Counter()
        self._notices: Counter[str] = Counter()
        self._ids: set[str] = set()

    def committed(self, c: Committed) -> None:
        """See `Watcher.committed`."""
        ran = c.commit.tombstone is not None and c.commit.tombstone.fields.get("reason") != "failed"
        if c.result.outcome is Outcome.DONE and c.commit.delete_record and ran:
            self._ends[c.commit.e164] += 1

    def received(self, peer: Peer, received: Received) -> None:
        """See `Watcher.received`."""
        if received.message_id in self._ids:
            return  # a repeat, which went to another CM than the first one
        self._ids.add(received.message_id)
        if received.type == wire_type(BillNotice):
            self._bills[received.e164] += 1
        elif received.type == wire_type(ReleaseNotice) and received.queue == NOTICES:
            self._notices[received.e164] += 1

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        found = []
        for what, counted in (("bills", self._bills), ("end notices", self._notices)):
            keys = sorted(set(counted) | set(self._ends))
            for key in keys:
                if counted[key] != self._ends[key] and key not in self.world.bereft:
                    found.append(f"{key}: {counted[key]} {what} for {self._ends[key]} ends")
        return [*found, *self._reached()]

    def ended(self) -> list[str]:
        """See `Invariant.ended`."""
        return self.settled()

    def _reached(self) -> list[str]:
        """Where locator and SQL disagree with the records."""
        alive = [c for c in self.world.conferences() if c.has_run]
        running = {c.e164: c.platformmoid for c in alive}
        # What waits for old hardware is not told again to a locator that was cleared: it can't be reached.
        waiting = {c.e164 for c in alive if c.situation is Situation.PENDING_RESTORE}
        # Of what was begun and lost at once, and whose MCU has gone as well, nobody can tell any more.
        waiting |= self.world.bereft - set(running)
        rows = {e164: row.platformmoid for e164, row in self.world.sql.database.rows.items()}
        found = [
            f"SQL and the records disagree on {e164}: {rows.get(e164)}, {running.get(e164)}"
            for e164 in sorted({*rows, *running})
            if rows.get(e164) != running.get(e164) and (e164 in running or e164 not in self.world.bereft)
        ]
        for moid, site in self.world.sites.items():
            told = _locator(site.upu)
            found += [
                f"the locator of {moid} and the records disagree on {e164}: {told.get(e164)}, {running.get(e164)}"
                for e164 in sorted({*told, *running})
                if told.get(e164) != (moid if running.get(e164) == moid else None) and e164 not in waiting
            ]
        return found


def _locator(upu: Any) -> dict[str, str]:
    conferences: dict[str, str] = upu.running_conferences()
    return conferences


class PoisonParked(Invariant):
    """Settled: what a vandal got into a queue of CSS is parked, unchanged, and so never stops a consumer (fault 9)."""

    code = "park"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._unseen: dict[str, bytes] = {}
        """By message id, what is still to be parked."""

    def published(self, moid: str, message: Outgoing, routed: bool) -> None:
        """See `Watcher.published`."""
        if (message.exchange, message.routing_key) == ("", to.PARK_QUEUE):
            if self._unseen.get(message.message_id) == message.body:
                del self._unseen[message.message_id]
        elif routed and len(message.body) < LONGEST_POISON and message.body in POISON:
            self._unseen[message.message_id] = message.body

    def lost(self, moid: str, queue: str, message: Outgoing) -> None:
        """See `Watcher.lost`."""
        self._unseen.pop(message.message_id, None)

    def settled(self) -> list[str]:
        """See `Invariant.settled`."""
        return [f"poison is not parked: {identity} {body[:60]!r}" for identity, body in self._unseen.items()]


class NothingFails(Invariant):
    """At each log event: no exception that nobody expected; and no peer finds a breach of the contract."""

    code = "failure"

    def look(self) -> None:
        """See `Invariant.look`."""
        for site in self.world.sites.values():
            for peer in site.peers():
                if peer.faults:
                    self.fail(f"{peer.name}: {peer.faults[0].reason}: {peer.faults[0].body[:200]!r}")

    def logged(self, event: dict[str, Any]) -> None:
        """Twisted's log tells of something."""
        failure = event.get("log_failure")
        if failure is not None:
            self.fail(f"{failure.type.__name__}: {failure.getErrorMessage()}\n{failure.getTraceback()}")
