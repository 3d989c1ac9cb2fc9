"""What the locator is told of reserved conferences, templates and virtual rooms (seed 7), on memory adapters."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from css.adapters.memory import planned as memory
from css.adapters.memory.planned import MemoryPlanner
from css.handlers.listening import GONE_MS, PATIENCE_MS
from css.handlers.turns import LEASE_MS, Turn, Turns
from css.peers.upu import UpuEntry
from tests.handlers.site import LOCATOR, Instance, SiteCase, done


class PlannedCase(SiteCase):
    """Two instances, whose rounds a test makes."""

    def setUp(self) -> None:
        super().setUp()
        self.other = Instance(self.site, 2)
        self.planners = {
            "pA": MemoryPlanner(self.site.store.server),
            "pB": MemoryPlanner(self.site.other.server),
        }
        self.say(pA="normal", pB="normal")

    def say(self, **states: str) -> None:
        """Both instances hear how the platforms are."""
        self.site.set_states(**states)
        for css in (self.css, self.other):
            if states["pA"] == "abnormal":
                css.duty.suspended()
            css.run(css.duty.tick())

    def plan(self, key: str, name: str = "预约", moid: str = "uA", source: str = "pA", told: str = "add") -> None:
        """The CM writes a hash, none if the name is empty, and tells of it unless `told` is empty."""
        planner = self.planners[source]
        done(planner.put(key, {"confname": name, "moid": moid} if name else None))
        kind, _, e164 = key.partition("/")
        if told:
            done(planner.publish(json.dumps({"op": told, "kind": kind, "e164": e164}).encode()))
        self.site.pass_seconds(0.3)

    def round(self, *instances: Instance) -> None:
        """Each makes a round."""
        for css in instances or (self.css, self.other):
            css.run(css.planned.tick())
            self.site.pass_seconds(0.2)
            css.run(css.outbox.flush(self.site.stores))

    def rounds_with_pauses(self, count: int) -> None:
        """The first instance makes rounds that may take a while."""
        for _ in range(count):
            ticking = Deferred.fromCoroutine(self.css.planned.tick())
            self.site.pass_seconds(3)
            self.successResultOf(ticking)
            self.css.run(self.css.sweep.tick())
            self.css.run(self.css.outbox.flush(self.site.stores))

    def told(self) -> list[tuple[str, str]]:
        """Type, and number or what else it is about, of all that the locator was told."""
        return [
            (body["type"], body.get("confE164", body.get("platformmoid", body.get("moid", ""))))
            for body in self.site.bodies(LOCATOR)
        ]

    def table(self) -> dict[str, UpuEntry]:
        """What the locator has made of it, without what runs."""
        table: dict[str, UpuEntry] = {}
        for body in self.site.bodies(LOCATOR):
            kind = body["type"]
            if kind in ("UPU_ADD_CONF_REQ", "UPU_MOD_CONF_REQ") and not body["running"]:
                table[body["confE164"]] = UpuEntry(
                    body["confname"], body["conftype"], body["moid"], body["platformmoid"]
                )
            elif kind == "UPU_DEL_CONF_REQ" and not body["running"]:
                table.pop(body["confE164"], None)
            elif kind == "UPU_DEL_DOMAIN_REQ":
                table = {e164: each for e164, each in table.items() if each.moid != body["moid"]}
            elif kind == "UPU_CLEAR_REQ":
                table = {}
        return table


class AtStart(PlannedCase):
    """Seed 7.1: all that is planned is reported; once, however many instances start."""

    def test_all_kinds(self) -> None:
        self.plan("reserve/1", told="")
        self.plan("template/02", "模板", told="")
        self.plan("vroom/3", "会议室", told="")
        self.plan("pubtemplate/4", told="")
        self.round()
        self.round()
        self.assertEqual(sorted(self.told()), [("UPU_ADD_CONF_REQ", e164) for e164 in ("02", "1", "3")])
        entries = {
            "1": UpuEntry("预约", 2, "uA", "pA"),
            "02": UpuEntry("模板", 3, "uA", "pA"),
            "3": UpuEntry("会议室", 4, "uA", "pA"),
        }
        self.assertEqual(self.table(), entries)

    def test_many(self) -> None:
        """Page by page, with a pause between two; what is heard meanwhile does not wait for the last one."""
        self.patch(memory, "_PAGE", 10)
        for n in range(25):
            done(self.planners["pA"].put(f"vroom/{n:04}", {"confname": "x", "moid": "uA"}))
        comparing = Deferred.fromCoroutine(self.css.planned.tick())
        self.site.clock.advance(0)
        self.assertEqual(len(self.table()), 10)
        self.plan("reserve/9999")
        self.assertIn("9999", self.table())
        self.site.pass_seconds(1)
        self.successResultOf(comparing)
        self.rounds_with_pauses(20)
        self.assertEqual(len(self.table()), 26)

    def test_started_again(self) -> None:
        """What was told is not told again; what has changed meanwhile is."""
        for e164 in ("1", "2", "3"):
            self.plan(f"reserve/{e164}", told="")
        self.round()
        self.plan("reserve/1", "新", told="")
        self.plan("reserve/2", "", told="")
        self.plan("reserve/4", told="")
        before = len(self.told())
        self.site.pass_seconds(GONE_MS / 1000)
        fresh = Instance(self.site, 3)
        fresh.run(fresh.duty.tick())
        self.round(fresh)
        self.site.pass_seconds(1)
        changes = [("UPU_ADD_CONF_REQ", "4"), ("UPU_DEL_CONF_REQ", "2"), ("UPU_MOD_CONF_REQ", "1")]
        self.assertEqual(sorted(self.told()[before:]), changes)

    def test_what_nobody_can_be_told(self) -> None:
        """Hashes that others have spoilt are left out, and keep nobody else from being told."""
        self.plan("reserve/not-a-number", told="")
        self.plan("reserve/2", moid="", told="")
        self.plan("reserve/3", told="")
        self.round()
        self.assertEqual(list(self.table()), ["3"])


class Changes(PlannedCase):
    """Seed 7.1: the channel."""

    def setUp(self) -> None:
        super().setUp()
        self.round()

    def test_each_is_told_once(self) -> None:
        """Though both instances hear of it."""
        self.plan("reserve/1")
        self.plan("reserve/1", "新", told="mod")
        self.plan("reserve/1", "", told="del")
        kinds = ["UPU_ADD_CONF_REQ", "UPU_MOD_CONF_REQ", "UPU_DEL_CONF_REQ"]
        self.assertEqual(self.told(), [(kind, "1") for kind in kinds])

    def test_same_number_of_two_kinds(self) -> None:
        """A reserved conference becomes a virtual room: never is it gone."""
        self.plan("reserve/1")
        self.plan("vroom/1", "会议室")
        self.plan("reserve/1", "", told="del")
        self.assertEqual([kind for kind, _ in self.told()], ["UPU_ADD_CONF_REQ", "UPU_MOD_CONF_REQ"])
        self.assertEqual(self.table()["1"].conftype, 4)

    def test_told_before_it_is_written(self) -> None:
        """It is looked at again with the next round."""
        done(self.planners["pA"].publish(b'{"op":"add","kind":"reserve","e164":"1"}'))
        self.site.pass_seconds(0.3)
        self.plan("reserve/1", told="")
        self.assertEqual(self.table(), {})
        self.round(self.css)
        self.assertEqual(list(self.table()), ["1"])

    def test_nonsense(self) -> None:
        """Is counted."""
        for payload in (b"", b"\xff", b"[]", b'{"op":"add"}', b'{"e164":7}'):
            done(self.planners["pA"].publish(payload))
        self.assertEqual(self.css.tally["changes_unreadable"], 5)
        self.plan("reserve/1")
        self.assertEqual(list(self.table()), ["1"])

    def test_lost(self) -> None:
        """After each reconnect all is compared, by one instance, and the difference is told."""
        self.plan("reserve/1")
        self.plan("reserve/2")
        compared = self.css.tally["planned_compared"] + self.other.tally["planned_compared"]
        self.site.store.server.channels.close()
        self.plan("reserve/1", "", told="del")
        self.plan("reserve/3")
        self.assertEqual(sorted(self.table()), ["1", "2"])
        self.site.store.server.channels.open()
        self.round()
        self.site.pass_seconds(2)
        self.round()
        self.round()
        self.assertEqual(sorted(self.table()), ["2", "3"])
        self.assertEqual(self.css.tally["planned_compared"] + self.other.tally["planned_compared"], compared + 1)

    def test_own_redis_away(self) -> None:
        """What was heard then is reported when it is back."""
        self.plan("reserve/1")
        self.site.store.fail()
        self.fails(self.css.planned.tick())
        self.site.store.recover()
        self.plan("reserve/1", "新", told="")
        self.round()
        self.assertEqual(self.table()["1"].confname, "新")

    def test_broker_away(self) -> None:
        """The outbox has it: it is told when the broker is back, in order."""
        self.site.broker.stop()
        self.plan("reserve/1")
        self.plan("reserve/1", "新")
        self.site.pass_seconds(6)
        self.site.broker.start()
        self.site.pass_seconds(3)
        self.css.run(self.css.sweep.tick())
        self.site.pass_seconds(11)
        self.css.run(self.css.sweep.tick())
        self.assertEqual(self.table()["1"].confname, "新")


class Platforms(PlannedCase):
    """Seed 7.2, as drawn."""

    def setUp(self) -> None:
        super().setUp()
        self.plan("reserve/1", told="")
        self.plan("template/2", moid="uB", source="pB", told="")
        self.plan("vroom/3", moid="uX", source="pB", told="")
        self.round()

    def test_takeover_and_handback(self) -> None:
        """The main's entries are reported here while it is served, then withdrawn by user domain, known ones too."""
        self.assertEqual(list(self.table()), ["1"])
        self.say(pA="normal", pB="abnormal")
        self.round()
        self.assertEqual(sorted(self.table()), ["1", "2", "3"])
        self.assertEqual({entry.platformmoid for entry in self.table().values()}, {"pA"})
        self.plan("template/4", moid="uB", source="pB")
        self.assertIn("4", self.table())
        before = len(self.told())
        self.say(pA="normal", pB="normal")
        self.round()
        self.round()
        self.assertEqual(self.told()[before:], [("UPU_DEL_DOMAIN_REQ", "uB"), ("UPU_DEL_DOMAIN_REQ", "uX")])
        self.plan("template/4", "新", moid="uB", source="pB")
        self.round()
        self.assertEqual(list(self.table()), ["1"])

    def test_handed_back_while_nobody_was_here(self) -> None:
        """The next instance withdraws."""
        self.say(pA="normal", pB="abnormal")
        self.round()
        self.say(pA="normal", pB="normal")
        fresh = Instance(self.site, 3)
        fresh.run(fresh.duty.tick())
        self.round(fresh)
        self.site.pass_seconds(1)
        self.assertEqual(list(self.table()), ["1"])

    def test_the_mains_redis_is_away(self) -> None:
        """It keeps nobody from being told of the own platform's."""
        self.site.other.fail()
        self.say(pA="normal", pB="abnormal")
        self.plan("reserve/7")
        self.css.run(self.css.planned.tick())
        self.site.pass_seconds(PATIENCE_MS / 1000)
        self.fails(self.css.planned.tick())
        self.assertEqual(sorted(self.table()), ["1", "7"])
        self.site.other.recover()
        self.site.pass_seconds(LEASE_MS / 1000)
        self.round()
        self.assertEqual(sorted(self.table()), ["1", "2", "3", "7"])

    def test_own_platform_abnormal(self) -> None:
        """Cleared; nothing is told then; filled again when it is normal, once."""
        self.say(pA="abnormal", pB="normal")
        for css in (self.css, self.other):
            css.run(css.locator.tick())
        self.assertEqual(self.table(), {})
        self.plan("reserve/5")
        self.plan("reserve/1", "", told="del")
        self.round()
        self.assertEqual(self.table(), {})
        self.site.pass_seconds(2)
        self.say(pA="normal", pB="normal")
        before = len(self.told())
        self.round()
        self.site.pass_seconds(2)
        self.round()
        self.round()
        self.assertEqual(self.told()[before:], [("UPU_ADD_CONF_REQ", "5")])

    def test_killed_after_it_was_cleared(self) -> None:
        """Whoever starts next fills it, running ones as well."""
        self.run_one("9")
        self.round()
        self.say(pA="abnormal", pB="normal")
        self.css.run(self.css.locator.tick())
        self.site.pass_seconds(2)
        self.say(pA="normal", pB="normal")
        before = len(self.told())
        fresh = Instance(self.site, 3)
        fresh.run(fresh.duty.tick())
        fresh.run(fresh.locator.tick())
        self.round(fresh)
        self.site.pass_seconds(1)
        self.assertEqual(self.told()[before:], [("UPU_ADD_CONF_REQ", "9"), ("UPU_ADD_CONF_REQ", "1")])


class TakingTurns(PlannedCase):
    """One does it for all."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = (
            Turns("pA", self.site.stores, css.clocks, f"s{n}") for n, css in enumerate((self.css, self.other))
        )

    def begin(self, turns: Turns, since_ms: int) -> Turn:
        turn: Turn = done(turns.begin("x", since_ms))
        return turn

    def now_ms(self) -> int:
        return self.css.clocks.now_ms("pA")

    def test_done_once(self) -> None:
        since_ms = self.now_ms()
        self.site.pass_seconds(1)
        self.assertIs(self.begin(self.one, since_ms), Turn.MINE)
        self.assertIs(self.begin(self.two, since_ms), Turn.OTHERS)
        self.assertTrue(done(self.one.go_on("x")))
        self.assertTrue(done(self.one.finish("x")))
        self.assertIs(self.begin(self.two, since_ms), Turn.DONE)
        self.assertIs(self.begin(self.two, self.now_ms()), Turn.MINE)

    def test_who_is_too_slow_loses_it(self) -> None:
        self.assertIs(self.begin(self.one, 0), Turn.MINE)
        self.site.pass_seconds(LEASE_MS / 1000 + 1)
        self.assertIs(self.begin(self.two, 0), Turn.MINE)
        self.assertFalse(done(self.one.go_on("x")))
        self.assertFalse(done(self.one.finish("x")))
        self.assertTrue(done(self.two.finish("x")))

    def test_own_redis_is_not_known(self) -> None:
        turns = Turns("pX", {}, self.css.clocks, "s")
        self.fails(turns.begin("x", 0))
