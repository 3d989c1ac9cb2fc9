"""Lists of MCUs: only what differs is looked at, in every store, and nothing is ended by mistake."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent

from css.handlers import addresses as to
from css.ports.store import Commit
from tests.handlers.site import CM_NOTICES, PARKED, Instance, SiteCase, done


class SyncCase(SiteCase):
    """A conference that runs on process 11 of a host, which lists."""

    def setUp(self) -> None:
        super().setUp()
        self.request = self.run_one()
        self.ip: str = self.request["ip"]
        self.now = int(self.site.clock.seconds())

    def commands(self, ip: str = "", pid: str = "11") -> list[tuple[str, Any]]:
        """(number, epoch) of each release that a process was told."""
        return [(body["confE164"], body.get("epoch")) for body in self.site.bodies(f"cmu.conf.q:{ip or self.ip}:{pid}")]


class Lists(SyncCase):
    """What one list does."""

    def test_all_is_well(self) -> None:
        """No record is even loaded."""
        version = self.site.record("0755001")["version"]
        self.lists(self.ip, self.entry(self.request), time=self.now)
        self.assertEqual((self.site.record("0755001")["version"], self.commands()), (version, []))
        self.assertEqual((self.css.tally["lists"], self.css.tally["step_listed"]), (1, 0))

    def test_lost_ack(self) -> None:
        """Confirmed by the list; the CM gets its ACK."""
        request = self.give(self.ask(e164="2"))
        self.lists(
            request["ip"], self.entry(request), *([self.entry(self.request)] if request["ip"] == self.ip else [])
        )
        self.assertEqual((self.state_of("2"), self.answers()[-1]["type"]), ("ongoing", "MAU_CM_CREATECONF_ACK"))

    def test_a_record_that_cannot_be_read(self) -> None:
        """It keeps no other one of the list waiting, and is told of once; it is no stranger."""
        requests = [self.give(self.ask(e164=e164), self.ip) for e164 in ("7", "8", "9")]
        self.site.store.server.keyspace.update_hash("confex/7", {"state": "odd"})
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={"confex/8": "odd"})))
        self.css.steps._hints.clear()  # as after a start
        with capturedLogs() as events:
            for _ in range(3):
                self.lists(self.ip, *(self.entry(each) for each in requests))
                self.site.pass_seconds(10, 1)
        self.assertEqual(self.state_of("9"), "ongoing")
        self.assertEqual(len([each for each in map(formatEvent, events) if "ALERT" in each]), 2)
        self.assertEqual((self.site.letters(PARKED), self.css.tally["strangers_released"]), ([], 0))

    def test_older_list(self) -> None:
        """By its number: nothing of it counts; the same number again does."""
        self.lists(self.ip, self.entry(self.request), seq=5)
        for seq in (4, 3):
            self.lists(self.ip, seq=seq, time=self.now + seq)
        self.assertNotIn("missed", self.site.record("0755001"))
        self.assertEqual(self.css.tally["lists_too_old"], 2)
        self.lists(self.ip, seq=5, time=self.now + 9)
        self.assertIn("missed", self.site.record("0755001"))

    def test_missing_from_two(self) -> None:
        """Ended as lost, by whichever instance; nothing stays of it."""
        other = Instance(self.site, 2)
        self.lists(self.ip, time=self.now + 1)
        self.lists(self.ip, time=self.now + 1, css=other)
        self.site.clock.advance(4.9)
        self.lists(self.ip, time=self.now + 2, css=other)
        self.assertEqual(self.state_of(), "ongoing")
        self.site.clock.advance(0.1)
        self.lists(self.ip, time=self.now + 2, css=other)
        self.assertEqual(self.state_of(), "")
        other.tick()
        self.assertEqual(self.loads(), {})
        notice = self.site.bodies(CM_NOTICES)[-1]
        self.assertEqual((notice["type"], notice["reason"]), ("MAU_CM_RELEASECONF_NTF", "lost"))

    def test_delivered_again_without_a_name(self) -> None:
        """A list without time and number that is given back and comes again is not a second one."""
        self.lists(self.ip)
        self.site.pass_seconds(6)
        body = {"type": "MCU_MAU_CONFLIST_NTF", "ip": self.ip, "pid": "11", "confdatainfo": []}
        self.css.take(body, to.MCU_QUEUE, redelivered=True)
        self.assertEqual(self.state_of(), "ongoing")
        self.css.take(body, to.MCU_QUEUE)
        self.assertEqual(self.state_of(), "")

    def test_newer_placement_on_another_host(self) -> None:
        """Adopted there, ended here, load moved."""
        newer = self.entry(self.request, epoch=self.request["epoch"] + 1)
        elsewhere = next(ip for ip in ("10.0.0.1", "10.0.0.2") if ip != self.ip)
        self.lists(elsewhere, newer)
        self.css.tick()
        self.assertEqual(self.site.record("0755001")["ip"], elsewhere)
        self.assertEqual((self.loads(), self.commands()), ({elsewhere: 1}, [("0755001", self.request["epoch"])]))

    def test_older_placement_on_another_host(self) -> None:
        """Ended there, each time that it is listed; its end notice ends nothing here."""
        elsewhere = next(ip for ip in ("10.0.0.1", "10.0.0.2") if ip != self.ip)
        older = self.entry(self.request, epoch=self.request["epoch"] - 1)
        for n in (1, 2):
            self.lists(elsewhere, older)
            self.site.clock.advance(1)
            self.assertEqual(len(self.commands(elsewhere)), n)
        self.ended(self.request, ip=elsewhere, epoch=self.request["epoch"] - 1)
        self.assertEqual(self.state_of(), "ongoing")

    def test_another_store_is_away(self) -> None:
        """What is of the own store goes on; nothing is released for want of a record."""
        self.site.other.fail()
        stranger = {"confE164": "99", "createtime": self.now, "epoch": 5}
        for n in (1, 2):
            self.lists(self.ip, stranger, time=self.now + n)
            self.site.pass_seconds(16)
        self.assertEqual((self.state_of(), self.commands()), ("", []))

    def test_conference_of_another_platform(self) -> None:
        """Found in its store; missing from it, too."""
        request = self.give(self.ask(e164="7", moid="uB"), self.ip)
        self.lists(self.ip, self.entry(self.request), self.entry(request))
        self.assertEqual(self.site.record("7", self.site.other)["state"], "ongoing")
        for n in (1, 2):
            self.lists(self.ip, self.entry(self.request), time=self.now + n)
        self.assertEqual(self.site.record("7", self.site.other), {})

    def test_long_list(self) -> None:
        """Hundreds that differ, at once."""
        entries = [{"confE164": str(n), "createtime": self.now, "epoch": 5} for n in range(1200)]
        self.lists(self.ip, self.entry(self.request), *entries)
        self.assertEqual(self.css.tally["strangers_alerts"], 1)
        self.assertEqual(self.state_of(), "ongoing")


class Abnormal(SyncCase):
    """A list from an abnormal room, or of a platform that is abnormal itself."""

    def test_room(self) -> None:
        """The record is voided before anything is released: the end notice that follows ends nothing."""
        done(self.site.state.set_room("room-0", True))
        stranger = {"confE164": "99", "createtime": self.now, "epoch": 5}
        self.lists(self.ip, self.entry(self.request), stranger)
        self.assertEqual(self.state_of(), "pending_restore")
        self.assertEqual({number for number, _ in self.commands()}, {"0755001", "99"})
        self.ended(self.request)
        self.assertEqual(self.state_of(), "pending_restore")
        before = len(self.commands())
        self.site.clock.advance(1)
        self.lists(self.ip, self.entry(self.request))
        self.assertEqual(len(self.commands()), before + 1)

    def test_room_that_the_record_does_not_know(self) -> None:
        """An MCU's room is the one that it reports."""
        done(self.site.state.set_room("room-9", True))
        self.lists(self.ip, self.entry(self.request), roommoid="room-9")
        self.assertEqual(self.state_of(), "pending_restore")

    def test_nothing_is_given_back_to_it(self) -> None:
        """What it reported of its room counts from its list on, before signs of life are written the next time."""
        done(self.site.state.set_room("room-9", True))
        self.lists(self.ip, self.entry(self.request), roommoid="room-9")
        self.assertEqual({host.ip: host.roommoid for host in done(self.site.state.hosts())}[self.ip], "room-9")

    def test_legacy_in_an_abnormal_room(self) -> None:
        """It is left alone."""
        request = self.run_one("5", legacy=1)
        done(self.site.state.set_room("room-0", True))
        self.lists(request["ip"], self.entry(request))
        self.assertEqual(self.state_of("5"), "ongoing")
        self.assertNotIn("5", {number for number, _ in self.commands(request["ip"])})

    def test_own_platform(self) -> None:
        """All is released, no record is touched."""
        self.site.set_states(pA="abnormal")
        self.lists(self.ip, self.entry(self.request))
        self.assertEqual((self.state_of(), self.commands()), ("ongoing", [("0755001", self.request["epoch"])]))


class Restarted(SyncCase):
    """A process that replaces all others of its host."""

    def heard(self, pid: str) -> None:
        """A heartbeat, written down."""
        self.css.take({"type": "MCU_MAU_HEARTBEAT_NTF", "ip": self.ip, "pid": pid}, to.MCU_QUEUE)
        self.css.run(self.css.liveness.flush())

    def test_what_ran_there_is_restored_at_once(self) -> None:
        """Without waiting for silence; the old process gets nothing more."""
        self.heard("11")
        self.lists(self.ip, pid="12", restarted=1)
        self.assertEqual(self.state_of(), "pending_restore")
        self.assertEqual(self.css.run(self.site.state.processes_of(self.ip))["11"], 0)

    def test_not_without_saying_so(self) -> None:
        """A second process of a host is nothing unusual."""
        self.heard("11")
        self.lists(self.ip, pid="12")
        self.assertEqual(self.state_of(), "ongoing")

    def test_said_with_every_list(self) -> None:
        """It replaces those that were there when it began, not those that began after it."""
        self.lists(self.ip, pid="12", restarted=1)
        self.heard("13")
        self.lists(self.ip, pid="12", restarted=1)
        self.assertNotEqual(self.css.run(self.site.state.processes_of(self.ip))["13"], 0)

    def test_heard_of_a_moment_ago(self) -> None:
        """What was replaced need not have been written down: its only sign of life was the ACK."""
        self.lists(self.ip, pid="12", restarted=1)
        self.assertEqual(self.state_of(), "pending_restore")


class Renumbered(SyncCase):
    """A process that begins again with the same pid, and counts its lists anew."""

    def take_list(self, seq: int, time: int | None = None, **more: Any) -> bool:
        """An empty list. @return: whether it was taken."""
        before = self.css.tally["lists"]
        self.lists(self.ip, seq=seq, time=time, **more)
        return self.css.tally["lists"] > before

    def test_it_says_so(self) -> None:
        """Its first list counts, and those that follow."""
        self.assertTrue(self.take_list(7, self.now))
        self.assertTrue(self.take_list(1, self.now + 1, restarted=1))
        self.assertTrue(self.take_list(2, self.now + 2))
        self.assertFalse(self.take_list(1, self.now + 2))

    def test_its_first_list_comes_twice(self) -> None:
        """By its time it is an old one; the numbering goes on."""
        self.take_list(7, self.now)
        self.take_list(1, self.now + 1, restarted=1)
        self.assertTrue(self.take_list(2, self.now + 2))
        self.assertFalse(self.take_list(1, self.now + 1, restarted=1))
        self.assertTrue(self.take_list(3, self.now + 3))

    def test_lists_out_of_order_that_all_say_so(self) -> None:
        """With a time: the later one counts. Without: a number above the first one's is of the same run."""
        for seq, time in ((1, self.now), (3, self.now + 2)):
            self.assertTrue(self.take_list(seq, time, restarted=1))
        self.assertFalse(self.take_list(2, self.now + 1, restarted=1))
        for seq, taken in ((1, True), (5, True), (4, False), (1, True)):
            self.assertIs(self.take_list(seq, restarted=1, pid="12"), taken, seq)

    def test_disconnected(self) -> None:
        """Whatever comes next begins anew, also before the watch has made its round."""
        self.take_list(7)
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": self.ip, "pid": "11"}, to.MCU_QUEUE)
        self.assertTrue(self.take_list(1))

    def test_nothing_taken_for_a_time_out(self) -> None:
        """However it came to that: no process is ignored for longer than the time after which it would be lost."""
        self.take_list(7)
        self.site.clock.advance(14.9)
        self.assertFalse(self.take_list(1))
        self.site.clock.advance(0.2)
        self.assertTrue(self.take_list(2))

    def test_late_list_of_the_run_before(self) -> None:
        """It neither ends anything nor keeps the new run from being heard for longer than the time-out."""
        self.take_list(1, restarted=1)
        self.lists(self.ip, self.entry(self.request), seq=900)
        self.assertEqual(self.state_of(), "ongoing")
        taken = []
        for seq in range(2, 6):
            self.site.clock.advance(5)
            taken.append(self.take_list(seq, self.now + 5 * seq))
        self.assertEqual(taken, [False, False, True, True])
        self.assertEqual(self.state_of(), "")

    def test_old_lists_end_nothing(self) -> None:
        """What they lack is at most missed once: the next list of the run has it."""
        self.lists(self.ip, self.entry(self.request), seq=5)
        for _ in (1, 2):
            self.assertTrue(self.take_list(1, restarted=1))
            self.lists(self.ip, self.entry(self.request), seq=6)
            self.site.pass_seconds(6)
        self.assertEqual(self.state_of(), "ongoing")
        self.assertNotIn("missed", self.site.record("0755001"))
