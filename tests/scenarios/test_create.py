"""A conference is created: what each peer gets, and what stands in Redis and SQL (contract sections 3 to 5)."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from css.peers.cm import TO_CSS
from css.peers.rms import Resources
from tests.contracts.database import open_row
from tests.scenarios.case import E164, HOSTS, NAME, PLATFORM, ROOM, USER, OnMemory, OnServers, Scenario, until, within

CONFEX = {
    "moid", "platformmoid", "roommoid", "ip", "pid", "state", "epoch", "createtime", "endtime", "legacy"
}  # fmt: skip
"""The fields of `confex/` that the contract names."""


class CreateCases(Scenario):
    """One create that succeeds, seen from every side."""

    async def test_the_cm_gets_one_answer_in_its_reply_queue(self) -> None:
        await self.begin()
        asked_at = int(time.time())
        request = self.cm.request(
            "CM_MAU_CREATECONF_REQ", confE164=E164, confname=NAME, moid=USER, mtreqid="m-1", duration=90
        )
        answer = await within(request.answer)
        endtime = answer.pop("endtime")
        self.assertIn(endtime - 90 * 60 - asked_at, range(-2, 10))
        ip = answer.pop("ip")
        self.assertIn(ip, HOSTS)
        wanted = {"type": "MAU_CM_CREATECONF_ACK", "confE164": E164, "confname": NAME, "mtreqid": "m-1"}
        self.assertEqual(answer, {**wanted, "pid": "1", "roommoid": ROOM, "platformmoid": PLATFORM})
        received = self.cm.answers_of(E164)
        self.assertEqual([(got.queue, got.correlation_id) for got in received], [self._own_queue(request)])
        self.assert_headers(received[0])
        self.assertEqual(self.cm.inbox.repeats, 0)

    def _own_queue(self, request: Any) -> tuple[str, str]:
        return self.cm.reply_queue, request.correlation_id

    def assert_headers(self, received: Any) -> None:
        """What CSS sends about a conference says of which epoch and version it is."""
        self.assertTrue(received.message_id)
        epoch, version = received.headers["x-css-epoch"], received.headers["x-css-version"]
        self.assertTrue(0 < epoch < 2**53 and version >= 1, received.headers)

    async def test_rms_mcu_and_locator_get_their_messages(self) -> None:
        await self.begin()
        await self.created(mtreqid=7, conftype=2)
        peers = self.site.peers
        asked = peers.rms.inbox.all()
        self.assertEqual([got.fields for got in asked], [{"type": "GET_RES_REQ", "moid": USER}])
        self.assertEqual(asked[0].reply_to, "MAU.RPCRES.Q")
        record = await self.key(f"confex/{E164}")
        host = peers.hosts[record["ip"]]
        (order,) = host.inbox.all()
        fields = {"confE164": E164, "confname": NAME, "moid": USER, "mtreqid": 7, "conftype": 2}
        placement = {"ip": record["ip"], "roommoid": ROOM, "epoch": int(record["epoch"]), "xmpu": 0}
        self.assertEqual(order.fields, {"type": "MAU_MCU_CREATECONF_REQ", **fields, **placement})
        self.assertEqual(order.reply_to, "MAU.MCU.Q")
        self.assertEqual(order.correlation_id, f"{PLATFORM}/{E164}/{record['epoch']}")
        await until(lambda: peers.upu.inbox.total)
        (report,) = peers.upu.inbox.all()
        wanted = {"type": "UPU_ADD_CONF_REQ", "confE164": E164, "confname": NAME, "conftype": 2, "moid": USER}
        self.assertEqual(report.fields, {**wanted, "platformmoid": PLATFORM, "running": 1})
        for received in (asked[0], order, report):
            self.assert_headers(received)

    async def test_unknown_fields_reach_the_mcu_byte_for_byte(self) -> None:
        await self.begin()
        more = b'"price":1.50,"big":123456789012345678901234567890,"nested":{"\xe5\xb1\x82":[1,null,{"a":"\\u4f1a"}]}'
        body = b'{"type":"CM_MAU_CREATECONF_REQ","confE164":"007","confname":"x","moid":"u1",' + more + b"}"
        await within(self.cm.send_raw(body, reply_to=self.cm.reply_queue))
        await self.until_state("ongoing", "007")
        host = self.site.peers.hosts[(await self.key("confex/007"))["ip"]]
        (order,) = host.inbox.all()
        self.assertIn(more, order.body)
        self.assertEqual(order.fields["nested"], {"层": [1, None, {"a": "会"}]})

    async def test_recorder_and_media_processor(self) -> None:
        await self.begin()
        peers, number = self.site.peers, 0
        for record in (0, 1):
            for vrs in ([], ["10.1.0.1", "10.1.0.2"]):
                for mps in ([], ["10.2.0.1"]):
                    number += 1
                    peers.rms.answer(USER, Resources(ROOM, HOSTS, vrs, mps))
                    answer = await self.created(f"{number:04}", record=record)
                    (order,) = peers.hosts[answer["ip"]].inbox.all(e164=f"{number:04}")
                    wanted = {"ip": "10.1.0.1"} if record and vrs else None
                    self.assertEqual(order.fields.get("vrs"), wanted)
                    self.assertEqual(order.fields["xmpu"], int(bool(mps)))

    async def test_redis_holds_what_the_contract_says(self) -> None:
        await self.begin()
        before = int(time.time())
        answer = await self.created(duration=30, password="密码", legacy=1)
        record = await self.key(f"confex/{E164}")
        self.assertLessEqual(CONFEX, set(record))
        self.assertNotIn("confname", record)
        wanted = {"moid": USER, "platformmoid": PLATFORM, "roommoid": ROOM, "ip": answer["ip"], "pid": "1"}
        wanted |= {"state": "ongoing", "endtime": str(answer["endtime"]), "legacy": "1"}
        self.assertEqual({name: record[name] for name in wanted}, wanted)
        self.assertIn(int(record["createtime"]) - before, range(-2, 10))
        conf = await self.key(f"conf/{E164}")
        begintime = str(answer["endtime"] - 30 * 60)
        self.assertEqual(conf, {"confname": NAME, "password": "密码", "begintime": begintime, "duration": "30"})

    async def test_a_record_in_the_making(self) -> None:
        self.site.peers.rms.late(1.0)
        for host in self.site.peers.hosts.values():
            host.mood.late(1.0)
        await self.begin()
        answer = self.cm.create(E164, NAME, USER)
        await self.until_state("creating")
        record = await self.key(f"confex/{E164}")
        self.assertEqual((record["ip"], record["roommoid"], record["pid"]), ("", "", ""))
        self.assertEqual((record["platformmoid"], record["endtime"]), (PLATFORM, "0"))
        self.assertGreater(int(record["epoch"]), 0)
        self.assertEqual(await self.key(f"conf/{E164}"), {})
        await self.eventually(self._chosen, True)
        self.assertEqual((await self.key(f"confex/{E164}"))["pid"], "")
        self.assertEqual((await within(answer))["type"], "MAU_CM_CREATECONF_ACK")

    async def _chosen(self) -> bool:
        record = await self.key(f"confex/{E164}")
        return record["ip"] in HOSTS and record["roommoid"] == ROOM

    async def test_the_row_in_sql(self) -> None:
        await self.begin()
        answer = await self.created(duration=5, password="p")
        await self.eventually(self._row_is_there, True)
        row = await open_row(self.ground.database, E164)
        begintime = answer["endtime"] - 300
        wanted = (E164, NAME, "p", USER, PLATFORM, PLATFORM, answer["ip"], begintime, answer["endtime"])
        self.assertEqual(msgspec.structs.astuple(row), wanted)

    async def _row_is_there(self) -> bool:
        return await open_row(self.ground.database, E164) is not None

    async def test_without_reply_to_the_answer_is_a_notice(self) -> None:
        await self.begin()
        body = {"type": "CM_MAU_CREATECONF_REQ", "confE164": E164, "confname": NAME, "moid": USER, "mtreqid": 12}
        await within(self.cm.send_raw(msgspec.json.encode(body), TO_CSS, correlation_id="c-9"))
        answer = await within(self.cm.wait_for_notice("MAU_CM_CREATECONF_ACK", E164))
        self.assertEqual(answer["mtreqid"], "12")
        (notice,) = self.cm.notices("MAU_CM_CREATECONF_ACK")
        self.assertEqual(notice.correlation_id, "c-9")

    async def test_integer_pid_is_kept_as_its_digits(self) -> None:
        await self.begin()
        bystander = await self.bystander("cmu.conf.q:10.0.0.9")
        self.site.peers.rms.answer("", Resources("R9", ["10.0.0.9"]))
        answer = self.cm.create(E164, NAME, USER)
        orders = bystander.got["cmu.conf.q:10.0.0.9"]
        await until(lambda: orders)
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "confE164": E164, "ip": "10.0.0.9", "pid": 4711}
        ack["epoch"] = msgspec.json.decode(orders[0].body)["epoch"]
        await bystander.to_mcu_queue(ack, correlation_id=orders[0].correlation_id)
        fields = await within(answer)
        self.assertEqual((fields["pid"], fields["roommoid"]), ("4711", "R9"))
        self.assertEqual((await self.key(f"confex/{E164}"))["pid"], "4711")

    async def test_an_ack_without_an_epoch_is_matched_by_its_ip(self) -> None:
        for host in self.site.peers.hosts.values():
            host.knows_epochs = False
        await self.begin()
        for number in ("1", "2", "3"):
            await self.created(number)
        await self.until_state("ongoing", "3")
        self.assertEqual(len({(await self.key(f"confex/{number}"))["ip"] for number in "123"}), 3)

    async def test_answers_of_rms_that_nobody_awaits_are_dropped_and_counted(self) -> None:
        await self.begin()
        bystander = await self.bystander("MAU.PARK.Q")
        granted = {"type": "GET_RES_ACK", "roommoid": ROOM, "mcu": [{"ip": HOSTS[0]}], "vrs": [], "mps": []}
        refused = {"type": "GET_RES_NACK", "errcode": "X"}
        for correlation_id in ("", "nonsense", f"{PLATFORM}/999/1", "B/1/1", f"{PLATFORM}/1/x"):
            for answer in (granted, refused):
                await bystander.send(("", "MAU.RPCRES.Q"), answer, correlation_id=correlation_id)
        await until(lambda: self.tally("answers_not_awaited") == 10, what="all counted")
        await self.created()
        self.assertEqual(bystander.got["MAU.PARK.Q"], [])
        self.assertEqual(await self.key("confex/999"), {})

    async def test_a_reply_queue_that_is_gone_stops_nothing(self) -> None:
        await self.begin()
        body = {"type": "CM_MAU_CREATECONF_REQ", "confE164": E164, "confname": NAME, "moid": USER}
        await within(self.cm.send_raw(msgspec.json.encode(body), TO_CSS, reply_to="no.such.queue", correlation_id="1"))
        await self.until_state("ongoing")
        await until(lambda: self.tally("unroutable_dropped") == 1, what="the answer is dropped")
        await self.created("2")

    async def test_the_least_loaded_host_gets_the_next_one(self) -> None:
        await self.begin()
        for number in range(9):
            await self.created(f"00{number}")
        self.assertEqual(await self.ground.loads(PLATFORM, list(HOSTS)), dict.fromkeys(HOSTS, 3))


class CreateOnMemory(CreateCases, OnMemory):
    """All of it in this process."""


class CreateOnServers(CreateCases, OnServers):
    """All of it on real servers."""
