"""The simulated RMS, PMS, BMC, UPU, MS and network management, and all of them together."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from cryptography.fernet import Fernet, InvalidToken

from css.peers.bmc import BmcPeer
from css.peers.platform import PlatformPeers
from css.peers.pms import PmsPeer
from css.peers.receivers import MsPeer, NmsPeer
from css.peers.rms import Resources, RmsPeer
from css.peers.upu import UpuEntry, UpuPeer
from tests.peers.world import PeerTestCase

KEY = Fernet.generate_key()


class RmsTests(PeerTestCase):
    """`GET_RES_REQ`."""

    def setUp(self) -> None:
        super().setUp()
        self.rms = RmsPeer(self.peers, self.clock, self.random)
        self.started(self.rms)

    def ask(self, moid: str = "user-1") -> list[dict[str, Any]]:
        """@return: all answers so far, oldest first."""
        place = ("RMS.RES.EX", "RMS.RES.K")
        self.publish(place, {"type": "GET_RES_REQ", "moid": moid}, reply_to="MAU.RPCRES.Q", correlation_id="c")
        self.settle()
        self.assertEqual({got.correlation_id for got in self.received["MAU.RPCRES.Q"]} - {"c"}, set())
        return self.bodies("MAU.RPCRES.Q")

    def test_table(self) -> None:
        self.rms.answer("user-1", Resources("r", ["a", "b"], ["v"], ["m"]))
        self.rms.answer("", Resources("other"))
        ack = {"type": "GET_RES_ACK", "roommoid": "r", "mcu": [{"ip": "a"}, {"ip": "b"}], "vrs": [{"ip": "v"}]}
        self.assertEqual(self.ask()[-1], {**ack, "mps": [{"ip": "m"}]})
        empty = {"type": "GET_RES_ACK", "roommoid": "other", "mcu": [], "vrs": [], "mps": []}
        self.assertEqual(self.ask("user-2")[-1], empty)
        self.assertEqual(self.rms.requests(), 2)

    def test_unknown_domain(self) -> None:
        self.assertEqual(self.ask(), [{"type": "GET_RES_NACK", "errcode": "NO_RESOURCE"}])

    def test_refuse(self) -> None:
        self.rms.refuse("user-1", "CLOSED")
        self.assertEqual(self.ask()[-1]["errcode"], "CLOSED")

    def test_reject_some(self) -> None:
        self.rms.answer("", Resources("r"))
        self.rms.mood.reject("BUSY", times=1)
        self.ask()
        self.assertEqual([answer["type"] for answer in self.ask()], ["GET_RES_NACK", "GET_RES_ACK"])

    def test_silent(self) -> None:
        self.rms.silent()
        self.assertEqual(self.ask(), [])
        self.rms.resume()
        self.assertEqual(len(self.ask()), 1)
        self.assertEqual(self.rms.requests(), 2)

    def test_late(self) -> None:
        self.rms.late(1)
        self.assertEqual(self.ask(), [])
        self.settle(1.1)
        self.assertEqual(len(self.bodies("MAU.RPCRES.Q")), 1)

    def test_stopped_before_a_late_answer(self) -> None:
        self.rms.late(1)
        self.ask()
        self.fired(self.rms.stop())
        self.settle(2)
        self.assertEqual(self.bodies("MAU.RPCRES.Q"), [])


class PmsTests(PeerTestCase):
    """States, configurations, broadcasts."""

    def setUp(self) -> None:
        super().setUp()
        self.pms = PmsPeer(
            self.peers, self.clock, self.random, "A", ["B"], ["C"], {"B": {"mq": [{"ip": "h", "port": 1}]}}
        )
        self.started(self.pms)

    def ask(self, type: str, moid: str = "A") -> list[dict[str, Any]]:
        fields = {"type": type, "moid": moid}
        self.publish(("", "monitor.req.q:A"), fields, reply_to="MAU.RPCPLATINFO.Q", correlation_id="c")
        self.settle()
        return self.bodies("MAU.RPCPLATINFO.Q")

    def test_state(self) -> None:
        self.pms.set_state("B", "abnormal")
        self.pms.broadcast_room("r2", "abnormal")
        self.pms.broadcast_room("r1", "abnormal")
        self.pms.broadcast_room("r2", "normal")
        answer = {
            "type": "PLATFORM_STATE_NOTIFY",
            "moid": "A",
            "state": "normal",
            "main": [{"moid": "B", "state": "abnormal"}],
            "backup": [{"moid": "C", "state": "normal"}],
            "rooms": [{"moid": "r1", "state": "abnormal"}],
        }
        self.assertEqual(self.ask("PLATFORM_STATE_REQ"), [answer])

    def test_state_without_rooms(self) -> None:
        self.pms.abnormal_rooms = None
        self.pms.broadcast_room("r", "abnormal")
        self.assertNotIn("rooms", self.ask("PLATFORM_STATE_REQ")[0])

    def test_config(self) -> None:
        answers = self.ask("PLATFORM_CONFIG_REQ", "B")
        self.assertEqual(answers, [{"type": "PLATFORM_CONFIG_NOTIFY", "moid": "B", "mq": [{"ip": "h", "port": 1}]}])
        self.assertEqual(self.ask("PLATFORM_CONFIG_REQ", "X"), answers)

    def test_broadcasts(self) -> None:
        self.pms.broadcast_platform("B", "abnormal", seq=4)
        self.pms.broadcast_room("r", "abnormal")
        self.settle()
        platform = {"type": "PLATFORM_STATE_NOTIFY", "moid": "B", "state": "abnormal", "seq": 4}
        self.assertEqual(self.bodies("broadcasts"), [platform])
        room = {"type": "SERVER_ROOM_STATE_NOTIFY", "roommoid": "r", "state": "abnormal"}
        self.assertEqual(self.bodies("rooms"), [room])
        self.assertEqual(self.pms.state_of("B"), "abnormal")

    def test_broadcasts_keep_their_order(self) -> None:
        """What is said later of a platform is heard later, however long the link was away."""
        said = ["abnormal", "normal"] * 6
        self.broker.stop()
        self.settle()
        for state in said:
            self.pms.broadcast_platform("B", state)
        self.settle(5)
        self.broker.start()
        self.settle(60)
        self.assertEqual([each["state"] for each in self.bodies("broadcasts")], said)

    def test_broadcast_to_nobody(self) -> None:
        self.broker.delete_queue("rooms")
        self.pms.broadcast_room("r", "abnormal")
        self.settle()
        self.assertEqual(self.pms.unroutable, 1)

    def test_silent(self) -> None:
        self.pms.silent()
        self.assertEqual(self.ask("PLATFORM_STATE_REQ"), [])
        self.pms.resume()
        self.pms.late(1)
        self.assertEqual(self.ask("PLATFORM_STATE_REQ"), [])
        self.settle(1.1)
        self.assertEqual(len(self.bodies("MAU.RPCPLATINFO.Q")), 1)


class BmcTests(PeerTestCase):
    """Licences, domains, bills."""

    def setUp(self) -> None:
        super().setUp()
        self.bmc = BmcPeer(self.peers, self.clock, self.random, KEY)
        self.started(self.bmc)

    def ask(self, moid: str) -> list[dict[str, Any]]:
        self.publish(("BMC.REQ.EX", "BMC.REQ.K"), {"type": "GET_LICENSE_REQ", "moid": moid})
        self.settle()
        return self.bodies("MAU.BMC.Q", "LICENSE_NTF")

    def test_licence(self) -> None:
        self.bmc.licences["A"] = {"smallconfnum": 5}
        (notice,) = self.ask("A")
        self.assertEqual(notice["moid"], "A")
        self.assertEqual(json.loads(Fernet(KEY).decrypt(notice["license"])), {"smallconfnum": 5})

    def test_no_licence(self) -> None:
        self.assertEqual(self.ask("A"), [])

    def test_silent(self) -> None:
        self.bmc.licences["A"] = {}
        self.bmc.silent()
        self.assertEqual(self.ask("A"), [])
        self.bmc.resume()
        self.assertEqual(len(self.ask("A")), 1)

    def test_update(self) -> None:
        self.bmc.update_licence("user-1", {"largeconfnum": 1})
        self.settle()
        (notice,) = self.bodies("MAU.BMC.Q")
        self.assertEqual((notice["type"], notice["moid"]), ("LICENSE_NTF", "user-1"))
        self.assertEqual(len(self.ask("user-1")), 2)

    def test_forged(self) -> None:
        self.bmc.send_token("A", self.bmc.token({}, Fernet.generate_key()))
        self.settle()
        (notice,) = self.bodies("MAU.BMC.Q")
        self.assertRaises(InvalidToken, Fernet(KEY).decrypt, notice["license"])

    def test_domains(self) -> None:
        self.bmc.send_domain("add", "user-1", level=0, uplevelmoid="A")
        self.bmc.send_domain("mod", "user-1", used=0)
        self.bmc.send_domain("del", "user-1")
        self.settle()
        types = [body["type"] for body in self.bodies("MAU.BMC.Q")]
        self.assertEqual(types, ["DOMAIN_ADD_NTF", "DOMAIN_MOD_NTF", "DOMAIN_DEL_NTF"])

    def test_bills(self) -> None:
        bill: dict[str, Any] = {
            "type": "CONF_BILL_NTF",
            "confE164": "1",
            "confname": "a",
            "moid": "u",
            "srcplatformmoid": "A",
        }
        bill |= {"platformmoid": "A", "begintime": 1, "endtime": 2, "reason": "released"}
        for _ in range(2):
            self.publish(("BMC.BILL.EX", "BMC.BILL.K"), bill, message_id="same")
        self.assertEqual((len(self.bmc.bills("1")), len(self.bmc.bills("2")), self.bmc.faults), (1, 0, []))


class UpuTests(PeerTestCase):
    """The table that the messages build."""

    def setUp(self) -> None:
        super().setUp()
        self.upu = UpuPeer(self.peers, self.clock, self.random)
        self.started(self.upu)

    def tell(self, verb: str, message_id: str = "", **fields: Any) -> None:
        properties = {"message_id": message_id} if message_id else {}
        self.publish(("UPU.CONF.EX", "UPU.CONF.K"), {"type": f"UPU_{verb}_REQ", **fields}, **properties)
        self.settle()

    def add(self, e164: str, running: int, verb: str = "ADD_CONF", **changes: Any) -> None:
        fields = {"confname": "a", "conftype": 1, "moid": "user-1", "platformmoid": "A", **changes}
        self.tell(verb, confE164=e164, running=running, **fields)

    def test_add_and_modify(self) -> None:
        self.add("1", 1)
        self.add("1", 0)
        self.add("1", 1, "MOD_CONF", platformmoid="B")
        entries = {("1", 1): UpuEntry("a", 1, "user-1", "B"), ("1", 0): UpuEntry("a", 1, "user-1", "A")}
        self.assertEqual(self.upu.table(), entries)
        self.assertEqual(self.upu.running_conferences(), {"1": "B"})

    def test_delete(self) -> None:
        self.add("1", 1)
        self.add("1", 0)
        self.tell("DEL_CONF", confE164="1", running=1)
        self.tell("DEL_CONF", confE164="9", running=1)
        self.assertEqual(list(self.upu.table()), [("1", 0)])

    def test_delete_domain(self) -> None:
        self.add("1", 1)
        self.add("2", 0)
        self.add("3", 0, moid="user-2")
        self.tell("DEL_DOMAIN", moid="user-1")
        self.assertEqual(list(self.upu.table()), [("1", 1), ("3", 0)])

    def test_clear(self) -> None:
        self.add("1", 1)
        self.add("2", 0)
        self.add("3", 1, platformmoid="B")
        self.tell("CLEAR", platformmoid="A")
        self.assertEqual(list(self.upu.table()), [("3", 1)])

    def test_a_repeat_brings_nothing_back(self) -> None:
        entry = {"confname": "a", "conftype": 1, "moid": "user-1", "platformmoid": "A", "confE164": "1", "running": 1}
        self.tell("ADD_CONF", "first", **entry)
        self.tell("DEL_CONF", confE164="1", running=1)
        self.tell("ADD_CONF", "first", **entry)
        self.assertEqual(self.upu.table(), {})


class ReceiverTests(PeerTestCase):
    """MS and network management."""

    LICENCE: ClassVar = {"moid": "A", "license": "x", "platforms": [], "smallconfnum": 1}

    def test_ms(self) -> None:
        ms = MsPeer(self.peers, self.clock, self.random)
        self.started(ms)
        answer = ms.ask("A")
        self.settle()
        (request,) = self.received["MAU.LICENSE.Q"]
        ack = {"type": "GET_LICENSE_ACK", **self.LICENCE}
        self.publish(("", request.reply_to), ack, correlation_id=request.correlation_id)
        self.assertEqual(self.fired(answer), ack)
        notice = {"type": "PLATFORM_LICENSE_NTF", **self.LICENCE}
        self.publish(("platform.license.ex", "platform.license.ntf.k"), notice)
        self.assertEqual((ms.notices(), ms.faults), ([notice], []))

    def test_ms_is_refused(self) -> None:
        ms = MsPeer(self.peers, self.clock, self.random)
        self.started(ms)
        answer = ms.ask_in_vain("X")
        self.settle()
        (request,) = self.received["MAU.LICENSE.Q"]
        nack = {"type": "GET_LICENSE_NACK", "moid": "X", "errcode": "UNKNOWN_DOMAIN"}
        self.publish(("", request.reply_to), nack, correlation_id=request.correlation_id)
        self.assertEqual((self.fired(answer), ms.faults), (nack, []))

    def test_ms_without_reply_to(self) -> None:
        ms = MsPeer(self.peers, self.clock, self.random)
        self.started(ms)
        answer = ms.ask("A", with_reply_to=False)
        self.settle()
        self.assertEqual(self.received["MAU.LICENSE.Q"][0].reply_to, "")
        self.publish(("platform.license.ex", "platform.license.ntf.k"), {"type": "GET_LICENSE_ACK", **self.LICENCE})
        self.assertEqual(self.fired(answer)["moid"], "A")

    def test_nms(self) -> None:
        nms = NmsPeer(self.peers, self.clock, self.random)
        self.started(nms)
        for conferences in (1, 2):
            status = {"moid": "A", "instance": "css-1", "state": "normal", "conferences": conferences, "nu": 0}
            self.publish(("nms.report.ex", "nms.report.k"), {"type": "CSS_STATUS_NTF", **status})
        self.assertEqual(nms.latest()["css-1"]["conferences"], 2)
        self.assertEqual(nms.faults, [])


class PlatformTests(PeerTestCase):
    """All peers of a platform."""

    def test_together(self) -> None:
        platform = PlatformPeers(
            self.peers,
            self.clock,
            self.random,
            "A",
            hosts=["10.0.0.1", "10.0.0.2"],
            licence_key=KEY,
            configs={},
        )
        heard: list[str] = []
        platform.listen(lambda received: heard.append(received.type))
        platform.start()
        self.settle(1)
        self.publish(("RMS.RES.EX", "RMS.RES.K"), {"type": "GET_RES_REQ", "moid": "any"})
        self.settle()
        (answer,) = self.bodies("MAU.RPCRES.Q")
        self.assertEqual(answer["mcu"], [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}])
        self.assertEqual(answer["roommoid"], platform.hosts["10.0.0.1"].roommoid)
        self.assertEqual(len(self.bodies("MAU.MCU.Q", "MCU_MAU_CONFLIST_NTF")), 2)
        self.publish(("", "monitor.req.q:A"), {"type": "NONSENSE"})
        self.assertEqual([fault.queue for fault in platform.faults()], ["monitor.req.q:A"])
        self.assertEqual(heard, ["GET_RES_REQ"])
        self.fired(platform.stop())
