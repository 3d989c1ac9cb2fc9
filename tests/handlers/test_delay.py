"""Moving an end (seed 5.3): asked for by CMs and MCUs, twice, late, of what runs elsewhere, with a store away."""

from __future__ import annotations

from typing import Any

from css.adapters.memory.store import MemoryStore
from css.handlers import addresses as to
from css.handlers.letters import peer_lane
from css.ports.bus import Binding, Queue, Topology, TryLater
from tests.handlers.site import CM_NOTICES, CM_REPLIES, NOW, Instance, SiteCase, create, release

HOUR = 3_600


def delay(e164: str = "0755001", **more: Any) -> dict[str, Any]:
    """A CM wants half an hour more."""
    return {"type": "CM_MAU_DELAYCONF_REQ", "confE164": e164, "delay": 30, "mtreqid": "m-3"} | more


def delay_by(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Process 11 of the host that got a create request wants half an hour more."""
    fields = {"confE164": request["confE164"], "ip": request["ip"], "pid": "11", "delay": 30, "mtreqid": "m-4"}
    return {"type": "MCU_MAU_DELAYCONF_REQ"} | fields | more


class Case(SiteCase):
    """What everybody is told of a conference that began at `NOW` and was to last an hour."""

    def ask_to_delay(self, css: Instance | None = None, **more: Any) -> None:
        """A CM asks."""
        (css or self.css).take(delay(**more), message_id="delay", reply_to=CM_REPLIES, correlation_id="c-3")

    def notices(self, e164: str = "0755001") -> list[dict[str, Any]]:
        """What the CM was told of ends, without what it was told of anything else."""
        found = [body for body in self.site.bodies(CM_NOTICES) if body["type"] == "CM_MAU_CONFDURATION_NTF"]
        return [body for body in found if body["confE164"] == e164]

    def told(self, ip: str) -> list[dict[str, Any]]:
        """What process 11 of a host was told."""
        return self.site.bodies(f"cmu.conf.q:{ip}:11")

    def row_end(self) -> int:
        """`endtime` of the row."""
        self.css.tick()
        assert self.site.database is not None
        return self.site.database.rows["0755001"].endtime

    def end(self, store: MemoryStore | None = None) -> int:
        """`endtime` of the record."""
        return int(self.site.record("0755001", store)["endtime"])

    def move(self, **fields: str) -> Instance:
        """The record says something else, as another platform wrote it. @return: an instance that does not know it."""
        self.site.store.server.keyspace.update_hash("confex/0755001", fields)
        return Instance(self.site, slot=2)


class ByCm(Case):
    """seed 5.3, the first drawing."""

    def test_everybody_is_told(self) -> None:
        """Record, `conf/`, row, ACK, CM, MCU: each once."""
        request = self.run_one()
        self.ask_to_delay()
        self.assertEqual(self.end(), NOW + HOUR + 1_800)
        self.assertEqual(self.site.store.dump()["conf/0755001"]["duration"], "90")
        self.assertEqual(self.row_end(), NOW + HOUR + 1_800)
        ack = {"type": "CM_MAU_DELAYCONF_ACK", "confE164": "0755001", "mtreqid": "m-3", "endtime": NOW + HOUR + 1_800}
        self.assertEqual(self.answers()[1:], [ack])
        self.assertEqual(self.site.letters(CM_REPLIES)[-1].correlation_id, "c-3")
        told = {"confE164": "0755001", "endtime": NOW + HOUR + 1_800, "duration": 90}
        self.assertEqual(self.notices(), [{"type": "CM_MAU_CONFDURATION_NTF"} | told])
        self.assertEqual(self.told(request["ip"]), [{"type": "MAU_CMU_CONFDURATION_NTF"} | told])
        self.assertEqual(self.site.outbox().get("own/0755001"), None)

    def test_both_notices_come_again(self) -> None:
        """Warned twice before, it is warned twice more."""
        request = self.run_one(duration=10)
        for minutes in (5, 4):
            self.site.clock.advance(60 * minutes)
            self.css.run(self.css.due.tick())
        self.ask_to_delay()
        for minutes in (26, 4):
            self.site.clock.advance(60 * minutes)
            self.css.run(self.css.due.tick())
        warned = [body["minutes"] for body in self.told(request["ip"]) if body["type"] == "MAU_CMU_CONFTIMEOUT_NTF"]
        self.assertEqual(warned, [5, 1, 5, 1])

    def test_twice(self) -> None:
        """The end moves once; the answer is repeated, also by another instance and after the end."""
        self.run_one()
        self.ask_to_delay()
        self.ask_to_delay(Instance(self.site, slot=2))
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES)
        self.ask_to_delay()
        acks = [body for body in self.answers() if body["type"] == "CM_MAU_DELAYCONF_ACK"]
        self.assertEqual([ack["endtime"] for ack in acks], [NOW + HOUR + 1_800] * 3)
        self.assertEqual(len({each.message_id for each in self.site.letters(CM_REPLIES)}), 3)
        self.assertEqual(len(self.notices()), 1)

    def test_at_two_instances_at_once(self) -> None:
        """Both have found no memory of it: the commit knows better."""
        self.run_one()
        self.css.tick()  # what was sent is forgotten: the other instance need not wait for it
        other = Instance(self.site, slot=2)

        def meanwhile(step: str, point: str) -> None:
            if (step, point) == ("delay", "before_commit"):
                self.css.on_point = lambda step, point: None
                self.ask_to_delay(other)

        self.css.on_point = meanwhile
        self.ask_to_delay()
        self.assertEqual(self.end(), NOW + HOUR + 1_800)
        self.assertEqual([body["type"] for body in self.answers()[1:]], ["CM_MAU_DELAYCONF_ACK"] * 2)

    def test_without_marks(self) -> None:
        """Neither message id nor request id: only what is flagged as redelivered is the same."""
        self.run_one()
        for redelivered in (False, False, True):
            self.css.take(delay(mtreqid=""), reply_to=CM_REPLIES, redelivered=redelivered)
        self.assertEqual(self.end(), NOW + HOUR + 2 * 1_800)

    def test_without_reply_queue(self) -> None:
        """Answered where notices go."""
        self.run_one()
        self.css.take(delay(), message_id="delay")
        types = [body["type"] for body in self.site.bodies(CM_NOTICES)]
        self.assertEqual(types, ["CM_MAU_DELAYCONF_ACK", "CM_MAU_CONFDURATION_NTF"])

    def test_refused(self) -> None:
        """No record; not begun yet; no end; too far."""
        self.ask_to_delay(e164="404")
        self.ask_to_delay_another("1", duration=60, begun=False)
        self.ask_to_delay_another("2", duration=0)
        self.ask_to_delay_another("3", duration=10_000_000)
        nacks = [body for body in self.answers() if body["type"] == "CM_MAU_DELAYCONF_NACK"]
        wanted = {"404": "CONF_NOT_FOUND", "1": "CONF_NOT_RUNNING", "2": "BAD_REQUEST", "3": "BAD_REQUEST"}
        self.assertEqual({nack["confE164"]: nack["errcode"] for nack in nacks}, wanted)
        self.assertEqual({nack["mtreqid"] for nack in nacks}, {"m-3"})

    def ask_to_delay_another(self, e164: str, duration: int, *, begun: bool = True) -> None:
        """Of a new conference."""
        if begun:
            self.run_one(e164=e164, duration=duration)
        else:
            self.ask(e164=e164, duration=duration)
        body = delay(e164)
        self.css.take(body, message_id=f"delay-{e164}", reply_to=CM_REPLIES)
        self.css.take(body, message_id=f"delay-{e164}", reply_to=CM_REPLIES)
        first, second = self.site.letters(CM_REPLIES)[-2:]
        self.assertEqual(first, second, "a repeated request gets the kept refusal")

    def test_own_platform_abnormal(self) -> None:
        """Refused without a store."""
        self.run_one()
        self.site.set_states(pA="abnormal", pB="normal")
        self.site.store.fail()
        self.ask_to_delay()
        self.assertEqual(self.errcodes()[1:], ["PLATFORM_ABNORMAL"])
        self.site.store.recover()
        self.assertEqual(self.end(), NOW + HOUR)

    def test_a_store_is_silent(self) -> None:
        """It may be there: UNREACHABLE_PLATFORM; what is found elsewhere is delayed all the same."""
        self.site.other.fail()
        self.ask_to_delay()
        self.assertEqual(self.errcodes(), ["UNREACHABLE_PLATFORM"])
        self.run_one(e164="2")
        self.css.take(delay("2"), message_id="delay-2", reply_to=CM_REPLIES)
        self.assertEqual(self.answers()[-1]["type"], "CM_MAU_DELAYCONF_ACK")

    def test_own_store_is_away(self) -> None:
        """Given back, and done once when it is there again."""
        self.run_one()
        self.site.store.fail()
        body = delay()
        self.failureResultOf(self.css.begin(body, message_id="delay", reply_to=CM_REPLIES), TryLater)
        self.site.store.recover()
        self.ask_to_delay()
        self.assertEqual(self.end(), NOW + HOUR + 1_800)


class ByMcu(Case):
    """seed 5.3, the second drawing."""

    def test_its_own(self) -> None:
        """Answered in the process's queue; the CM is told; the MCU gets no second notice."""
        request = self.run_one()
        for _ in range(2):
            self.css.take(delay_by(request), to.MCU_QUEUE, message_id="delay", correlation_id="x")
        end = NOW + HOUR + 1_800
        ack = {"type": "MAU_MCU_DELAYCONF_ACK", "confE164": "0755001", "mtreqid": "m-4", "endtime": end}
        self.assertEqual(self.told(request["ip"]), [ack, ack])
        self.assertEqual({each.correlation_id for each in self.site.letters(f"cmu.conf.q:{request['ip']}:11")}, {"x"})
        self.assertEqual([body["endtime"] for body in self.notices()], [end])
        self.assertEqual((self.end(), self.row_end()), (end, end))

    def test_with_a_reply_queue(self) -> None:
        """Answered there."""
        request = self.run_one()
        self.site.declare("mcu.reply")
        self.css.take(delay_by(request), to.MCU_QUEUE, message_id="delay", reply_to="mcu.reply")
        self.assertEqual(self.site.bodies("mcu.reply")[0]["type"], "MAU_MCU_DELAYCONF_ACK")
        self.assertEqual(self.told(request["ip"]), [])

    def test_refused(self) -> None:
        """Another process's conference; none."""
        request = self.run_one()
        self.site.declare("cmu.conf.q:10.0.0.9:5")
        other = {"ip": "10.0.0.9", "pid": "5"}
        self.css.take(delay_by(request, **other), to.MCU_QUEUE, message_id="1")
        self.css.take(delay_by(request, confE164="404", **other), to.MCU_QUEUE, message_id="2")
        nacks = [(body["type"], body["errcode"]) for body in self.site.bodies("cmu.conf.q:10.0.0.9:5")]
        self.assertEqual(
            nacks, [("MAU_MCU_DELAYCONF_NACK", "CONF_NOT_RUNNING"), ("MAU_MCU_DELAYCONF_NACK", "CONF_NOT_FOUND")]
        )
        self.assertEqual(self.end(), NOW + HOUR)

    def test_own_platform_abnormal(self) -> None:
        """No record is written."""
        request = self.run_one()
        self.site.set_states(pA="abnormal", pB="normal")
        self.css.take(delay_by(request), to.MCU_QUEUE, message_id="delay")
        self.assertEqual(self.told(request["ip"])[0]["errcode"], "PLATFORM_ABNORMAL")
        self.assertEqual(self.end(), NOW + HOUR)


class BetweenPlatforms(Case):
    """What runs on one platform and belongs to another."""

    def setUp(self) -> None:
        super().setUp()
        self.peers = self.site.connected_bus(self.site.other_broker)
        notices = Topology((to.TO_CM_NOTICE[0],), (Queue(CM_NOTICES),), (Binding(CM_NOTICES, *to.TO_CM_NOTICE),))
        self.peers.declare(notices)
        self.peers.declare(Topology(queues=(Queue("cmu.conf.q:10.0.0.1:11"),)))
        self.site.clock.advance(0)

    def test_of_this_platform_and_elsewhere(self) -> None:
        """The MCU there is told on its own broker, the CM here; the deadline is the other platform's business."""
        self.run_one()
        css = self.move(platformmoid="pB", ip="10.0.0.1")
        self.ask_to_delay(css)
        self.assertEqual(len(self.notices()), 1)
        self.assertEqual(self.told("10.0.0.1"), [])
        (told,) = self.site.other_broker.messages("cmu.conf.q:10.0.0.1:11")
        self.assertIn(b"MAU_CMU_CONFDURATION_NTF", told.body)
        self.assertIn("0755001", self.site.store.server.keyspace.sorted_set("css/index/due/pB").scores)

    def test_of_this_platform_on_one_that_is_no_peer(self) -> None:
        """Two platforms that back the same one up know nothing of each other: the one where it runs tells its MCU."""
        self.run_one()
        css = self.move(platformmoid="pC", ip="10.0.0.1")
        self.ask_to_delay(css)
        dump = self.site.store.dump()
        (told,) = dump["css/out/pC/own/0755001"].values()
        self.assertIn(b"MAU_CMU_CONFDURATION_NTF", told)
        self.assertEqual([key for key in dump if key.startswith("css/out/pA/peer/")], [])

    def test_of_another_platform_that_is_served(self) -> None:
        """As at home, in the other store."""
        self.of_pb()
        self.ask_to_delay()
        self.assertEqual(self.end(self.site.other), NOW + HOUR + 1_800)
        self.assertEqual(len(self.notices()), 1)
        self.assertEqual(self.site.outbox(self.site.other).get(f"{peer_lane('pB')}/0755001"), None)

    def test_of_another_platform_that_is_normal_again(self) -> None:
        """The CM of its source platform is told, not this one's."""
        request = self.of_pb()
        self.site.set_states(pA="normal", pB="normal")
        self.css.take(delay_by(request), to.MCU_QUEUE, message_id="delay")
        self.assertEqual(self.told(request["ip"])[0]["type"], "MAU_MCU_DELAYCONF_ACK")
        self.assertEqual(self.notices(), [])
        (told,) = self.site.other_broker.messages(CM_NOTICES)
        self.assertIn(b"CM_MAU_CONFDURATION_NTF", told.body)

    def test_of_another_process_with_the_same_address(self) -> None:
        """Two platforms may use the same addresses: the MCU here does not run what runs there."""
        request = self.run_one()
        css = self.move(platformmoid="pB")
        css.take(delay_by(request), to.MCU_QUEUE, message_id="delay")
        self.assertEqual(self.told(request["ip"])[0]["errcode"], "CONF_NOT_RUNNING")

    def of_pb(self) -> dict[str, Any]:
        """A conference of platform pB that runs here. @return: the request to its host."""
        self.css.take(create(moid="uB"), message_id="create", reply_to=CM_REPLIES)
        request = self.give(self.site.letters("RMS.RES.Q")[-1].correlation_id)
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE)
        return request
