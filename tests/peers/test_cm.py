"""The simulated CM."""

from __future__ import annotations

import json
from typing import Any

from css.peers.cm import CmPeer
from css.ports.bus import Delivery, Unroutable
from tests.peers.world import PeerTestCase

ACK = {
    "type": "MAU_CM_CREATECONF_ACK",
    "confE164": "001",
    "confname": "会议",
    "mtreqid": "m",
    "ip": "h",
    "pid": "1",
    "roommoid": "r",
    "platformmoid": "A",
    "endtime": 0,
}
NOTICE = ("meeting.mccntf.ex", "meeting.mccntf.k")


class CmTests(PeerTestCase):
    """Requests, answers, notices."""

    def setUp(self) -> None:
        super().setUp()
        self.cm = CmPeer(self.peers, self.clock, self.random, "cm")
        self.started(self.cm)

    def answer(self, request: Delivery, fields: dict[str, Any] = ACK, **more: Any) -> None:
        self.publish(("", request.reply_to), fields, correlation_id=request.correlation_id, **more)

    def requests(self, queue: str = "MAU.CM.Q") -> list[Delivery]:
        self.settle()
        return self.received[queue]

    def test_create(self) -> None:
        answer = self.cm.create("001", "会议", "user-1", duration=5)
        (request,) = self.requests()
        fields = json.loads(request.body)
        self.assertTrue(fields.pop("mtreqid"))
        create = {"type": "CM_MAU_CREATECONF_REQ", "confE164": "001", "confname": "会议", "moid": "user-1"}
        self.assertEqual(fields, {**create, "duration": 5})
        self.assertTrue(request.message_id and request.correlation_id)
        self.assertEqual(request.reply_to, self.cm.reply_queue)
        self.assertNoResult(answer)
        self.answer(request)
        self.assertEqual(self.fired(answer), ACK)
        self.assertEqual(len(self.cm.answers_of("001")), 1)
        self.assertEqual(self.cm.faults, [])

    def test_every_request_has_its_answer(self) -> None:
        answers = [self.cm.create(str(number), "a", "user-1") for number in range(3)]
        for request in reversed(self.requests()):
            self.answer(request, {**ACK, "confE164": json.loads(request.body)["confE164"]})
        self.assertEqual([self.fired(answer)["confE164"] for answer in answers], ["0", "1", "2"])

    def test_answered_twice_is_seen(self) -> None:
        request = self.cm.request("CM_MAU_CREATECONF_REQ", confE164="001", confname="a", moid="user-1")
        for _ in range(2):
            self.answer(self.requests()[0])
        self.assertEqual((len(request.answers), len(self.cm.answers_of("001"))), (2, 2))

    def test_an_answer_delivered_twice_is_one(self) -> None:
        request = self.cm.request("CM_MAU_CREATECONF_REQ", confE164="001", confname="a", moid="user-1")
        for _ in range(2):
            self.answer(self.requests()[0], message_id="same")
        self.assertEqual((len(request.answers), len(self.cm.answers_of("001"))), (1, 1))

    def test_repeat(self) -> None:
        request = self.cm.request("CM_MAU_RELEASECONF_REQ", confE164="001")
        self.assertTrue(self.fired(self.cm.repeat(request)))
        one, other = self.requests()
        self.assertEqual(
            (one.body, one.message_id, one.correlation_id), (other.body, other.message_id, other.correlation_id)
        )

    def test_verbs(self) -> None:
        for answer in (self.cm.release("1"), self.cm.delay("1", 30), self.cm.control("CM_CMU_X_REQ", "1")):
            self.assertNoResult(answer)
        self.cm.tell("CM_CMU_X_NTF", "1")
        self.settle()
        self.assertEqual(
            [body["type"] for body in self.bodies("MAU.CM.Q")], ["CM_MAU_RELEASECONF_REQ", "CM_MAU_DELAYCONF_REQ"]
        )
        self.assertEqual([body["type"] for body in self.bodies("MAU.CMMCU.Q")], ["CM_CMU_X_REQ", "CM_CMU_X_NTF"])

    def test_send_raw(self) -> None:
        self.assertTrue(self.fired(self.cm.send_raw(b"\xff")))
        (request,) = self.requests()
        self.assertEqual((request.body, request.reply_to), (b"\xff", ""))

    def test_notices(self) -> None:
        waiting = self.cm.wait_for_notice("MAU_CM_RELEASECONF_NTF", "002")
        for number in ("001", "002"):
            notice = {"type": "MAU_CM_RELEASECONF_NTF", "confE164": number, "reason": "lost"}
            self.publish(NOTICE, notice)
        self.assertEqual(self.fired(waiting)["confE164"], "002")
        self.assertEqual(len(self.cm.notices("MAU_CM_RELEASECONF_NTF")), 2)
        self.assertEqual(len(self.cm.notices("MAU_CM_RELEASECONF_NTF", "001")), 1)

    def test_an_answer_as_a_notice(self) -> None:
        self.publish(NOTICE, ACK)
        self.assertEqual((len(self.cm.notices()), len(self.cm.answers_of("001"))), (1, 1))

    def test_stray_answer(self) -> None:
        self.publish(("", self.cm.reply_queue), ACK, correlation_id="unknown")
        self.assertEqual(self.cm.stray_answers, 1)

    def test_faults(self) -> None:
        self.publish(NOTICE, {**ACK, "endtime": "soon"})
        self.publish(NOTICE, {"type": "UPU_CLEAR_REQ", "platformmoid": "A"})
        self.assertEqual([fault.reason.split(":")[0] for fault in self.cm.faults], ["bad_fields", "not for this peer"])

    def test_nobody_there(self) -> None:
        self.broker.delete_queue("MAU.CM.Q")
        self.failureResultOf(self.sent(self.cm.create("1", "a", "u")), Unroutable)

    def sent(self, answer: Any) -> Any:
        self.settle()
        return answer

    def test_published_again_until_confirmed(self) -> None:
        self.broker.block()
        self.settle()
        answer = self.cm.create("001", "a", "user-1")
        self.settle(2)
        self.assertEqual(self.received["MAU.CM.Q"], [])
        self.broker.unblock()
        self.settle(2)
        self.answer(self.requests()[0])
        self.assertEqual(self.fired(answer), ACK)

    def test_stopped_while_waiting_to_publish(self) -> None:
        self.broker.block()
        self.settle()
        self.assertNoResult(self.cm.create("001", "a", "user-1"))
        self.fired(self.cm.stop())
        self.broker.unblock()
        self.settle(2)
        self.assertEqual(self.received["MAU.CM.Q"], [])

    def wish_for_name(self) -> list[dict[str, Any]]:
        wish = {"type": "CMU_CM_MODIFYCONFNAME_REQ", "confE164": "1", "confname": "新", "ip": "h", "pid": "2"}
        self.publish(("MEETING.CSS.EX", "MEETING.CSS.K"), wish, correlation_id="c")
        self.settle()
        return self.bodies("MAU.CMMCU.Q")

    def test_name_agreed(self) -> None:
        answer = {"type": "CM_CMU_MODIFYCONFNAME_ACK", "confE164": "1", "confname": "新", "ip": "h", "pid": "2"}
        self.assertEqual(self.wish_for_name(), [answer])
        self.assertEqual(self.received["MAU.CMMCU.Q"][0].correlation_id, "c")

    def test_name_refused(self) -> None:
        self.cm.name_requests.reject("NAME_TAKEN")
        (answer,) = self.wish_for_name()
        self.assertEqual((answer["type"], answer["errcode"]), ("CM_CMU_MODIFYCONFNAME_NACK", "NAME_TAKEN"))

    def test_name_ignored(self) -> None:
        self.cm.name_requests.silent()
        self.assertEqual(self.wish_for_name(), [])
