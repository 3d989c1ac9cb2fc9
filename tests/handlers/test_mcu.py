"""What MCUs say: answers that are late, doubled or for nobody; bookings and penalties; signs of life."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from css.handlers import addresses as to
from css.handlers.aside import NothingThere
from css.handlers.placing import PENALTY
from css.ports.bus import TryLater
from css.ports.store import StoreError
from tests.handlers.site import HOSTS, NOW, Instance, SiteCase, release, token


class Answers(SiteCase):
    """ACKs and NACKs."""

    def commands(self, ip: str, pid: str = "11") -> list[int | None]:
        """Epochs of the releases that a process got."""
        return [body.get("epoch") for body in self.site.bodies(f"cmu.conf.q:{ip}:{pid}")]

    def test_twice(self) -> None:
        """The second ACK does nothing."""
        request = self.run_one()
        self.accept(request)
        self.assertEqual(len(self.answers()), 1)
        self.assertEqual(self.commands(request["ip"]), [])

    def test_late_after_the_next_host_was_asked(self) -> None:
        """The first host's ACK is answered with a release; the second one's makes it run."""
        first = self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        self.refuse(first)
        second = self.asked("0755001")[-1]
        self.accept(first)
        self.assertEqual(self.commands(first["ip"]), [first["epoch"]])
        self.accept(second)
        self.assertEqual(self.site.record("0755001")["ip"], second["ip"])
        self.refuse(first)
        self.assertEqual(self.site.record("0755001")["state"], "ongoing")

    def test_of_nobody(self) -> None:
        """An ACK without a record is answered with a release; a NACK and an end notice are nothing."""
        request = {"confE164": "404", "ip": "10.0.0.1", "epoch": 5}
        self.refuse(request)
        self.ended(request)
        self.assertEqual(self.commands("10.0.0.1"), [])
        self.accept(request)
        self.assertEqual(self.commands("10.0.0.1"), [5])

    def test_of_nobody_and_another_store_is_silent(self) -> None:
        """It may be that store's: neither released nor given back for ever. The list of the MCU settles it."""
        self.site.other.fail()
        request = {"confE164": "404", "ip": "10.0.0.1", "epoch": 5}
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | request
        self.css.take(ack, to.MCU_QUEUE)
        self.ended(request)
        self.assertEqual((self.commands("10.0.0.1"), self.css.tally["mcu_answers_left_to_lists"]), ([], 2))

    def test_of_nobody_and_another_platform_has_no_store(self) -> None:
        """Where its Redis is has not been told: the same."""
        del self.site.stores["pB"]
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "confE164": "404", "ip": "10.0.0.1", "pid": "11", "epoch": 5}
        self.css.take(ack, to.MCU_QUEUE)
        self.assertEqual((self.commands("10.0.0.1"), self.css.tally["mcu_answers_left_to_lists"]), ([], 1))

    def test_of_what_ended_and_another_store_is_silent(self) -> None:
        """The tombstone says that it is over: an ACK is answered with a release, an end notice is nothing."""
        request = self.run_one()
        self.css.take(release(), message_id="r")
        ended = [request["epoch"]]
        self.assertEqual(self.commands(request["ip"]), ended)
        self.site.other.fail()
        self.ended(request)
        self.css.take(
            {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")},
            to.MCU_QUEUE,
        )
        self.assertEqual(self.commands(request["ip"]), ended * 2)
        self.assertEqual(self.css.tally["mcu_answers_left_to_lists"], 0)
        newer = {"confE164": request["confE164"], "ip": request["ip"], "epoch": request["epoch"] + 1}
        self.css.take({"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | newer, to.MCU_QUEUE)
        self.assertEqual(self.commands(request["ip"]), ended * 2)
        self.assertEqual(self.css.tally["mcu_answers_left_to_lists"], 1)

    def test_of_nobody_and_the_own_store_is_silent(self) -> None:
        """Nothing goes on without it: tried again later, not released."""
        self.site.store.fail()
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "confE164": "404", "ip": "10.0.0.1", "pid": "11"}
        self.failureResultOf(self.css.begin(ack, to.MCU_QUEUE), TryLater)
        self.assertEqual(self.commands("10.0.0.1"), [])

    def test_without_correlation_id(self) -> None:
        """Found by its number."""
        request = self.give(self.ask())
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(ack, to.MCU_QUEUE, correlation_id="not ours")
        self.assertEqual(self.site.record("0755001")["state"], "ongoing")

    def test_other_spelling(self) -> None:
        """`CMU_MAU_` counts as `MCU_MAU_` (contract, section 1)."""
        request = self.give(self.ask())
        self.accept(request, type="CMU_MAU_CREATECONF_ACK")
        self.assertEqual(self.site.record("0755001")["state"], "ongoing")

    def test_pid_as_a_number(self) -> None:
        """It is kept as its digits."""
        request = self.give(self.ask())
        self.accept(request, pid=11)
        self.assertEqual(self.site.record("0755001")["pid"], "11")

    def test_store_away(self) -> None:
        """The ACK is given back; the conference runs when the store is back."""
        request = self.give(self.ask())
        self.site.store.fail()
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.failureResultOf(self.css.begin(ack, to.MCU_QUEUE, correlation_id=token(request)), TryLater)
        self.site.store.recover()
        self.accept(request)
        self.assertEqual(self.site.record("0755001")["state"], "ongoing")

    def test_broker_away(self) -> None:
        """The ACK is taken, the CM is answered once the broker is back."""
        request = self.give(self.ask())
        self.css.tick()
        self.site.broker.stop()
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        handled = self.css.begin(ack, to.MCU_QUEUE, correlation_id=token(request))
        self.site.pass_seconds(5.3)
        self.successResultOf(handled)
        self.site.broker.start()
        self.site.pass_seconds(30)
        self.css.run(self.css.sweep.tick())
        self.assertEqual(len(self.answers()), 1)


class Overdue(SiteCase):
    """Deadlines."""

    def test_claimed_at_its_deadline(self) -> None:
        """The store's clock says that it is due: an instance whose own runs a little behind takes it all the same."""
        self.ask()
        self.site.clock.advance(5)
        self.css.clocks._offsets_ms["pA"] = -3
        self.css.run(self.css.due.tick())
        self.assertEqual(self.errcodes(), ["RMS_TIMEOUT"])

    def test_moved_meanwhile(self) -> None:
        """The host that is asked now has its own time."""
        request = self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        self.site.clock.advance(4)
        self.refuse(request)
        self.site.clock.advance(1.5)
        self.css.run(self.css.mcus.overdue(self.site.store, "0755001"))
        self.assertEqual(len(self.asked("0755001")), 1)
        self.assertEqual(self.errcodes(), [])

    def test_creating_deadline(self) -> None:
        """However many hosts are left: thirty seconds after it was accepted the create has failed."""
        css = Instance(self.site, slot=2, creating_timeout_ms=12_000)
        self.css = css
        self.give(self.ask())
        for _ in range(3):
            self.assertEqual(self.errcodes(), [])
            self.site.pass_seconds(5.1)
            css.run(css.due.tick())
        self.assertEqual(self.errcodes(), ["MCU_TIMEOUT"])
        self.assertLess(int(self.site.clock.seconds()) - NOW, 16)

    def test_gone(self) -> None:
        """A number that has no record any more is nothing."""
        for overdue in (self.css.mcus.overdue, self.css.monitoring.overdue):
            overdue_in_vain = self.css.run_to_its_end(overdue(self.site.store, "404"))
            self.failureResultOf(overdue_in_vain, NothingThere)
        self.assertEqual(self.site.outbox(), {})


class Choice(SiteCase):
    """The host with the fewest conferences."""

    def load(self) -> dict[str, int]:
        """Booked places per host."""
        loads = self.css.run(self.site.state.loads(HOSTS))
        assert isinstance(loads, dict)
        return loads

    def test_even(self) -> None:
        """No two hosts differ by more than one, those in flight counted; whoever places."""
        two = Instance(self.site, slot=2, seed=99)
        for number in range(31):
            self.give(self.ask(e164=str(number)), css=(self.css, two)[number % 2])
        self.assertEqual(sorted(self.load().values()), [10, 10, 11])

    def test_ties_at_random(self) -> None:
        """With equal loads each host is chosen now and then."""
        chosen = set()
        for number in range(30):
            request = self.give(self.ask(e164=str(number)))
            chosen.add(request["ip"])
            self.css.take(release(str(number)), message_id=f"r{number}")
            self.css.tick()
        self.assertEqual(chosen, set(HOSTS))

    def test_place_is_given_back(self) -> None:
        """By the refusal, by the end."""
        first = self.give(self.ask())
        self.refuse(first)
        self.css.tick()
        second = self.asked("0755001")[-1]
        self.assertEqual(self.load(), {ip: int(ip == second["ip"]) for ip in HOSTS})
        self.accept(second)
        self.ended(second)
        self.css.tick()
        self.assertEqual(sum(self.load().values()), 0)

    def test_penalty(self) -> None:
        """One that has just failed counts as more loaded, less and less for thirty seconds."""
        first = self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        self.refuse(first)
        failed, good = first["ip"], self.asked("0755001")[-1]["ip"]
        for number in range(PENALTY - 1):
            self.assertEqual(self.give(self.ask(e164=str(number)), failed, good)["ip"], good)
        self.site.clock.advance(31)
        self.assertEqual(self.give(self.ask(e164="99"), failed, good)["ip"], failed)

    def chosen_after_silence(self, answers_another: bool) -> tuple[str, list[str]]:
        """A host leaves a request without an answer. @return: it, and the hosts of the next three conferences."""
        silent = self.give(self.ask(), "10.0.0.1", "10.0.0.2")["ip"]
        another = self.give(self.ask(e164="2"), silent)
        self.site.clock.advance(1)
        if answers_another:
            self.accept(another)
        self.site.clock.advance(4.5)
        self.css.run(self.css.due.tick())
        (good,) = {request["ip"] for request in self.asked("0755001")} - {silent}
        return silent, [self.give(self.ask(e164=e164), silent, good)["ip"] for e164 in ("3", "4", "5")]

    def test_silence(self) -> None:
        """One that says nothing at all is left out for a while."""
        silent, chosen = self.chosen_after_silence(answers_another=False)
        self.assertNotIn(silent, chosen)

    def test_silence_of_one_that_answers_others(self) -> None:
        """The answer is more likely held up on its way, by an instance that is stalled: little is held against it."""
        silent, chosen = self.chosen_after_silence(answers_another=True)
        self.assertEqual(chosen.count(silent), 1)

    def test_flapping(self) -> None:
        """One that was lost twice is avoided for the penalty's time; where it is the only one it is taken."""
        flapping, steady = "10.0.0.1", "10.0.0.2"
        for _ in range(2):
            self.css.liveness.note(flapping, "11")
            self.css.run(self.css.liveness.flush())
            self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": flapping, "pid": "11"}, to.MCU_QUEUE)
            self.site.clock.advance(3)
        self.css.liveness.note(flapping, "11")
        self.css.run(self.css.liveness.flush())
        chosen = [self.give(self.ask(e164=str(number)), flapping, steady)["ip"] for number in range(4)]
        self.assertEqual(chosen, [steady] * 4)
        self.assertEqual(self.give(self.ask(e164="8"), flapping)["ip"], flapping)
        self.site.clock.advance(28)
        self.assertEqual(self.give(self.ask(e164="9"), flapping, steady)["ip"], flapping)

    def test_penalty_that_can_not_be_written(self) -> None:
        """Placing goes on."""
        self.site.store.fail()
        self.css.placing.penalise("10.0.0.1")
        self.site.clock.advance(0)
        self.assertEqual(self.css.tracker.in_flight, 0)
        self.site.store.recover()
        self.assertEqual(self.give(self.ask(), "10.0.0.1")["ip"], "10.0.0.1")

    def test_one_given_twice(self) -> None:
        """RMS names a host twice: it is tried once."""
        asked = self.ask()
        self.refuse(self.give(asked, "10.0.0.1", "10.0.0.1"))
        self.assertEqual(self.errcodes(), ["MCU_REJECTED"])


class SignsOfLife(SiteCase):
    """Any message with `ip` and `pid`."""

    def heartbeat(self, ip: str = "10.0.0.1", pid: str = "11", room: str = "") -> None:
        """A process says that it is alive."""
        body = {"type": "MCU_MAU_HEARTBEAT_NTF", "ip": ip, "pid": pid, "roommoid": room}
        self.css.take(body, to.MCU_QUEUE)

    def flush(self) -> None:
        """Write what was heard."""
        self.css.run(self.css.liveness.flush())

    def wait(self, seconds: int) -> None:
        """Let time pass in an instance that is well."""
        for _ in range(seconds):
            self.site.clock.advance(1)
            self.flush()

    def chosen(self, e164: str, *hosts: str) -> str:
        """The host of a new conference, or the errcode of its refusal."""
        asked = self.ask(e164=e164)
        self.css.take(
            {"type": "GET_RES_ACK", "roommoid": "room-0", "mcu": [{"ip": ip} for ip in hosts]},
            to.RMS_REPLY_QUEUE,
            correlation_id=asked,
        )
        requests = self.asked(e164)
        return str(requests[-1]["ip"]) if requests else self.errcodes()[-1]

    def test_silent_host_gets_nothing(self) -> None:
        """After the time-out, once CSS has listened that long; one never heard of is not down."""
        self.css.liveness.begin_to_consume(0)
        self.heartbeat()
        self.flush()
        self.wait(14)
        self.assertEqual(self.chosen("1", "10.0.0.1"), "10.0.0.1")
        self.wait(2)
        self.assertEqual(self.chosen("2", "10.0.0.1"), "NO_RESOURCE")
        self.assertEqual(self.chosen("3", "10.0.0.2"), "10.0.0.2")
        self.heartbeat()
        self.flush()
        self.assertEqual(self.chosen("4", "10.0.0.1"), "10.0.0.1")

    def test_nobody_is_judged_before_css_has_listened(self) -> None:
        """Silence counts from when it began to consume."""
        self.heartbeat()
        self.flush()
        self.site.clock.advance(100)
        self.css.liveness.begin_to_consume(0)
        self.assertEqual(self.css.liveness.silent_before_ms(), 0)
        self.assertEqual(self.chosen("1", "10.0.0.1"), "10.0.0.1")

    def test_disconnected(self) -> None:
        """At once; a process that speaks again is there again."""
        self.heartbeat()
        self.flush()
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": "10.0.0.1", "pid": "11"}, to.MCU_QUEUE)
        self.flush()
        self.assertEqual(self.chosen("1", "10.0.0.1"), "NO_RESOURCE")
        self.heartbeat()
        self.flush()
        self.assertEqual(self.chosen("2", "10.0.0.1"), "10.0.0.1")

    def test_room(self) -> None:
        """The room it last reported counts before RMS's, for placing and in the record."""
        self.heartbeat(room="room-9")
        self.flush()
        self.assertEqual(self.chosen("1", "10.0.0.1"), "10.0.0.1")
        self.assertEqual(self.site.record("1")["roommoid"], "room-9")
        self.css.run(self.site.state.set_room("room-9", True))
        self.assertEqual(self.chosen("2", "10.0.0.1"), "NO_RESOURCE")

    def test_list_and_answers_count_too(self) -> None:
        """Everything that names a process."""
        self.css.take(
            {"type": "MCU_MAU_CONFLIST_NTF", "ip": "10.0.0.1", "pid": "7", "roommoid": "r", "confdatainfo": []},
            to.MCU_QUEUE,
        )
        self.run_one()
        self.flush()
        known = [key for key in self.site.store.dump() if key.startswith("css/mcu/")]
        self.assertIn("css/mcu/10.0.0.1", known)
        self.assertIn("pid:7", self.site.store.dump()["css/mcu/10.0.0.1"])

    def test_written_now_and_then(self) -> None:
        """Once in a sixth of the time-out, however much is said; news of the room at once."""
        self.heartbeat()
        self.flush()
        first = self.site.store.dump()["css/mcu/10.0.0.1"]
        self.site.clock.advance(1)
        self.heartbeat()
        self.flush()
        self.assertEqual(self.site.store.dump()["css/mcu/10.0.0.1"], first)
        self.site.clock.advance(1.6)
        self.heartbeat()
        self.flush()
        self.assertEqual(int(self.site.store.dump()["css/mcu/10.0.0.1"]["pid:11"]) - int(first["pid:11"]), 2_600)
        self.heartbeat(room="r-2")
        self.flush()
        self.assertEqual(self.site.store.dump()["css/mcu/10.0.0.1"]["roommoid"], "r-2")

    def test_store_away(self) -> None:
        """What was heard is written later."""
        self.heartbeat()
        self.site.store.fail()
        self.failureResultOf(Deferred.fromCoroutine(self.css.liveness.flush()), StoreError)
        self.site.store.recover()
        self.flush()
        self.assertIn("css/mcu/10.0.0.1", self.site.store.dump())

    def disconnect_during_a_flush(self) -> Deferred[None]:
        """The link layer loses the process while what was heard of it is being written. @return: the flush."""
        self.heartbeat()
        self.site.store.hang()
        flush = Deferred.fromCoroutine(self.css.liveness.flush())
        gone = self.css.begin({"type": "MCU_MAU_DISCONNECT_NTF", "ip": "10.0.0.1", "pid": "11"}, to.MCU_QUEUE)
        _ = gone.addErrback(lambda failure: failure.trap(TryLater))
        return flush

    def test_back_right_after_a_disconnect(self) -> None:
        """Its next sign of life is written at once, although one was written a moment ago."""
        flush = self.disconnect_during_a_flush()
        self.site.store.recover()
        self.successResultOf(flush)
        self.assertEqual(self.chosen("1", "10.0.0.1"), "NO_RESOURCE")
        self.heartbeat()
        self.flush()
        self.assertEqual(self.chosen("2", "10.0.0.1"), "10.0.0.1")

    def test_disconnected_during_a_flush_that_fails(self) -> None:
        """What is written later does not bring the process back."""
        flush = self.disconnect_during_a_flush()
        self.site.pass_seconds(2.1)
        self.failureResultOf(flush, StoreError)
        self.site.store.recover()
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": "10.0.0.1", "pid": "11"}, to.MCU_QUEUE)
        self.flush()
        self.assertEqual(self.chosen("1", "10.0.0.1"), "NO_RESOURCE")
