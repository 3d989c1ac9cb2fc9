"""A simulated CM: the client of CSS, which creates and releases conferences."""
# ruff: noqa: N803  (arguments that are fields are spelled as on the wire)

from __future__ import annotations

from collections import OrderedDict
from random import Random
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.catalogue import MESSAGES
from css.messages.codec import encode, wire_type
from css.messages.control import McuControl, ModifyNameAck, ModifyNameNack, ModifyNameRequest
from css.peers.inbox import Received
from css.peers.mood import Mood, Verdict
from css.peers.peer import Peer, Place, Route
from css.ports.bus import Binding, Delivery, IBus, Queue, Topology, Unroutable

TO_CSS: Final = ("MAU.CM.EX", "MAU.CM.K")
TO_MCU: Final = ("mau.cmcmu.ex", "mau.cmcmu.k")
A_CONTROL: Final = "CM_CMU_MUTE_REQ"
"""Any control request of which CSS knows no more than that it is one."""
NOTICES: Final = "meeting.mccntf.q"
REQUESTS: Final = "MEETING.CSS.Q"

_OURS: Final = tuple(
    struct
    for struct in MESSAGES
    if wire_type(struct).startswith(("MAU_CM_", "CM_MAU_CONFDURATION", "CM_MAU_DELAYCONF_"))
    or wire_type(struct).endswith(("_TEMPLATE_ACK", "_TEMPLATE_NACK"))
)


class Request(msgspec.Struct, eq=False):
    """A request of this CM, as it was published, and what came back."""

    place: Place
    body: bytes
    message_id: str
    correlation_id: str
    reply_to: str
    answer: Deferred[dict[str, Any]]
    """Fires with the first answer's fields, ACK or NACK; fails with `Unroutable` if there is no CSS."""
    answers: list[Received] = msgspec.field(default_factory=list)
    """All that came: more than one is an error of CSS, unless the request was repeated."""


class CmPeer(Peer):
    """A CM with its own reply queue, which is durable: answers wait while it is away."""

    def __init__(self, bus: IBus, reactor: IReactorTime, random: Random, name: str = "cm", keep: int = 10_000) -> None:
        super().__init__(bus, reactor, random, name, keep)
        self.reply_queue = f"cm.reply.q:{name}"
        self.name_requests = Mood()
        """How it treats an MCU's wish for another name."""
        self.stray_answers = 0
        """Answers to requests that it does not know (any more)."""
        self._requests: OrderedDict[str, Request] = OrderedDict()

    def create(self, confE164: str, confname: str, moid: str, **more: Any) -> Deferred[dict[str, Any]]:
        """Ask for a conference. @return: fires with the answer, `MAU_CM_CREATECONF_ACK` or `_NACK`."""
        fields = {"confE164": confE164, "confname": confname, "moid": moid, **more}
        return self.request("CM_MAU_CREATECONF_REQ", TO_CSS, **fields).answer

    def release(self, confE164: str, **more: Any) -> Deferred[dict[str, Any]]:
        """End a conference. @return: fires with the answer."""
        return self.request("CM_MAU_RELEASECONF_REQ", confE164=confE164, **more).answer

    def delay(self, confE164: str, minutes: int, **more: Any) -> Deferred[dict[str, Any]]:
        """Move a conference's end. @return: fires with the answer."""
        return self.request("CM_MAU_DELAYCONF_REQ", confE164=confE164, delay=minutes, **more).answer

    def template(self, verb: str, e164: str, moid: str, **more: Any) -> Deferred[dict[str, Any]]:
        """Add, change or delete a public template. @param verb: `ADD`, `MOD`, `DEL`. @return: fires with the answer."""
        return self.request(f"{verb}_TEMPLATE_REQ", e164=e164, moid=moid, **more).answer

    def control(self, type: str, confE164: str, **more: Any) -> Deferred[dict[str, Any]]:
        """Send any `CM_CMU_*_REQ`. @return: fires with the MCU's answer."""
        return self.request(type, TO_MCU, confE164=confE164, **more).answer

    def start_monitor(self, confE164: str, monitorid: str, **more: Any) -> Deferred[dict[str, Any]]:
        """Start to monitor a conference. @return: fires with the MCU's answer."""
        return self.control("CM_CMU_STARTMONITOR_REQ", confE164, monitorid=monitorid, **more)

    def stop_monitor(self, confE164: str, monitorid: str, **more: Any) -> Deferred[dict[str, Any]]:
        """Monitor a conference no more. @return: fires with the MCU's answer."""
        return self.control("CM_CMU_STOPMONITOR_REQ", confE164, monitorid=monitorid, **more)

    def heartbeat(self, confE164: str, monitorid: str) -> None:
        """Say that a conference is still monitored."""
        self.tell("CM_CMU_MONITORHEARTBEAT_NTF", confE164, monitorid=monitorid)

    def tell(self, type: str, confE164: str, **more: Any) -> None:
        """Send any `CM_CMU_*_NTF` or `_CMD`."""
        self.post(TO_MCU, msgspec.json.encode({"type": type, "confE164": confE164, **more}))

    def request(self, type: str, place: Place = TO_CSS, **fields: Any) -> Request:
        """Send any request; it gets an `mtreqid` unless one is given."""
        body = msgspec.json.encode({"type": type, "mtreqid": self.new_id()[:12], **fields})
        request = Request(place, body, self.new_id(), self.new_id(), self.reply_queue, Deferred())
        self._requests[request.correlation_id] = request
        if len(self._requests) > self.inbox.limit:
            self._requests.popitem(last=False)
        self.track(self.repeat(request).addCallback(self._sent, request))
        return request

    def repeat(self, request: Request) -> Deferred[bool]:
        """Publish a request, byte for byte and id for id, once more. @return: fires with whether it reached CSS."""
        properties = {"correlation_id": request.correlation_id, "reply_to": request.reply_to}
        sending = self.send(request.place, request.body, message_id=request.message_id, **properties)
        return Deferred.fromCoroutine(sending)

    def send_raw(self, body: bytes, place: Place = TO_CSS, **properties: Any) -> Deferred[bool]:
        """Publish any bytes, without `reply_to` unless it is among the properties."""
        return Deferred.fromCoroutine(self.send(place, body, **properties))

    def answers_of(self, confE164: str, verb: str = "CREATECONF") -> list[Received]:
        """Every answer about a number, by `reply_to` or as a notice, repeats by the same `message_id` left out."""
        kinds = (f"MAU_CM_{verb}_ACK", f"MAU_CM_{verb}_NACK")
        return [received for received in self.inbox.all(e164=confE164) if received.type in kinds]

    def notices(self, type: str = "", confE164: str = "") -> list[Received]:
        """What came unasked, in `meeting.mccntf.q`."""
        return [received for received in self.inbox.all(type, confE164) if received.queue == NOTICES]

    def wait_for_notice(self, type: str, confE164: str = "", count: int = 1) -> Deferred[dict[str, Any]]:
        """@return: fires with the fields of the `count`th message of that kind."""
        return self.inbox.wait_for(type, confE164, count).addCallback(lambda received: received.fields)

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        return Topology(
            ("meeting.mccntf.ex", "MEETING.CSS.EX", TO_CSS[0], TO_MCU[0]),
            (Queue(NOTICES), Queue(REQUESTS), Queue(self.reply_queue)),
            (
                Binding(NOTICES, "meeting.mccntf.ex", "meeting.mccntf.k"),
                Binding(REQUESTS, "MEETING.CSS.EX", "MEETING.CSS.K"),
            ),
        )

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        routes: dict[type[Message], Route] = dict.fromkeys((*_OURS, McuControl), self._answered)
        return {**routes, ModifyNameRequest: self._name_wanted}

    async def take(self, delivery: Delivery) -> None:
        """See `Peer.take`; answers are noted with their request first."""
        if delivery.queue == self.reply_queue and delivery.correlation_id not in self._requests:
            self.stray_answers += 1
        await super().take(delivery)

    async def _answered(self, message: Message, delivery: Delivery) -> None:
        request = self._requests.get(delivery.correlation_id)
        if request is None or delivery.queue != self.reply_queue:
            return
        answer = self._received(message, delivery)
        if all(earlier.message_id != answer.message_id or not answer.message_id for earlier in request.answers):
            request.answers.append(answer)
        if not request.answer.called:
            request.answer.callback(answer.fields)

    async def _name_wanted(self, wish: ModifyNameRequest, delivery: Delivery) -> None:
        common = {"confname": wish.confname, "ip": wish.ip, "pid": wish.pid, "mtreqid": wish.mtreqid}
        answer: Message
        match self.name_requests.next():
            case Verdict.SERVE:
                answer = ModifyNameAck(wish.confE164, **common)
            case Verdict.REJECT:
                answer = ModifyNameNack(wish.confE164, self.name_requests.errcode, **common)
            case _:
                return
        await self.send(TO_MCU, encode(answer), correlation_id=delivery.correlation_id)

    def _sent(self, reached: bool, request: Request) -> None:
        if not reached and self.running and not request.answer.called:
            request.answer.errback(Unroutable(f"no queue at {request.place}"))
