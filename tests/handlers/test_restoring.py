"""Taking conferences off what has gone, and beginning their restores."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent

from css.handlers import addresses as to
from css.handlers import restoring
from css.ports.store import Commit, McuSeen
from tests.handlers.site import CM_NOTICES, HOSTS, RMS, Instance, SiteCase, done, token


class RestoringCase(SiteCase):
    """A conference that runs on process 11 of 10.0.0.1, and how it is lost."""

    def setUp(self) -> None:
        super().setUp()
        self.request = self.run_one()
        self.ip: str = self.request["ip"]
        self.css.tick()

    def lose(self, css: Instance | None = None) -> int:
        """Its process has gone."""
        count: int = (css or self.css).run(
            (css or self.css).restoring.lose(McuSeen(self.ip, "11", 0), "it fell silent")
        )
        return count

    def restore(self, *hosts: str) -> dict[str, Any]:
        """A round of the restore timer; RMS answers. @return: the request to the host that was chosen."""
        self.css.run(self.css.restores.tick())
        return self.give(self.site.letters(RMS)[-1].correlation_id, *(hosts or [ip for ip in HOSTS if ip != self.ip]))

    def restored(self, request: dict[str, Any]) -> None:
        """The host's process 11 answers."""
        body = {"type": "CMU_MAU_RESTORECONF_ACK", "pid": "11"}
        body |= {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=token(request))

    def recovery(self) -> Any:
        """The newest one in the ledger, everything told."""
        self.css.tick()
        return (self.css.run(self.site.ledger.recent(10)) or [None])[0]


class Losing(RestoringCase):
    """An MCU process, a room."""

    def test_whole_way(self) -> None:
        """Lost, asked for, restored: record, load, CM and ledger agree."""
        self.assertEqual(self.lose(), 1)
        self.assertEqual(self.state_of(), "pending_restore")
        request = self.restore()
        self.assertEqual((request["type"], self.state_of()), ("MAU_CMU_RESTORECONF_REQ", "creating"))
        self.restored(request)
        self.assertEqual((self.state_of(), self.site.record("0755001")["ip"]), ("ongoing", request["ip"]))
        recovery = self.recovery()
        self.assertEqual(self.loads(), {request["ip"]: 1})
        notice = self.site.bodies(CM_NOTICES)[-1]
        self.assertEqual((notice["type"], notice["ip"]), ("MAU_CM_RESTORECONF_NTF", request["ip"]))
        self.assertEqual((recovery.kind, recovery.planned, recovery.settled), ("mcu", 1, 1))
        self.assertGreater(recovery.ended_ms, 0)
        steps = self.css.run(self.site.ledger.steps(recovery.name, 10))
        self.assertEqual(len(steps), 4)

    def test_no_limit_stops_it(self) -> None:
        """Lowered to nothing, expired, or gone: it is restored all the same; its place is given back once."""
        for licence in ({"smallconfnum": "0"}, {"expires": "1"}, None):
            key = "domain/pA/license"
            self.css.run(self.site.store.write_hashes({key: licence and {"license": "x", **licence}}))
            self.lose()
            request = self.restore()
            self.restored(request)
            self.assertEqual(self.state_of(), "ongoing")
            self.ip = request["ip"]
            self.assertEqual(self.css.run(self.site.store.index_size("licence/pA/small")), 1)
            self.site.pass_seconds(60, 10)
        self.ended(request)
        self.assertEqual(self.css.run(self.site.store.index_size("licence/pA/small")), 0)

    def test_twice(self) -> None:
        """The second one finds nothing, and enters nothing."""
        self.lose()
        self.assertEqual(self.lose(Instance(self.site, 2)), 0)
        self.recovery()
        self.assertEqual(len(self.css.run(self.site.ledger.recent(10))), 1)

    def test_noticed_by_two_at_once(self) -> None:
        """The loss has one entry in the ledger, which ends, whoever is the faster."""
        self.accept(self.give(self.ask(e164="2"), self.ip))
        second = Instance(self.site, 2)
        counts: list[int] = []

        def meanwhile(step: str, point: str) -> None:
            if (step, point) == ("lose", "before_commit") and not counts:
                counts.append(0)
                self.site.clock.advance(0.001)
                counts[0] = self.lose(second)

        self.css.on_point = meanwhile
        self.assertEqual((self.lose(), counts), (0, [2]))
        second.tick()
        self.recovery()
        (entry,) = self.css.run(self.site.ledger.recent(10))
        self.assertEqual((entry.planned, entry.ended_ms), (2, 0))

    def test_nothing_ran_there(self) -> None:
        """No entry in the ledger."""
        count = self.css.run(self.css.restoring.lose(McuSeen("10.0.0.9", "1", 0), "it fell silent"))
        self.assertEqual((count, self.recovery()), (0, None))

    def test_in_every_store(self) -> None:
        """A conference of another platform that runs here, too."""
        other = self.give(self.ask(e164="7", moid="uB"), self.ip)
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: other[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=f"pB/7/{other['epoch']}")
        self.assertEqual(self.lose(), 2)
        self.assertEqual(self.site.record("7", self.site.other)["state"], "pending_restore")

    def test_a_store_that_is_away(self) -> None:
        """The other stores go on; the caller is told that it is not finished."""
        self.site.other.fail()
        self.fails(self.css.restoring.lose(McuSeen(self.ip, "11", 0), "it fell silent"))
        self.assertEqual(self.state_of(), "pending_restore")

    def test_a_record_that_cannot_be_read(self) -> None:
        """It is reported, and keeps no other one waiting: neither when it is lost nor when it is to be restored."""
        self.give_all("2", "3")
        self.spoil("2")
        self.assertEqual(self.lose(), 2)
        self.assertEqual((self.state_of(), self.state_of("3")), ("pending_restore", "pending_restore"))
        self.site.store.server.keyspace.score("css/index/restore/pA", "2", 1)
        with capturedLogs() as events:
            self.css.run(self.css.restores.tick())
            self.assertEqual(self.css.tally["restores_begun"], 2)
            for _ in range(5):
                self.site.pass_seconds(6, 1)
                self.css.run(self.css.restores.tick())
        alerts = [each for each in map(formatEvent, events) if "ALERT" in each]
        self.assertEqual((len(alerts), self.css.tally["set_aside"]), (1, 1))

    def test_a_key_of_another_type(self) -> None:
        """Somebody else has written it: what comes after it is lost all the same, and nobody has to try that again. It
        is told of once."""
        self.patch(restoring, "PAGE", 1)
        self.give_all("1", "2", "3")
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={"confex/2": "odd"})))
        self.css.steps._hints.clear()  # as after a start
        with capturedLogs() as events:
            self.assertEqual((self.lose(), self.lose()), (3, 0))
        self.assertEqual((self.state_of("1"), self.state_of("3")), ("pending_restore", "pending_restore"))
        self.assertEqual(len([each for each in map(formatEvent, events) if "ALERT" in each]), 1)

    def test_no_record_any_more(self) -> None:
        """Its key was deleted by hand: it is not claimed again."""
        self.site.store.server.keyspace.score("css/index/restore/pA", "404", 1)
        self.site.store.server.keyspace.score("css/index/pending/pA", "404", 1)
        self.css.run(self.css.restores.tick())
        left = [self.css.run(self.site.store.index_size(f"{name}/pA")) for name in ("restore", "ready", "pending")]
        self.assertEqual(left, [0, 0, 0])

    def test_a_room(self) -> None:
        """Released on its MCU, restored elsewhere; the MCU's end notice does not end it."""
        done(self.site.state.set_room("room-0", True))
        self.css.run(self.css.room_watch.tick())
        self.assertEqual(self.state_of(), "pending_restore")
        command = self.site.bodies(f"cmu.conf.q:{self.ip}:11")[-1]
        self.assertEqual((command["type"], command["epoch"]), ("MAU_MCU_RELEASECONF_CMD", self.request["epoch"]))
        self.ended(self.request)
        self.assertEqual(self.state_of(), "pending_restore")
        self.css.run(self.css.room_watch.tick())
        self.assertEqual(self.recovery().planned, 1)
        self.assertEqual(len(self.css.run(self.site.ledger.recent(10))), 1)

    def test_a_room_with_a_create_under_way(self) -> None:
        """It is no recovery; what the MCU starts is taken off it then."""
        request = self.give(self.ask(e164="2"), roommoid="room-7")
        done(self.site.state.set_room("room-7", True))
        self.css.run(self.css.room_watch.tick())
        self.assertEqual((self.state_of("2"), self.recovery()), ("creating", None))
        self.accept(request)
        self.css.run(self.css.room_watch.tick())
        self.assertEqual(self.state_of("2"), "pending_restore")

    def give_all(self, *numbers: str) -> None:
        """More conferences on the same process."""
        for e164 in numbers:
            self.accept(self.give(self.ask(e164=e164), self.ip))

    def spoil(self, e164: str) -> None:
        """Make a record unreadable, to instances too that know it by heart."""
        self.site.store.server.keyspace.update_hash(f"confex/{e164}", {"state": "odd"})
        self.css.steps._hints.clear()  # as after a start


class Refused(RestoringCase):
    """RMS or MCUs can't help."""

    def test_rms_refuses(self) -> None:
        """Taken at once, not after a time-out; tried again after the restore interval."""
        self.lose()
        self.css.run(self.css.restores.tick())
        asked = self.site.letters(RMS)[-1].correlation_id
        self.css.take({"type": "GET_RES_NACK", "errcode": "NO"}, to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.assertNotIn("attempt", self.site.record("0755001"))
        before = len(self.site.letters(RMS))
        self.site.pass_seconds(4.5)
        self.css.run(self.css.restores.tick())
        self.assertEqual(len(self.site.letters(RMS)), before)
        self.site.pass_seconds(0.6)
        self.css.run(self.css.restores.tick())
        self.assertEqual(len(self.site.letters(RMS)), before + 1)

    def test_rms_is_silent(self) -> None:
        """The restore timer itself notices."""
        self.lose()
        self.css.run(self.css.restores.tick())
        self.site.pass_seconds(5.2)
        self.css.run(self.css.restores.tick())
        self.assertNotIn("attempt", self.site.record("0755001"))
        self.assertEqual(self.state_of(), "pending_restore")

    def test_mcu_that_was_only_slow(self) -> None:
        """Its ACK comes after the attempt has failed: it is told to end it, and the place is free."""
        self.lose()
        request = self.restore("10.0.0.2")
        self.site.pass_seconds(5.2)
        self.css.run(self.css.due.tick())
        self.assertEqual(self.state_of(), "pending_restore")
        self.css.tick()
        self.assertEqual(self.loads(), {})
        self.restored(request)
        self.assertEqual(self.state_of(), "pending_restore")
        command = self.site.bodies(f"cmu.conf.q:{request['ip']}:11")[-1]
        self.assertEqual((command["type"], command["epoch"]), ("MAU_MCU_RELEASECONF_CMD", request["epoch"]))

    def test_released_on_the_way(self) -> None:
        """In each situation of a restore; nothing is left of it."""
        self.lose()
        steps = [lambda: None, lambda: self.css.run(self.css.restores.tick()), lambda: self.restore("10.0.0.2")]
        for number, step in enumerate(steps):
            e164 = f"9{number}"
            self.accept(self.give(self.ask(e164=e164), self.ip))
            self.lose()
            step()
            self.css.take(
                {"type": "CM_MAU_RELEASECONF_REQ", "confE164": e164, "mtreqid": "m-2"}, message_id=f"end-{e164}"
            )
            self.assertEqual(self.state_of(e164), "")
        self.css.take({"type": "CM_MAU_RELEASECONF_REQ", "confE164": "0755001", "mtreqid": "m-2"}, message_id="end")
        self.css.tick()
        self.assertEqual(self.loads(), {})
        indexes = [key for key in self.site.store.dump() if key.startswith("css/index/")]
        self.assertEqual(indexes, [])
