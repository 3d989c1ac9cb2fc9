"""The own platform is abnormal, and normal again: what is written, what is told, what is in doubt (seed 2.3.1)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from css.adapters.memory.store import MemoryStore
from css.handlers import addresses as to
from css.handlers import locator
from css.ports.bus import TryLater
from css.ports.store import Commit, McuSeen, StoreError
from tests.handlers.site import CM_REPLIES, HOSTS, LOCATOR, RMS, Instance, SiteCase, create, done, release


class DutyCase(SiteCase):
    """A conference that runs, and one that RMS and one that an MCU is asked about."""

    def setUp(self) -> None:
        super().setUp()
        self.request = self.run_one()
        self.ip: str = self.request["ip"]
        self.rms_asked = self.ask(e164="2")
        self.mcu_asked = self.give(self.ask(e164="3"))
        self.css.liveness.begin_to_consume(0)
        self.css.run(self.css.legacy.read())

    def suspend(self, *others: Instance) -> None:
        """The PMS calls the platform abnormal, a second later."""
        self.site.pass_seconds(1)
        self.site.set_states(pA="abnormal", pB="normal")
        for css in (self.css, *others):
            css.duty.suspended()

    def resume(self, *others: Instance) -> None:
        """It is normal again, and every instance has noted it."""
        self.site.set_states(pA="normal", pB="normal")
        for css in (self.css, *others):
            css.run(css.duty.tick())

    def records(self) -> dict[str, dict[str, str]]:
        """All records of the own store, and their hashes."""
        return {key: value for key, value in self.site.store.dump().items() if key.startswith("conf")}

    def commands(self, ip: str = "") -> list[tuple[str, Any]]:
        """(number, epoch) of each release that process 11 of a host was told."""
        return [(body["confE164"], body.get("epoch")) for body in self.site.bodies(f"cmu.conf.q:{ip or self.ip}:11")]


class Abnormal(DutyCase):
    """No record is written, whatever comes."""

    def setUp(self) -> None:
        super().setUp()
        self.suspend()
        self.before = self.records()

    def unchanged(self) -> None:
        """As it was when the platform became abnormal."""
        self.assertEqual(self.records(), self.before)

    def test_mcu_ack(self) -> None:
        """Released at once: nobody may know of it."""
        self.accept(self.mcu_asked)
        self.unchanged()
        self.assertIn(("3", self.mcu_asked["epoch"]), self.commands(self.mcu_asked["ip"]))

    def test_mcu_nack_notices_and_rms(self) -> None:
        """Dropped and counted."""
        self.refuse(self.mcu_asked)
        self.ended(self.request)
        self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=self.rms_asked)
        self.css.take({"type": "GET_RES_NACK", "errcode": "X"}, to.RMS_REPLY_QUEUE, correlation_id=self.rms_asked)
        renamed = {"type": "MCU_MAU_CONFSTATECHANGE_NTF", "confE164": "0755001", "ip": self.ip, "pid": "11"}
        self.css.take(renamed | {"confname": "x"}, to.MCU_QUEUE)
        self.unchanged()
        self.assertEqual(self.css.tally["ignored_off_duty"], 5)

    def test_request_without_a_queue(self) -> None:
        """An MCU host that has gone: the silence is not acted on."""
        self.css.mcus.silent_at_once(f"pA/3/{self.mcu_asked['epoch']}")
        self.site.pass_seconds(1)
        self.unchanged()
        self.assertEqual(self.css.tally["mcu_without_queue"], 1)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)

    def test_timers(self) -> None:
        """Deadlines, silent MCUs, an abnormal room, a restore that is due."""
        done(self.site.state.set_room("room-0", True))
        self.css.run(self.css.liveness.disconnected(self.ip, "11"))
        self.site.pass_seconds(60, 1.0)
        self.css.round()
        self.unchanged()
        self.assertEqual(len(self.site.letters(RMS)), 3)

    def test_step_under_way(self) -> None:
        """What was begun before is not committed; its message comes again, and is then refused."""
        self.site.set_states(pA="normal")

        def stop(step: str, point: str) -> None:
            if (step, point) == ("create", "before_commit"):
                self.suspend()

        self.css.on_point = stop
        given_back = self.css.begin(create("9"), message_id="m", reply_to=CM_REPLIES)
        self.failureResultOf(given_back, TryLater)
        self.unchanged()
        self.css.take(create("9"), message_id="m", reply_to=CM_REPLIES, redelivered=True)
        self.assertEqual(self.errcodes()[-1], "PLATFORM_ABNORMAL")

    def test_requests_of_the_cm(self) -> None:
        """Each is refused, also while the own Redis is away."""
        self.site.store.fail()
        self.css.take(create("9"), message_id="m1", reply_to=CM_REPLIES)
        self.css.take(release(), message_id="m2", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes()[-2:], ["PLATFORM_ABNORMAL"] * 2)

    def test_the_same_request_again(self) -> None:
        """Its one answer: that of before, and that of this time later on."""
        before = self.answers()[-1]
        again: dict[str, Any] = {"reply_to": CM_REPLIES, "correlation_id": "c-0755001"}
        self.css.take(create(), message_id="create-0755001", **again)
        self.assertEqual((self.answers()[-1]["type"], self.answers()[-1]), ("MAU_CM_CREATECONF_ACK", before))
        self.css.take(create("9"), message_id="m9", reply_to=CM_REPLIES)
        self.resume()
        self.css.take(create("9"), message_id="m9", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes()[-2:], ["PLATFORM_ABNORMAL"] * 2)
        self.assertNotIn("confex/9", self.records())

    def test_the_same_request_whose_answer_is_in_another_store(self) -> None:
        """Found there."""
        self.site.set_states(pA="normal", pB="abnormal")
        for request in ("first", "m7"):
            self.css.take(create("7", moid="uB"), message_id=request, reply_to=CM_REPLIES)
        self.suspend()
        self.css.take(create("7", moid="uB"), message_id="m7", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes()[-2:], ["CONF_EXISTS"] * 2)

    def test_disconnect_while_the_own_redis_is_away(self) -> None:
        """Dropped: it must not hold up what comes behind it."""
        self.site.store.fail()
        body = {"type": "MCU_MAU_DISCONNECT_NTF", "ip": self.ip, "pid": "11"}
        handled = self.css.begin(body, to.MCU_QUEUE)
        self.site.pass_seconds(3)
        self.assertIsNone(self.successResultOf(handled))
        self.site.store.recover()
        self.unchanged()

    def test_list_without_a_store(self) -> None:
        """All that it shows is released under its own epochs."""
        self.site.store.fail()
        self.site.other.fail()
        stray = {"confE164": "77", "createtime": 5, "epoch": 6}
        self.lists(self.ip, self.entry(self.request), stray)
        self.assertEqual(self.commands(), [("0755001", self.request["epoch"]), ("77", 6)])


class Legacy(DutyCase):
    """What is bound to old hardware is spared (seed 12)."""

    def setUp(self) -> None:
        super().setUp()
        self.old = self.give(self.ask(e164="5", legacy=1), self.ip)
        self.accept(self.old)

    def test_read_when_it_is_needed(self) -> None:
        """The own store answers."""
        self.suspend()
        self.lists(self.ip, self.entry(self.old), self.entry(self.request))
        self.assertEqual(self.commands(), [("0755001", self.request["epoch"])])

    def test_remembered(self) -> None:
        """It does not answer any more: the last known ones."""
        self.css.run(self.css.legacy.read())
        self.suspend()
        self.site.store.fail()
        self.lists(self.ip, self.entry(self.old), self.entry(self.request))
        self.assertEqual(self.commands(), [("0755001", self.request["epoch"])])

    def test_started_while_abnormal(self) -> None:
        """Lists wait a while for the own store's first word; then nothing is spared."""
        fresh = Instance(self.site, 3)
        self.suspend()
        self.site.store.fail()
        body = {"type": "MCU_MAU_CONFLIST_NTF", "ip": self.ip, "pid": "11", "confdatainfo": [self.entry(self.old)]}
        given_back = fresh.begin(body, to.MCU_QUEUE)
        self.site.pass_seconds(1)
        self.failureResultOf(given_back, TryLater)
        self.assertEqual(self.commands(), [])
        self.site.pass_seconds(10)
        taken = fresh.begin(body, to.MCU_QUEUE)
        self.site.pass_seconds(1)
        self.successResultOf(taken)
        self.assertEqual(self.commands(), [("5", self.old["epoch"])])

    def test_stores_that_hang_are_waited_for_together(self) -> None:
        """Not one after the other: the lists of the own MCUs wait for the slowest only."""
        self.site.stores["pC"] = hanging = MemoryStore("pC", self.site.clock)
        for server in (self.site.other.server, hanging.server):
            server.hang()
        read = self.css.run_to_its_end(self.css.legacy.read())
        for _ in range(30):
            if not read.called:
                self.site.clock.advance(0.1)
        self.assertEqual(self.successResultOf(read), frozenset({"5"}))

    def test_its_ack(self) -> None:
        """A create that its MCU has just answered."""
        late = self.give(self.ask(e164="6", legacy=1), self.ip)
        self.suspend()
        self.accept(late)
        self.assertEqual(self.commands(), [])
        self.accept(self.mcu_asked)
        self.assertEqual(self.commands(self.mcu_asked["ip"]), [("3", self.mcu_asked["epoch"])])

    def test_forgotten_with_its_end(self) -> None:
        """The list of them follows."""
        self.assertEqual(self.css.run(self.css.legacy.read()), frozenset({"5"}))
        self.css.take(release("5"), message_id="m2")
        self.assertEqual(self.css.run(self.css.legacy.read()), frozenset())


class NormalAgain(DutyCase):
    """What its MCUs list with its epoch runs; the others are lost, not ended."""

    def test_listed(self) -> None:
        """Nothing has happened to it."""
        self.suspend()
        self.resume()
        self.lists(self.ip, self.entry(self.request))
        self.assertEqual(self.state_of(), "ongoing")

    def test_not_listed(self) -> None:
        """Voided at the first list without it, and restored; never ended for its absence."""
        self.suspend()
        self.lists(self.ip, self.entry(self.request))
        self.resume()
        self.lists(self.ip)
        record = self.site.record("0755001")
        self.assertEqual((record["state"], record["ip"], record["pid"]), ("pending_restore", "", ""))
        self.assertGreater(int(record["epoch"]), self.request["epoch"])
        self.css.round()
        self.assertEqual(self.site.letters(RMS)[-1].correlation_id, f"pA/0755001/{record['epoch']}")
        self.css.tick()
        (recovery,) = self.css.run(self.site.ledger.recent(5))
        self.assertEqual((recovery.kind, recovery.subject, recovery.planned), ("platform", "pA", 1))

    def test_late_end_notice(self) -> None:
        """The MCU says that what it was told to end is over: it is lost, not ended. The next end is one."""
        self.suspend()
        self.lists(self.ip, self.entry(self.request))
        self.resume()
        self.ended(self.request)
        self.assertEqual(self.state_of(), "pending_restore")
        self.ended(self.mcu_asked)
        other = self.run_one("8")
        self.ended(other)
        self.assertEqual(self.state_of("8"), "")

    def test_it_waited_to_be_restored(self) -> None:
        """Its MCU had been lost before: the end notice does not end it either."""
        self.css.run(self.css.restoring.lose(McuSeen(self.ip, "11", 0), "gone"))
        self.suspend()
        self.resume()
        self.ended(self.request)
        self.assertEqual(self.state_of(), "pending_restore")

    def test_new_ones_are_judged_as_ever(self) -> None:
        """A placement that is younger than the moment, or whose time of doubt is over."""
        self.suspend()
        self.resume()
        self.site.pass_seconds(1)
        young = self.run_one("8")
        self.ended(young)
        self.assertEqual(self.state_of("8"), "")
        self.site.pass_seconds(20)
        self.ended(self.request)
        self.assertEqual(self.state_of(), "")

    def test_another_instance_knows_it(self) -> None:
        """One that was started since."""
        self.suspend()
        self.resume()
        fresh = Instance(self.site, 3)
        self.lists(self.ip, css=fresh)
        self.assertEqual(self.state_of(), "pending_restore")

    def test_redis_was_away_all_the_time(self) -> None:
        """It is told afterwards; until then nothing is judged."""
        self.site.store.fail()
        self.suspend()
        self.fails(self.css.duty.tick())
        self.site.set_states(pA="normal", pB="normal")
        self.site.store.recover()
        body = {"type": "MCU_MAU_CONFLIST_NTF", "ip": self.ip, "pid": "11", "confdatainfo": []}
        given_back = self.css.begin(body, to.MCU_QUEUE)
        self.site.pass_seconds(1)
        self.assertIsNotNone(self.failureResultOf(given_back))
        self.resume()
        self.lists(self.ip)
        self.assertEqual(self.state_of(), "pending_restore")

    def test_flap_between_two_rounds(self) -> None:
        """Abnormal and normal again before anything was noted."""
        self.suspend()
        self.resume()
        self.lists(self.ip)
        self.assertEqual(self.state_of(), "pending_restore")

    def test_noted_once(self) -> None:
        """Later rounds ask nothing, and the moment stays."""
        self.suspend()
        self.css.run(self.css.duty.tick())
        self.css.run(self.css.duty.tick())
        self.resume()
        since = self.css.duty.resumed_ms
        self.site.pass_seconds(1)
        self.css.run(self.css.duty.tick())
        self.assertEqual((self.css.duty.resumed_ms, self.site.store.dump()["css/duty"]["state"]), (since, "on"))


class Locator(DutyCase):
    """Cleared when nothing can be reached here; filled again when it can (seed 7.2)."""

    def reports(self) -> list[tuple[str, str]]:
        """Type and number of what the locator was told since `setUp`."""
        bodies = self.site.bodies(LOCATOR)[self.told :]
        return [(body["type"], body.get("confE164", body.get("platformmoid", ""))) for body in bodies]

    def setUp(self) -> None:
        super().setUp()
        self.run_one("5", legacy=1)
        self.told = len(self.site.bodies(LOCATOR))

    def test_cleared_and_filled(self) -> None:
        """Once each; what is being created is reported when it runs."""
        self.suspend()
        self.site.store.fail()
        for _ in range(3):
            self.css.run(self.css.locator.tick())
        self.assertEqual(self.reports(), [("UPU_CLEAR_REQ", "pA")])
        self.site.store.recover()
        self.resume()
        for _ in range(3):
            self.css.run(self.css.locator.tick())
        filled = sorted(self.reports()[1:])
        self.assertEqual(filled, [("UPU_ADD_CONF_REQ", "0755001"), ("UPU_ADD_CONF_REQ", "5")])

    def test_not_before_it_is_cleared(self) -> None:
        """A clear that could not be sent goes before what is reported again."""
        self.site.broker.delete_queue(LOCATOR)
        self.suspend()
        first = Deferred.fromCoroutine(self.css.locator.tick())
        self.site.pass_seconds(6)
        self.successResultOf(first)
        self.resume()
        self.site.declare(LOCATOR)
        self.site.bind(LOCATOR)
        self.told = 0
        for _ in range(2):
            self.css.run(self.css.locator.tick())
        self.assertEqual(self.reports()[0], ("UPU_CLEAR_REQ", "pA"))
        self.assertEqual(len(self.reports()), 3)

    def test_a_store_is_away(self) -> None:
        """What could not be read is reported by a later round."""
        self.suspend()
        self.css.run(self.css.locator.tick())
        self.resume()
        self.site.store.fail()
        self.fails(self.css.locator.tick())
        self.site.store.recover()
        self.css.run(self.css.locator.tick())
        self.assertIn(("UPU_ADD_CONF_REQ", "0755001"), self.reports())

    def test_records_that_cannot_be_read(self) -> None:
        """They are told of once, and keep no other one from being reported."""
        self.patch(locator, "PAGE", 1)
        self.run_one("4")
        self.run_one("6")
        self.site.store.server.keyspace.update_hash("confex/4", {"state": "odd"})
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={"confex/6": "odd"})))
        self.css.steps._hints.clear()  # as after a start
        self.suspend()
        self.css.run(self.css.locator.tick())
        self.resume()
        with capturedLogs() as events:
            for _ in range(3):
                self.css.run(self.css.locator.tick())
        filled = sorted(self.reports()[-2:])
        self.assertEqual(filled, [("UPU_ADD_CONF_REQ", "0755001"), ("UPU_ADD_CONF_REQ", "5")])
        self.assertEqual(len([each for each in map(formatEvent, events) if "ALERT" in each]), 2)


def resources() -> dict[str, Any]:
    """RMS's answer."""
    return {"type": "GET_RES_ACK", "roommoid": "r", "mcu": [{"ip": ip} for ip in HOSTS], "vrs": [], "mps": []}
