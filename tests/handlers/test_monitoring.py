"""Monitors of conferences (seed 10): what is noted, what the MCU and the CM hear, and what can go wrong on the way."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from css.domain import monitoring
from css.handlers import addresses as to
from css.ports.bus import TryLater
from css.ports.store import StoreError
from tests.handlers.controlcase import E164, FORWARDED, PEER_CSS, ControlCase
from tests.handlers.site import CM_NOTICES, CM_REPLIES, Instance

STOP_COMMAND = "MAU_CMU_STOPMONITOR_CMD"
TIMEOUT_SECONDS = 60


class MonitorCase(ControlCase):
    """One conference that is monitored."""

    def monitor(self, verb: str, monitorid: str = "w1", css: Instance | None = None, **more: Any) -> None:
        """A CM starts, or stops, a monitor."""
        body = {"type": f"CM_CMU_{verb}MONITOR_REQ", "confE164": E164, "monitorid": monitorid, "mtreqid": "m"}
        name = f"{verb}-{monitorid}"
        marks = {"message_id": name, "correlation_id": name, "reply_to": CM_REPLIES} | more
        (css or self.css).take(body, to.CONTROL_QUEUE, **marks)

    def reply(self, verb: str, kind: str = "ACK", number: int = -1) -> None:
        """The MCU answers what it was asked last."""
        letters = [each for each in self.passed() if json.loads(each.body)["type"] == f"CM_CMU_{verb}MONITOR_REQ"]
        body = {"type": f"CMU_CM_{verb}MONITOR_{kind}", "confE164": E164, "mtreqid": "m"}
        correlation_id = letters[number].correlation_id
        self.css.take(body, to.MCU_QUEUE, message_id=f"a-{correlation_id}", correlation_id=correlation_id)

    def heartbeat(self, monitorid: str = "w1", css: Instance | None = None, **more: Any) -> None:
        """The CM still wants it."""
        (css or self.css).take(self.beat(monitorid), to.CONTROL_QUEUE, **more)

    def beat(self, monitorid: str = "w1", e164: str = E164) -> dict[str, str]:
        """A heartbeat's body."""
        return {"type": "CM_CMU_MONITORHEARTBEAT_NTF", "confE164": e164, "monitorid": monitorid}

    def noted(self) -> list[str]:
        """Ids of the monitors in the record."""
        return [each[0] for each in json.loads(self.site.record(E164).get("monitors", "[]"))]

    def commands(self) -> list[str]:
        """Which monitors the MCU was told to stop, in order."""
        bodies = [json.loads(each.body) for each in self.passed()]
        return [body["monitorid"] for body in bodies if body["type"] == STOP_COMMAND]

    def seconds(self, count: float, *watches: Instance) -> None:
        """Time goes by, and monitors are watched."""
        for _ in range(round(2 * count)):
            self.site.clock.advance(0.5)
            for css in watches or (self.css,):
                css.run(css.monitors.tick())


class Noted(MonitorCase):
    """Started and stopped."""

    def test_before_the_mcu_is_asked(self) -> None:
        """So it is known whatever becomes of the answer; the requester gets that."""
        seen: list[list[str]] = []
        self.css.on_point = lambda step, point: seen.append(self.noted()) if step == "pass" else None
        self.monitor("START")
        self.assertEqual(seen[0], ["w1"])
        self.assertEqual(len(self.passed()), 1)
        self.reply("START")
        self.assertEqual([each["type"] for each in self.site.bodies(CM_REPLIES)], ["CMU_CM_STARTMONITOR_ACK"])
        self.assertEqual(self.noted(), ["w1"])

    def test_forgotten_when_the_mcu_agrees(self) -> None:
        """Not before: a stop that is lost, or refused, is made up for by the time-out."""
        self.monitor("START")
        self.monitor("STOP")
        self.assertEqual(self.noted(), ["w1"])
        self.reply("STOP", "NACK")
        self.assertEqual(self.noted(), ["w1"])
        self.monitor("STOP", message_id="again")
        self.reply("STOP")
        self.assertEqual(self.noted(), [])
        self.seconds(2 * TIMEOUT_SECONDS)
        self.assertEqual(self.commands(), [])

    def test_stopped_and_started_anew(self) -> None:
        """The late ACK of the stop does not end the new one."""
        self.monitor("START")
        self.monitor("STOP")
        self.site.clock.advance(0.1)
        self.monitor("START", message_id="again")
        self.reply("STOP")
        self.assertEqual(self.noted(), ["w1"])

    def test_too_many(self) -> None:
        """The next one is refused, and the MCU left alone; one that is known is not."""
        self.patch(monitoring, "MOST_MONITORS", 2)
        for monitorid in ("w1", "w2", "w3"):
            self.monitor("START", monitorid)
        (refused,) = self.site.bodies(CM_REPLIES)
        wanted = {"type": "CMU_CM_STARTMONITOR_NACK", "confE164": E164, "mtreqid": "m", "errcode": "NO_RESOURCE"}
        self.assertEqual((refused, len(self.passed())), (wanted, 2))
        self.monitor("START", "w2", message_id="again")
        self.assertEqual((len(self.passed()), sorted(self.noted())), (3, ["w1", "w2"]))

    def test_moved_while_it_is_noted(self) -> None:
        """Given back: the process that was looked up runs it no more. Then it goes where it runs."""
        load, left = self.site.store.load, ["once"]

        async def moved(*args: Any) -> Any:
            found = await load(*args)
            if left and args[0] == E164:
                left.pop()
                self.move(platformmoid="pB", version="99")
            return found

        self.patch(self.site.store, "load", moved)
        body = {"type": "CM_CMU_STARTMONITOR_REQ", "confE164": E164, "monitorid": "w1", "mtreqid": "m"}
        css = Instance(self.site, slot=2)
        self.failureResultOf(css.begin(body, to.CONTROL_QUEUE, message_id="m", reply_to=CM_REPLIES), TryLater)
        self.assertEqual((self.passed(), self.noted()), ([], []))
        css.take(body, to.CONTROL_QUEUE, message_id="m", reply_to=CM_REPLIES)
        self.assertEqual((self.passed(), len(self.there(PEER_CSS))), ([], 1))

    def test_redis_is_away(self) -> None:
        """Given back, and not passed."""
        self.site.store.fail()
        body = {"type": "CM_CMU_STARTMONITOR_REQ", "confE164": E164, "monitorid": "w1"}
        self.failureResultOf(self.css.begin(body, to.CONTROL_QUEUE, message_id="m"), TryLater)
        self.assertEqual(self.passed(), [])

    def test_ends_with_the_conference(self) -> None:
        """No trace is left, nobody is told."""
        self.monitor("START")
        self.reply("START")
        self.drain(CM_NOTICES)
        self.site.bind(CM_NOTICES)
        self.ended(self.request)
        self.assertNotIn("css/index/monitor/pA", self.site.store.dump())
        self.assertEqual([each["type"] for each in self.site.bodies(CM_NOTICES)], ["MAU_CM_RELEASECONF_NTF"])


class Heartbeats(MonitorCase):
    """Never passed to the MCU."""

    def setUp(self) -> None:
        super().setUp()
        self.monitor("START")
        self.reply("START")

    def test_kept_alive(self) -> None:
        """By any instance, for as long as they come; the MCU hears nothing of it."""
        other = Instance(self.site, slot=2)
        for n in range(8):
            self.seconds(TIMEOUT_SECONDS / 2, self.css, other)  # the request for the start expires meanwhile
            self.heartbeat(css=(self.css, other)[n % 2])
        self.assertEqual((self.noted(), self.passed()), (["w1"], []))

    def test_twice(self) -> None:
        """Harmless."""
        self.site.clock.advance(1)
        for _ in range(2):
            self.heartbeat(message_id="beat")
        self.assertEqual(self.css.tally["monitor_heartbeats_ignored"], 1)

    def test_after_the_end(self) -> None:
        """Of the monitor: starts nothing. Of the conference: dropped, and counted."""
        self.seconds(TIMEOUT_SECONDS + 1)
        self.assertEqual(self.commands(), ["w1"])
        self.heartbeat()
        self.assertEqual((self.noted(), self.css.tally["monitor_heartbeats_ignored"]), ([], 1))
        self.ended(self.request)
        self.heartbeat()
        self.assertEqual(self.css.tally["monitor_heartbeats_dropped"], 1)

    def test_elsewhere(self) -> None:
        """Follows the conference, once; what has come so far is not sent on."""
        self.move(platformmoid="pB", version="99")
        self.heartbeat(message_id="beat")
        (letter,) = self.there(PEER_CSS)
        self.assertEqual((letter.message_id, letter.headers), ("beat", {"x-css-origin": "pA", "x-css-hop": 1}))
        self.heartbeat(message_id="hopped", headers=FORWARDED)
        self.assertEqual((len(self.there(PEER_CSS)), self.css.tally["monitor_heartbeats_dropped"]), (1, 1))

    def test_the_other_platform_is_away(self) -> None:
        """Dropped: the next one comes soon."""
        self.move(platformmoid="pB", version="99")
        self.site.other_broker.stop()
        self.heartbeat()
        self.assertEqual(self.css.tally["monitor_heartbeats_dropped"], 1)

    def test_own_platform_abnormal(self) -> None:
        """Dropped: whoever serves it restores it, and there is nothing to keep."""
        self.site.set_states(pA="abnormal")
        self.heartbeat()
        self.assertEqual(self.css.tally["monitor_heartbeats_dropped"], 1)

    def test_redis_is_away(self) -> None:
        """The own one: given back. Another platform's: once."""
        self.site.store.fail()
        self.failureResultOf(self.css.begin(self.beat(), to.CONTROL_QUEUE, redelivered=True), TryLater)
        self.site.store.recover()
        self.site.other.fail()
        stranger = self.beat(e164="9")
        self.failureResultOf(self.css.begin(stranger, to.CONTROL_QUEUE), TryLater)
        self.css.take(stranger, to.CONTROL_QUEUE, redelivered=True)
        self.assertEqual(self.css.tally["monitor_heartbeats_dropped"], 1)

    def test_while_it_waits_to_be_restored(self) -> None:
        """Counts: its MCU may have it after all, with its monitors; until then none expires."""
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": self.request["ip"], "pid": "11"}, to.MCU_QUEUE)
        self.css.run(self.css.mcu_watch.tick())
        self.assertEqual(self.site.record(E164)["state"], "pending_restore")
        before = self.site.record(E164)["monitors"]
        self.seconds(TIMEOUT_SECONDS - 1)
        self.heartbeat()
        self.assertNotEqual(self.site.record(E164)["monitors"], before)
        self.seconds(TIMEOUT_SECONDS + 1)
        self.assertEqual((self.noted(), self.commands()), (["w1"], []))


class Expired(MonitorCase):
    """Not heard of for too long."""

    def test_a_start_whose_answer_was_lost(self) -> None:
        """Expires like any other: one command, from one of the instances."""
        self.seconds(TIMEOUT_SECONDS)
        self.monitor("START")
        both = (self.css, Instance(self.site, slot=2))
        self.seconds(TIMEOUT_SECONDS - 1, *both)
        self.assertEqual((self.noted(), self.commands()), (["w1"], []))
        self.seconds(2, *both)
        self.assertEqual((self.noted(), self.commands()), ([], ["w1"]))
        self.seconds(TIMEOUT_SECONDS, *both)
        self.assertEqual(self.commands(), ["w1"])

    def test_each_at_its_time(self) -> None:
        """The others stay."""
        self.seconds(TIMEOUT_SECONDS)
        for monitorid in ("w1", "w2", "w3"):
            self.monitor("START", monitorid)
            self.seconds(15)
        self.heartbeat("w1")
        self.seconds(TIMEOUT_SECONDS - 29)
        self.assertEqual((self.noted(), self.commands()), (["w3", "w1"], ["w2"]))

    def test_by_the_platform_where_it_runs(self) -> None:
        """Not by this one."""
        self.monitor("START")
        self.move(platformmoid="pB", version="99")
        self.seconds(3 * TIMEOUT_SECONDS)
        self.assertEqual((self.noted(), self.commands()), (["w1"], []))

    def test_killed_before_the_command_is_out(self) -> None:
        """Another instance carries it out."""
        self.monitor("START")
        self.seconds(TIMEOUT_SECONDS - 1)
        self.css.on_point = self._die
        self.site.clock.advance(2)
        overdue = self.css.monitoring.overdue(self.site.store, E164)
        self.failureResultOf(Deferred.fromCoroutine(overdue), Killed)
        self.assertEqual((self.noted(), self.commands()), ([], []))
        self.site.pass_seconds(15)
        other = Instance(self.site, slot=2)
        other.run(other.sweep.tick())
        self.assertEqual(self.commands(), ["w1"])

    def _die(self, step: str, point: str) -> None:
        if (step, point) == ("monitor_expiry", "after_commit"):
            raise Killed


class Killed(Exception):
    """The process has died at this point."""


class Restored(MonitorCase):
    """Elsewhere: its new MCU knows nothing of monitors."""

    def test_the_cm_is_told(self) -> None:
        """After the notice of the restore, for each; nothing expires later."""
        for monitorid in ("w1", "w2"):
            self.monitor("START", monitorid)
        self.drain(CM_NOTICES)
        self.site.bind(CM_NOTICES)
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": self.request["ip"], "pid": "11"}, to.MCU_QUEUE)
        self.css.round()
        self.css.round()
        request = self.give(self.site.letters("RMS.RES.Q")[-1].correlation_id)
        ack = {"type": "CMU_MAU_RESTORECONF_ACK", "pid": "12"}
        self.css.take(ack | {k: request[k] for k in ("confE164", "ip", "epoch")}, to.MCU_QUEUE)
        told = [(each["type"], each.get("monitorid")) for each in self.site.bodies(CM_NOTICES)]
        stopped = "MAU_CM_STOPMONITOR_NTF"
        self.assertEqual(told, [("MAU_CM_RESTORECONF_NTF", None), (stopped, "w1"), (stopped, "w2")])
        self.assertEqual(self.noted(), [])
        self.assertNotIn("css/index/monitor/pA", self.site.store.dump())

    def test_store_errors_do_not_keep_an_answer(self) -> None:
        """A stop is answered even if it can't be forgotten just now."""
        self.monitor("START")
        self.monitor("STOP")

        async def fails(*args: Any) -> None:
            raise StoreError("away")

        self.patch(self.css.steps, "take", fails)
        self.reply("STOP")
        self.assertEqual([each["type"] for each in self.site.bodies(CM_REPLIES)], ["CMU_CM_STOPMONITOR_ACK"])
        self.assertEqual(self.noted(), ["w1"])
