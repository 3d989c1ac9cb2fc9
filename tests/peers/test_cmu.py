"""The simulated CMU: host and processes."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from css.peers.cmu import CmuHost
from tests.peers.world import PeerTestCase

HOST = ("", "cmu.conf.q:10.0.0.1")
CREATE = {
    "type": "MAU_MCU_CREATECONF_REQ",
    "confE164": "001",
    "confname": "会议",
    "moid": "user-1",
    "ip": "10.0.0.1",
    "roommoid": "room-1",
    "epoch": 50,
    "xmpu": 0,
}
REPLY = {"reply_to": "MAU.MCU.Q", "correlation_id": "A/001/50"}


def process_queue(pid: str) -> tuple[str, str]:
    return ("", f"cmu.conf.q:10.0.0.1:{pid}")


class CmuTestCase(PeerTestCase):
    """One host with processes 1 and 2."""

    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        super().setUp()
        self.host = CmuHost(self.peers, self.clock, self.random, "10.0.0.1", "room-1", ("1", "2"), **self.options)
        self.started(self.host)
        self.forget()

    def forget(self) -> None:
        """What CSS has got so far does not matter."""
        self.settle()
        self.received["MAU.MCU.Q"].clear()

    def create(self, **changes: Any) -> dict[str, Any] | None:
        """Ask for a conference. @return: the answer, if there is one now."""
        before = len(self.answers())
        self.publish(HOST, {**CREATE, **changes}, **REPLY)
        self.settle()
        answers = self.answers()
        self.assertLessEqual(len(answers), before + 1)
        return answers[before] if len(answers) > before else None

    def answers(self) -> list[dict[str, Any]]:
        return [body for body in self.bodies("MAU.MCU.Q") if body["type"].endswith(("ACK", "NACK"))]

    def command(self, type: str, pid: str, /, **fields: Any) -> None:
        """Tell a process something about conference 001."""
        self.publish(process_queue(pid), {"type": type, "confE164": "001", **fields})
        self.settle()

    def release(self, pid: str, **fields: Any) -> list[dict[str, Any]]:
        """Command a release. @return: all end notices so far."""
        self.command("MAU_MCU_RELEASECONF_CMD", pid, ip="10.0.0.1", pid=pid, **fields)
        return self.bodies("MAU.MCU.Q", "MCU_MAU_RELEASECONF_NTF")


class CreateTests(CmuTestCase):
    """Create and restore requests."""

    def test_create(self) -> None:
        answer = self.create()
        expected = {"type": "MCU_MAU_CREATECONF_ACK", "confE164": "001", "ip": "10.0.0.1", "pid": "1", "epoch": 50}
        self.assertEqual(answer, {**expected, "time": 1_700_000_000})
        self.assertEqual(self.received["MAU.MCU.Q"][-1].correlation_id, "A/001/50")
        running = self.host.conferences["001"]
        self.assertEqual((running.confname, running.epoch, running.endtime), ("会议", 50, 0))
        self.assertEqual(self.host.faults, [])

    def test_without_reply_to(self) -> None:
        self.publish(HOST, CREATE)
        self.settle()
        self.assertEqual(len(self.answers()), 1)

    def test_restore(self) -> None:
        answer = self.create(type="MAU_CMU_RESTORECONF_REQ", endtime=1_700_009_999, password="9")
        assert answer is not None
        self.assertEqual((answer["type"], answer["epoch"]), ("CMU_MAU_RESTORECONF_ACK", 50))
        self.assertEqual(
            (self.host.conferences["001"].endtime, self.host.conferences["001"].password), (1_700_009_999, "9")
        )

    def test_duration(self) -> None:
        self.create(duration=2)
        self.assertEqual(self.host.conferences["001"].endtime, 1_700_000_120)

    def test_spread_over_processes(self) -> None:
        pids = [(self.create(confE164=str(number)) or {})["pid"] for number in range(4)]
        self.assertEqual(sorted(pids), ["1", "1", "2", "2"])

    def test_repeated_is_answered_again_and_done_once(self) -> None:
        first = self.create()
        self.host.conferences["001"].confname = "changed"
        self.assertEqual(self.create(), first)
        self.assertEqual(len(self.host.conferences), 1)
        self.assertEqual(self.host.conferences["001"].confname, "changed")

    def test_newer_epoch_replaces(self) -> None:
        self.create()
        answer = self.create(epoch=51, confname="new")
        assert answer is not None
        self.assertEqual((answer["epoch"], answer["pid"]), (51, "1"))
        self.assertEqual([(run.epoch, run.confname) for run in self.host.conferences.values()], [(51, "new")])

    def test_older_epoch_is_refused(self) -> None:
        self.create()
        answer = self.create(epoch=49)
        assert answer is not None
        self.assertEqual((answer["type"], answer["errcode"]), ("MCU_MAU_CREATECONF_NACK", "STALE"))
        self.assertEqual(self.host.conferences["001"].epoch, 50)

    def test_late_request_after_the_end_is_refused(self) -> None:
        self.create()
        self.release("1", epoch=50)
        answer = self.create()
        assert answer is not None
        self.assertEqual(answer["errcode"], "ENDED")
        self.assertEqual(self.host.conferences, {})
        self.assertEqual((self.create(epoch=51) or {})["type"], "MCU_MAU_CREATECONF_ACK")

    def test_reject(self) -> None:
        self.host.mood.reject("FULL", times=1)
        answer = self.create()
        nack = {"type": "MCU_MAU_CREATECONF_NACK", "confE164": "001", "ip": "10.0.0.1", "errcode": "FULL", "epoch": 50}
        self.assertEqual(answer, nack)
        self.assertEqual(self.host.conferences, {})
        self.assertEqual((self.create() or {})["type"], "MCU_MAU_CREATECONF_ACK")

    def test_reject_restore(self) -> None:
        self.host.mood.reject("FULL")
        answer = self.create(type="MAU_CMU_RESTORECONF_REQ", endtime=0)
        self.assertEqual((answer or {})["type"], "CMU_MAU_RESTORECONF_NACK")

    def test_silent(self) -> None:
        self.host.mood.silent(times=1)
        self.assertIsNone(self.create())
        self.assertEqual(self.host.conferences, {})
        self.assertIsNotNone(self.create())

    def test_lost_answer(self) -> None:
        self.host.mood.lose_answers(times=1)
        self.assertIsNone(self.create())
        self.assertIn("001", self.host.conferences)
        self.assertIsNotNone(self.create())

    def test_late(self) -> None:
        self.host.mood.late(3)
        self.assertIsNone(self.create())
        self.assertIn("001", self.host.conferences)
        self.assertEqual(self.broker.unacknowledged(HOST[1]), 0)
        self.settle(2.9)
        self.assertEqual(self.answers(), [])
        self.settle(0.2)
        self.assertEqual(len(self.answers()), 1)


class FullHostTests(CmuTestCase):
    """A host with a capacity."""

    options: ClassVar = {"capacity": 1}

    def test_full(self) -> None:
        self.create()
        self.assertEqual((self.create(confE164="002") or {})["errcode"], "FULL")
        self.assertEqual((self.create() or {})["type"], "MCU_MAU_CREATECONF_ACK")


class ReleaseTests(CmuTestCase):
    """Releases and ends."""

    def test_release(self) -> None:
        self.create()
        notice = {"type": "MCU_MAU_RELEASECONF_NTF", "confE164": "001", "ip": "10.0.0.1", "pid": "1", "epoch": 50}
        self.assertEqual(self.release("1", epoch=50), [notice])
        self.assertEqual(self.host.conferences, {})

    def test_release_of_another_epoch_is_ignored(self) -> None:
        self.create()
        self.assertEqual(self.release("1", epoch=49) + self.release("1", epoch=51), [])
        self.assertIn("001", self.host.conferences)

    def test_release_without_epoch(self) -> None:
        self.create()
        self.assertEqual(self.release("1")[0]["epoch"], 50)

    def test_release_of_an_unknown_one_is_answered(self) -> None:
        self.create()
        self.assertEqual([(notice["pid"], notice["epoch"]) for notice in self.release("2", epoch=50)], [("2", 50)])
        self.assertIn("001", self.host.conferences)

    def test_end(self) -> None:
        self.create()
        self.host.end("001")
        self.settle()
        self.assertEqual(len(self.bodies("MAU.MCU.Q", "MCU_MAU_RELEASECONF_NTF")), 1)
        self.assertRaises(KeyError, self.host.process_of, "001")


class ReportTests(CmuTestCase):
    """Lists and heartbeats."""

    def lists(self) -> list[dict[str, Any]]:
        return self.bodies("MAU.MCU.Q", "MCU_MAU_CONFLIST_NTF")

    def test_list_at_the_start_and_every_ten_seconds(self) -> None:
        self.create()
        self.forget()
        self.settle(30)
        mine = [notice for notice in self.lists() if notice["pid"] == "1"]
        self.assertEqual(len(mine), 3)
        entry = {"confE164": "001", "createtime": 1_700_000_000, "epoch": 50}
        self.assertEqual(mine[0]["confdatainfo"], [entry])
        self.assertEqual((mine[0]["ip"], mine[0]["roommoid"]), ("10.0.0.1", "room-1"))
        self.assertEqual([notice["seq"] - mine[0]["seq"] for notice in mine], [0, 1, 2])
        self.assertEqual([notice["time"] - mine[0]["time"] for notice in mine], [0, 10, 20])
        self.assertNotIn("restarted", mine[0])

    def test_heartbeats(self) -> None:
        self.settle(30)
        mine = [beat for beat in self.bodies("MAU.MCU.Q", "MCU_MAU_HEARTBEAT_NTF") if beat["pid"] == "1"]
        self.assertEqual(len(mine), 6)

    def test_list_after_a_reconnect(self) -> None:
        self.peers.drop_link()
        self.settle(3)
        self.assertEqual({notice["pid"] for notice in self.lists()}, {"1", "2"})

    def test_mute(self) -> None:
        self.host.mute()
        self.settle(20)
        self.assertEqual(self.bodies("MAU.MCU.Q"), [])
        self.assertIsNotNone(self.create())
        self.host.unmute()
        self.settle()
        self.assertEqual(len(self.lists()), 2)

    def test_disconnect(self) -> None:
        self.create()
        self.forget()
        self.fired(self.host.disconnect())
        self.settle(20)
        notices = [(body["type"], body["pid"]) for body in self.bodies("MAU.MCU.Q")]
        self.assertEqual(notices, [("MCU_MAU_DISCONNECT_NTF", "1"), ("MCU_MAU_DISCONNECT_NTF", "2")])
        self.assertIsNone(self.create(confE164="002"))
        self.assertIn("001", self.host.conferences)
        self.host.reconnect()
        self.settle()
        self.assertEqual(len(self.lists()), 2)
        self.assertEqual(len(self.answers()), 1)

    def test_disconnect_unnoticed(self) -> None:
        self.fired(self.host.disconnect(tell=False))
        self.settle(20)
        self.assertEqual(self.bodies("MAU.MCU.Q"), [])

    def test_one_process_disconnected(self) -> None:
        self.fired(self.host.processes["1"].disconnect())
        self.assertEqual({(self.create(confE164=str(number)) or {})["pid"] for number in range(3)}, {"2"})

    def test_crash(self) -> None:
        self.create()
        self.forget()
        self.fired(self.host.crash())
        self.settle(20)
        self.assertEqual((self.bodies("MAU.MCU.Q"), self.host.conferences), ([], {}))
        self.assertIsNone(self.create(confE164="002"))

    def test_restart(self) -> None:
        self.create()
        self.fired(self.host.crash())
        self.forget()
        self.host.restart()
        self.settle()
        (notice,) = self.lists()
        self.assertEqual((notice["confdatainfo"], notice["restarted"]), ([], 1))
        self.assertNotIn(notice["pid"], ("1", "2"))
        self.assertEqual((self.create(epoch=51) or {})["pid"], notice["pid"])

    def test_crash_of_one_process(self) -> None:
        self.create()
        self.create(confE164="002")
        self.fired(self.host.crash_process("1"))
        self.assertEqual(list(self.host.conferences), ["002"])
        self.host.start_process("3", restarted=True)
        self.settle()
        self.assertEqual(sorted(self.host.processes), ["2", "3"])


class ControlTests(CmuTestCase):
    """What is passed through to a process."""

    def control(self, type: str = "CM_CMU_LOCK_REQ", **changes: Any) -> list[dict[str, Any]]:
        fields = {"type": type, "confE164": "001", "mtreqid": "m", **changes}
        self.publish(process_queue("1"), fields, reply_to="MAU.MCU.Q", correlation_id="c")
        self.settle()
        return [json.loads(got.body) for got in self.received["MAU.MCU.Q"] if got.correlation_id == "c"]

    def test_ack(self) -> None:
        self.create()
        answer = {"type": "CMU_CM_LOCK_ACK", "confE164": "001", "ip": "10.0.0.1", "pid": "1", "mtreqid": "m"}
        self.assertEqual(self.control(), [answer])

    def test_nack(self) -> None:
        self.create()
        self.host.processes["1"].controls.reject("BUSY")
        (answer,) = self.control()
        self.assertEqual((answer["type"], answer["errcode"]), ("CMU_CM_LOCK_NACK", "BUSY"))

    def test_unknown_conference(self) -> None:
        self.assertEqual(self.control()[0]["errcode"], "CONF_NOT_FOUND")

    def test_silent(self) -> None:
        self.create()
        self.host.processes["1"].controls.silent()
        self.assertEqual(self.control(), [])

    def test_no_request(self) -> None:
        self.assertEqual(self.control("CM_CMU_LOCK_CMD") + self.control("CM_CMU_LOCK_NTF"), [])
        self.assertEqual(self.host.processes["1"].inbox.count("CM_CMU_LOCK_CMD", "001"), 1)

    def test_monitor(self) -> None:
        self.create()
        for stop in (lambda: self.control("CM_CMU_STOPMONITOR_REQ", monitorid="x"), self.expire):
            self.control("CM_CMU_STARTMONITOR_REQ", monitorid="y")
            answers = self.control("CM_CMU_STARTMONITOR_REQ", monitorid="x")
            self.assertEqual(answers[-1]["type"], "CMU_CM_STARTMONITOR_ACK")
            self.assertEqual(self.host.conferences["001"].monitors, {"x", "y"})
            stop()
            self.assertEqual(self.host.conferences["001"].monitors, {"y"})

    def expire(self) -> None:
        self.command("MAU_CMU_STOPMONITOR_CMD", "1", monitorid="x")

    def test_new_end(self) -> None:
        self.create()
        self.command("MAU_CMU_CONFDURATION_NTF", "1", endtime=1_700_000_900, duration=15)
        self.assertEqual(self.host.conferences["001"].endtime, 1_700_000_900)

    def test_name_wished_for(self) -> None:
        self.create()
        process = self.host.process_of("001")
        process.ask_for_name("001", "新")
        self.settle()
        (wish,) = self.bodies("MAU.MCU.Q", "CMU_CM_MODIFYCONFNAME_REQ")
        self.assertEqual((wish["confname"], wish["ip"], wish["pid"]), ("新", "10.0.0.1", "1"))
        self.command("CM_CMU_MODIFYCONFNAME_ACK", "1", confname="新")
        self.assertEqual(self.host.conferences["001"].confname, "新")
        (change,) = self.bodies("MAU.MCU.Q", "MCU_MAU_CONFSTATECHANGE_NTF")
        self.assertEqual(change["confname"], "新")
        self.assertNotIn("password", change)

    def test_what_it_tells_the_cm(self) -> None:
        self.create()
        self.host.process_of("001").tell_cm("CMU_CM_STATE_NTF", "001", 状态="好")
        self.settle()
        told = {"type": "CMU_CM_STATE_NTF", "confE164": "001", "ip": "10.0.0.1", "pid": "1", "状态": "好"}
        self.assertEqual(self.bodies("MAU.MCU.Q", "CMU_CM_STATE_NTF"), [told])

    def test_delay_wished_for(self) -> None:
        self.create()
        self.host.process_of("001").ask_for_delay("001", 30)
        self.settle()
        (wish,) = self.bodies("MAU.MCU.Q", "MCU_MAU_DELAYCONF_REQ")
        self.assertEqual(wish["delay"], 30)
        self.command("MAU_MCU_DELAYCONF_ACK", "1", mtreqid=wish["mtreqid"], endtime=5)
        self.assertEqual(self.host.conferences["001"].endtime, 5)
        self.assertEqual(self.host.processes["1"].faults, [])

    def test_not_for_a_process(self) -> None:
        self.publish(process_queue("1"), CREATE)
        self.assertEqual([fault.reason for fault in self.host.processes["1"].faults], ["not for this peer"])


class OldHostTests(CmuTestCase):
    """A host that knows no epochs."""

    options: ClassVar = {"knows_epochs": False}

    def test_no_epoch_anywhere(self) -> None:
        answer = self.create()
        self.host.processes["1"].report_list()
        self.settle()
        notices = self.release("1", epoch=7)
        listed = self.bodies("MAU.MCU.Q", "MCU_MAU_CONFLIST_NTF")[-1]["confdatainfo"]
        self.assertEqual(len(listed), 1)
        for told in (answer, notices[0], listed[0]):
            self.assertNotIn("epoch", told or {"epoch": 1})
        self.assertEqual(self.host.conferences, {})

    def test_asked_again_for_what_it_runs(self) -> None:
        """A newer placement of the same number is the same conference to it; an older one changes nothing."""
        self.create()
        for epoch in (90, 80):
            self.create(epoch=epoch)
            self.assertEqual(self.host.conferences["001"].epoch, 90)
