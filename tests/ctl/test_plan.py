"""Dry runs, and that the recovery itself then does what they said."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from css.adapters.memory.store import MemoryPlatformState
from css.ctl import plan as plans
from css.ctl import planview
from css.ctl.control import NotFound
from css.ctl.plan import Plan, Scene
from css.domain.events import Rules
from css.handlers import addresses as to
from css.handlers.rehearsal import Candidates, Outcome
from css.ports.store import McuSeen
from tests.handlers.site import HOSTS, RMS, done
from tests.handlers.test_takeover import TakeoverCase


class PlanCase(TakeoverCase):
    """Three hosts, of which 10.0.0.1 and 10.0.0.2 are in room-1, and conferences on them."""

    def setUp(self) -> None:
        super().setUp()
        self.now_ms = done(self.site.store.now_ms())
        rooms = zip(HOSTS, ("room-1", "room-1", "room-2"), strict=True)
        done(self.site.state.note_seen([McuSeen(ip, "11", self.now_ms, room) for ip, room in rooms]))
        self.peer_state = MemoryPlatformState(self.site.clock, self.site.other.server)
        self.given: dict[str, Candidates] = {}
        self.domains_asked: list[tuple[str, str]] = []

    def scene(self, **more: Any) -> Scene:
        """As things are now."""

        async def given(platform: str, moid: str, alive: tuple[str, ...]) -> Candidates:
            self.domains_asked.append((platform, moid))
            return self.given.get(moid, Candidates(alive))

        scene = Scene(
            platforms=self.site.platforms,
            stores=self.site.stores,
            states={"pA": self.site.state, "pB": self.peer_state},
            rules=Rules(),
            silence_ms=15_000,
            flap_ms=30_000,
            given=given,
        )
        return msgspec.structs.replace(scene, **more)

    def plan(self, work: Any) -> Plan:
        """Make a plan. It must not have changed anything."""
        stores = (self.site.store, self.site.other)
        before, asked = [store.dump() for store in stores], self.rms_before
        made: Plan = self.css.run(work)
        self.assertEqual([store.dump() for store in stores], before)
        self.assertEqual(self.rms_before, asked)
        return made

    @property
    def rms_before(self) -> int:
        """Requests that RMS had before the recovery."""
        return len(self.site.letters(RMS))

    def fill(self, counts: dict[str, int], **more: Any) -> None:
        """Let hosts run conferences, of growing priority and in the order of their numbers."""
        number = 100
        for ip, count in counts.items():
            for _ in range(count):
                number += 1
                self.site.clock.advance(1)
                self.accept(self.give(self.ask(e164=str(number), priority=number % 3, **more), ip, roommoid=""))
        self.css.tick()

    def recover(self, asked_before: int) -> tuple[list[str], Counter[str]]:
        """The restore timer's round; RMS gives all hosts. @return: numbers in their order, hosts that were asked."""
        self.css.run(self.css.restores.tick())
        tokens = [each.correlation_id for each in self.site.letters(RMS)[asked_before:]]
        hosts = Counter(self.give(token)["ip"] for token in tokens)
        return [token.split("/")[1] for token in tokens], hosts

    def not_found(self, work: Any) -> str:
        """What it says that there is instead."""
        deferred = Deferred.fromCoroutine(work)
        self.site.clock.advance(0)
        return str(self.failureResultOf(deferred, NotFound).value)

    def moved(self, plan: Plan) -> tuple[list[str], Counter[str]]:
        """The same of the plan."""
        moved = [each for each in plan.conferences if each.outcome is Outcome.MOVES]
        return [each.e164 for each in moved], Counter(each.to_ip for each in moved)

    def same(self, plan: Plan, asked_before: int | None = None) -> None:
        """The restores are as planned: order, how many on each host (ties fall at random), and the loads then.

        @param asked_before: how often RMS had been asked before the first of them; None: none has begun yet.
        """
        order, hosts = self.recover(self.rms_before if asked_before is None else asked_before)
        planned_order, planned_hosts = self.moved(plan)
        self.assertEqual(order, planned_order)
        self.assertEqual(sorted(hosts.values()), sorted(planned_hosts.values()))
        self.css.tick()
        loads = {ip: count for ip, count in self.loads().items() if count}
        planned = {each.ip: each.after for each in plan.hosts if each.after}
        self.assertEqual(sorted(loads.values()), sorted(planned.values()))
        self.assertEqual({ip for ip in loads if ip not in hosts}, {ip for ip in planned if ip not in planned_hosts})


class McuDown(PlanCase):
    """An MCU host, or one process, has gone."""

    def test_as_it_then_happens(self) -> None:
        """Order by priority, then age; the least loaded host first, what is in flight counted."""
        self.fill({HOSTS[0]: 7, HOSTS[1]: 1, HOSTS[2]: 3})
        self.ask(e164="9")
        self.give("pA/9/" + self.site.record("9")["epoch"], HOSTS[1])
        plan = self.plan(plans.mcu_down(self.scene(), HOSTS[0]))
        self.assertEqual((plan.fits, plan.status, len(self.moved(plan)[0])), (True, 0, 7))
        self.assertEqual(self.moved(plan)[0], ["101", "104", "107", "103", "106", "102", "105"])
        self.assertNotIn(HOSTS[0], self.moved(plan)[1])
        done(self.site.state.note_seen([McuSeen(HOSTS[0], "11", 0)]))
        self.css.run(self.css.restoring.lose(McuSeen(HOSTS[0], "11", 0), "gone"))
        self.same(plan)

    def test_drained_and_silent_hosts(self) -> None:
        """They are left out: nothing fits, and it is said why."""
        self.fill({HOSTS[0]: 2})
        done(self.site.state.set_drained(HOSTS[1], True))
        done(self.site.state.note_seen([McuSeen(HOSTS[2], "11", 0)]))
        plan = self.plan(plans.mcu_down(self.scene(), HOSTS[0], "11"))
        self.assertEqual((plan.fits, plan.status), (False, 3))
        self.assertEqual({each.outcome for each in plan.conferences}, {Outcome.STUCK})
        obstacles = {each.ip: each.obstacle for each in plan.hosts}
        expected = {HOSTS[0]: "no process of it is alive", HOSTS[1]: "drained", HOSTS[2]: "no process of it is alive"}
        self.assertEqual(obstacles, expected)
        text = planview.text(plan)
        self.assertIn("would not fit: 2", text)
        self.assertIn("NOT all fit", text)

    def test_another_process_of_the_host(self) -> None:
        """The host lives on, and may get its own conferences back; an older place on it is given back then."""
        self.fill({HOSTS[0]: 2})
        done(self.site.state.note_seen([McuSeen(HOSTS[0], "12", done(self.site.store.now_ms()), "room-1")]))
        self.given["uA"] = Candidates(HOSTS[:1])
        plan = self.plan(plans.mcu_down(self.scene(), HOSTS[0], "11"))
        (load,) = [each for each in plan.hosts if each.ip == HOSTS[0]]
        self.assertEqual((plan.fits, load.before, load.after), (True, 2, 2))

    def test_hosts_are_full(self) -> None:
        """What a host is said to carry at most is obeyed: the least urgent do not fit."""
        self.fill({HOSTS[0]: 4, HOSTS[1]: 1, HOSTS[2]: 1})
        plan = self.plan(plans.mcu_down(self.scene(most=2), HOSTS[0]))
        self.assertEqual((plan.status, len(self.moved(plan)[0])), (3, 2))
        stuck = [each for each in plan.conferences if each.outcome is Outcome.STUCK]
        urgent = [each for each in plan.conferences if each.outcome is Outcome.MOVES]
        self.assertLessEqual(max(each.priority for each in stuck), min(each.priority for each in urgent))
        self.assertIn("full with 2", planview.text(plan))

    def test_rms_refuses(self) -> None:
        """As it would be: it waits."""
        self.fill({HOSTS[0]: 1})
        self.given["uA"] = Candidates(None)
        plan = self.plan(plans.mcu_down(self.scene(), HOSTS[0]))
        self.assertEqual([each.because for each in plan.conferences], ["RMS refused; tried again later"])
        self.assertEqual(self.domains_asked, [("pA", "uA")])

    def test_hosts_that_nobody_has_heard_of(self) -> None:
        """RMS may name one; it is as good as any."""
        self.fill({HOSTS[0]: 1})
        self.given["uA"] = Candidates(("10.9.9.9",), "room-9")
        plan = self.plan(plans.mcu_down(self.scene(), HOSTS[0]))
        self.assertEqual([(each.to_ip, each.to_room) for each in plan.conferences], [("10.9.9.9", "room-9")])

    def test_legacy_and_what_waits_already(self) -> None:
        """Old hardware is waited for; what waits already has its turn among the others."""
        self.fill({HOSTS[0]: 2})
        self.fill_more("201", HOSTS[1])
        self.accept(self.give(self.ask(e164="301", legacy=1), HOSTS[0], roommoid=""))
        self.css.run(self.css.restoring.lose(McuSeen(HOSTS[1], "11", 0), "gone"))
        self.css.tick()
        plan = self.plan(plans.mcu_down(self.scene(), HOSTS[0]))
        found = {each.e164: (each.outcome, each.lost) for each in plan.conferences}
        moves, waits = (Outcome.MOVES, True), (Outcome.WAITS, True)
        self.assertEqual(found, {"101": moves, "102": moves, "201": (Outcome.MOVES, False), "301": waits})
        self.assertEqual(plan.status, 3)
        done(self.site.state.note_seen([McuSeen(HOSTS[0], "11", 0)]))
        self.css.run(self.css.restoring.lose(McuSeen(HOSTS[0], "11", 0), "gone"))
        self.assertEqual(self.recover(self.rms_before)[0], self.moved(plan)[0])

    def fill_more(self, e164: str, ip: str) -> None:
        """One more conference."""
        self.accept(self.give(self.ask(e164=e164, priority=9), ip, roommoid=""))

    def test_what_is_over(self) -> None:
        """Its time is up before it could be restored."""
        self.fill({HOSTS[0]: 1}, duration=1)
        self.site.clock.advance(61)
        done(self.site.state.note_seen([McuSeen(ip, "11", done(self.site.store.now_ms())) for ip in HOSTS]))
        plan = self.plan(plans.mcu_down(self.scene(), HOSTS[0]))
        self.assertEqual([each.outcome for each in plan.conferences], [Outcome.ENDS])

    def test_unknown(self) -> None:
        """No such host, no such process: what there is."""
        for words, expected in ((("10.7.7.7",), "MCU hosts of pA: 10.0.0.1"), ((HOSTS[0], "99"), "10.0.0.1: 11")):
            self.assertIn(expected, self.not_found(plans.mcu_down(self.scene(), *words)))


class RoomDown(PlanCase):
    """A room is abnormal."""

    def test_as_it_then_happens(self) -> None:
        """Both its hosts are out; legacy conferences stay."""
        self.fill({HOSTS[0]: 3, HOSTS[1]: 2, HOSTS[2]: 1})
        self.accept(self.give(self.ask(e164="301", legacy=1), HOSTS[0], roommoid=""))
        self.css.tick()
        plan = self.plan(plans.room_down(self.scene(), "room-1"))
        self.assertEqual((plan.status, self.moved(plan)[1]), (0, Counter({HOSTS[2]: 5})))
        self.assertEqual([each.e164 for each in plan.conferences if each.outcome is Outcome.STAYS], ["301"])
        done(self.site.state.set_room("room-1", True))
        self.css.run(self.css.room_watch.tick())
        self.same(plan)

    def test_placed_before_its_host_said_where_it_is(self) -> None:
        """The host's room counts, not the one in the record; once is enough."""
        self.fill({HOSTS[2]: 1})
        self.accept(self.give(self.ask(e164="7"), "10.0.0.1", roommoid="room-rms"))
        self.assertEqual(self.site.record("7")["roommoid"], "room-1")
        done(self.site.state.note_seen([McuSeen(HOSTS[0], "11", done(self.site.store.now_ms()), "room-3")]))
        plan = self.plan(plans.room_down(self.scene(), "room-3"))
        self.assertEqual([each.e164 for each in plan.conferences], ["7"])
        done(self.site.state.set_room("room-3", True))
        self.css.run(self.css.room_watch.tick())
        self.same(plan)

    def test_unknown(self) -> None:
        """The rooms that there are."""
        self.assertIn("rooms: room-1, room-2", self.not_found(plans.room_down(self.scene(), "x")))


class Between(PlanCase):
    """Takeover and handback."""

    def test_takeover_as_it_then_happens(self) -> None:
        """All that runs on pB; what never ran there ends; legacy stays."""
        for number in range(5):
            self.run_on_peer(str(number), priority=number)
        self.run_on_peer("7", legacy=1)
        self.say(pA="normal", pB="abnormal")
        self.ask(e164="8", moid="uB")
        self.say(pA="normal", pB="normal")
        self.on_peer("8")
        plan = self.plan(plans.takeover(self.scene(), "pB"))
        self.assertEqual(self.moved(plan)[0], ["4", "3", "2", "1", "0"])
        others = {each.e164: each.outcome for each in plan.conferences if each.outcome is not Outcome.MOVES}
        self.assertEqual(others, {"8": Outcome.ENDS, "7": Outcome.STAYS})
        self.assertEqual({each.by for each in plan.conferences if each.outcome is Outcome.MOVES}, {"pA"})
        self.say(pA="normal", pB="abnormal")
        asked = self.rms_before
        self.css.run(self.css.takeover.tick())
        self.same(plan, asked)

    def test_handback(self) -> None:
        """What runs here stays; what waits is pB's, on pB's hosts."""
        done(self.peer_state.note_seen([McuSeen("10.2.0.1", "11", self.now_ms, "room-b")]))
        for number in range(3):
            self.run_on_peer(str(number))
        self.say(pA="normal", pB="abnormal")
        asked = self.rms_before
        self.css.run(self.css.takeover.tick())
        self.restored(self.give(self.site.letters(RMS)[asked].correlation_id))
        self.css.tick()
        refused = [each.correlation_id for each in self.site.letters(RMS)[asked + 1 :]]
        for token in refused:
            self.css.take({"type": "GET_RES_NACK", "errcode": "NONE"}, to.RMS_REPLY_QUEUE, correlation_id=token)
        plan = self.plan(plans.handback(self.scene(), "pB"))
        found = {each.e164: (each.outcome, each.by, each.to_ip) for each in plan.conferences}
        moves = (Outcome.MOVES, "pB", "10.2.0.1")
        self.assertEqual(found, {"0": (Outcome.STAYS, "", ""), "1": moves, "2": moves})
        self.assertIn("it stays on pA until it ends", planview.text(plan))

    def test_not_a_peer(self) -> None:
        """Only what is backed up here."""
        for work in (plans.takeover, plans.handback):
            self.assertIn("does not back up pC, but pB", self.not_found(work(self.scene(), "pC")))


class Shown(PlanCase):
    """For people and for programs."""

    def test_text_and_json(self) -> None:
        """The same in both."""
        self.fill({HOSTS[0]: 1, HOSTS[1]: 1})
        plan = self.plan(plans.mcu_down(self.scene(notes=("hosts are those alive",)), HOSTS[0]))
        text = planview.text(plan)
        for expected in ("1 conferences are lost", "-> 10.0.0.3 (room-2)  by pA", "note: hosts are those", "all fit"):
            self.assertIn(expected, text)
        self.assertEqual(msgspec.json.decode(msgspec.json.encode(plan), type=Plan), plan)
