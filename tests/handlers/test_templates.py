"""Public templates (seed 6): in SQL and in Redis, or in neither; twice, in each other's way, with either away."""

from __future__ import annotations

import json
from typing import Any

from css.handlers import addresses as to
from css.handlers.letters import TEMPLATE_LANE
from css.ports.bus import Queue, Topology, TryLater
from css.ports.sql import TemplateRow
from tests.handlers.site import CM_NOTICES, CM_REPLIES, done
from tests.handlers.templatecase import KEY, Case, request


class Written(Case):
    """The ordinary way."""

    def test_add_change_delete(self) -> None:
        """seed 6, arrow by arrow: SQL, Redis, ACK."""
        self.want()
        content = '{"confname":"周会","duration":60}'
        row = TemplateRow("0100", "uA", "pA", "周会模板", content)
        self.assertEqual(self.both(), (row, {"moid": "uA", "name": "周会模板", "content": content}))
        self.want("MOD", "t2", name="新")
        self.assertEqual(
            [each.name if isinstance(each, TemplateRow) else each["name"] for each in self.both() if each], ["新"] * 2
        )
        self.want("DEL", "t3")
        self.assertEqual(self.both(), (None, {}))
        acks = [{"type": f"{verb}_TEMPLATE_ACK", "e164": "0100", "mtreqid": "m-5"} for verb in ("ADD", "MOD", "DEL")]
        self.assertEqual(self.answers(), acks)
        self.assertEqual({each.correlation_id for each in self.site.letters(CM_REPLIES)}, {"c-5"})
        self.nothing_under_way()

    def test_add_replaces(self) -> None:
        """What is there."""
        self.want()
        self.want(message_id="t2", name="新", content={})
        row, fields = self.both()
        self.assertEqual((row and row.name, fields["name"], fields["content"]), ("新", "新", "{}"))

    def test_without_reply_queue(self) -> None:
        """Answered where notices go."""
        self.css.take(request(), message_id="t")
        self.assertEqual([body["type"] for body in self.site.bodies(CM_NOTICES)], ["ADD_TEMPLATE_ACK"])

    def test_of_another_platform(self) -> None:
        """In its store, and under its name in SQL; also while it is normal."""
        self.site.set_states(pA="normal", pB="normal")
        self.want(moid="uB")
        row, here = self.both()
        self.assertEqual((row and row.platformmoid, here), ("pB", {}))
        self.assertEqual(self.site.other.dump()[KEY]["moid"], "uB")
        self.assertEqual(self.outcomes(), ["ACK"])

    def test_content_is_kept(self) -> None:
        """Whatever JSON it is."""
        content = {"名": [1, 1.5, None, True, {"a": ""}], "n": 2**60}
        self.want(content=content)
        self.assertEqual(json.loads(self.both()[1]["content"]), content)

    def test_a_conference_with_the_same_number(self) -> None:
        """Neither is in the other's way."""
        self.run_one(e164="0100")
        self.want()
        self.assertEqual(self.state_of("0100"), "ongoing")
        self.assertEqual(self.outcomes()[1:], ["ACK"])


class Refused(Case):
    """Nothing is written."""

    def refuses(self, code: str, verb: str = "ADD", **more: Any) -> None:
        """The last request was refused so, and left nothing behind."""
        before = self.both()
        self.want(verb, f"x-{len(self.answers())}", **more)
        self.assertEqual(self.outcomes()[-1], code)
        self.assertEqual(self.both(), before)
        self.nothing_under_way()

    def test_missing(self) -> None:
        """Can't be changed or deleted; nor can another platform's."""
        self.refuses("CONF_NOT_FOUND", "MOD")
        self.refuses("CONF_NOT_FOUND", "DEL")
        self.want()
        self.refuses("CONF_NOT_FOUND", "DEL", moid="uB")

    def test_whose(self) -> None:
        """Unknown domain; a platform of which nothing is done here."""
        self.refuses("UNKNOWN_DOMAIN", moid="nobody")
        self.refuses("PLATFORM_NOT_SERVED", moid="uC")

    def test_own_platform_abnormal(self) -> None:
        """As any request of a CM."""
        self.site.set_states(pA="abnormal", pB="normal")
        self.css.run(self.css.duty.tick())
        self.refuses("PLATFORM_ABNORMAL")

    def test_sql_is_away(self) -> None:
        """INTERNAL."""
        self.sql.fail()
        self.refuses("INTERNAL")

    def test_sql_is_not_reached_yet(self) -> None:
        """An instance that has just started waits a moment for it: a restart is not an outage."""
        self.site.database = None
        self.failureResultOf(self.css.begin(request(), message_id="t", reply_to=CM_REPLIES), TryLater)
        self.site.database = self.sql
        self.want()
        self.assertEqual(self.outcomes(), ["ACK"])
        self.site.database = None
        self.site.clock.advance(4)
        self.refuses("INTERNAL")

    def test_the_store_is_away(self) -> None:
        """Another platform's: INTERNAL. The own one: given back."""
        self.site.other.fail()
        self.refuses("INTERNAL", moid="uB")

    def test_sql_refuses(self) -> None:
        """Known not to have been written: the intent is dropped; what was there stays in both."""
        self.want()
        self.sql.refuses = True
        self.refuses("INTERNAL", "MOD", name="新")
        self.refuses("INTERNAL", "DEL")

    def test_too_long_for_sql(self) -> None:
        """Refused before it is asked."""
        self.refuses("INTERNAL", content={"a": "x" * (1024 * 1024)})

    def test_repeated(self) -> None:
        """The kept refusal."""
        self.want("DEL")
        self.want()
        self.assertEqual(self.outcomes(), ["CONF_NOT_FOUND"] * 2)


class Repeated(Case):
    """A request that comes again is done once, and answered again."""

    def test_while_the_store_that_has_it_is_away(self) -> None:
        """It is not refused: its answer comes when that Redis is back, and is repeated then."""
        self.css.on_point = lambda step, point: self.sql.fail() if point == "after_intent" else None
        self.want(moid="uB")
        self.css.on_point = lambda step, point: None
        self.sql.recover()
        self.site.other.fail()
        self.want(moid="uB")
        self.site.other.recover()
        self.sweep()
        self.assertEqual(self.outcomes(), ["ACK"])
        self.css.run(self.css.doubtful.tick())
        (waited,) = self.site.letters(to.CM_QUEUE)
        self.assertEqual(waited.message_id, "t")
        self.want(moid="uB")
        self.assertEqual(self.outcomes(), ["ACK"] * 2)

    def test_after_its_answer(self) -> None:
        """By another instance, and after it was deleted."""
        self.want()
        self.want("DEL", "t2")
        self.want(css=self.another())
        self.assertEqual(self.both(), (None, {}))
        self.assertEqual(self.outcomes(), ["ACK"] * 3)
        self.assertEqual(len({each.message_id for each in self.site.letters(CM_REPLIES)}), 2)

    def test_before_its_answer(self) -> None:
        """Nothing is said before the work is done."""
        self.sql.lose_answers = True
        self.want()
        self.want()
        self.assertEqual(self.outcomes(), [])
        self.sql.lose_answers = False
        self.sweep()
        self.assertEqual(self.outcomes(), ["ACK"])

    def test_at_two_instances_at_once(self) -> None:
        """Both have found no memory of it."""
        other = self.another()

        def meanwhile(step: str, point: str) -> None:
            if (step, point) == ("template", "before_intent"):
                self.css.on_point = lambda step, point: None
                self.want(css=other)

        self.css.on_point = meanwhile
        self.want()
        self.assertEqual(self.outcomes(), ["ACK"] * 2)
        self.nothing_under_way()


class CutOff(Case):
    """An instance dies, or SQL loses an answer, at each step: in the end both have it, and the CM knows."""

    def dies_at(self, point: str, verb: str = "ADD", **more: Any) -> None:
        """Another instance stops for ever at a point of the work."""
        other = self.another()

        def die(step: str, reached: str) -> None:
            if (step, reached) == ("template", point):
                raise SystemError("killed")

        other.on_point = die
        died = other.begin(request(verb, **more), message_id=f"d-{verb}-{point}", reply_to=CM_REPLIES)
        self.failureResultOf(died, SystemError)
        self.flushLoggedErrors(SystemError)

    def test_at_each_point(self) -> None:
        """Before the intent nothing has happened; after it the sweep finishes the work."""
        for number, point in enumerate(("after_intent", "after_sql", "before_commit", "after_commit")):
            e164 = f"010{number}"
            self.dies_at(point, e164=e164)
            self.sweep()
            row, fields = self.both(e164)
            self.assertTrue(row is not None and fields["name"] == row.name, point)
            self.assertEqual(len(self.outcomes()), number + 1, point)
            self.site.clock.advance(0)
        self.dies_at("before_intent", e164="0200")
        self.assertEqual(self.both("0200"), (None, {}))
        self.nothing_under_way()

    def test_delete_at_each_point(self) -> None:
        """It is not found missing because it was half deleted."""
        for point in ("after_intent", "after_sql", "before_commit", "after_commit"):
            self.want(message_id=f"add-{point}")
            before = len(self.outcomes())
            self.dies_at(point, "DEL")
            self.sweep()
            self.assertEqual(self.both(), (None, {}), point)
            self.assertEqual(self.outcomes()[before:], ["ACK"][: len(self.outcomes()) - before], point)
            self.site.pass_seconds(601, 1)
        self.nothing_under_way()

    def test_the_outcome_in_sql_is_unknown(self) -> None:
        """Written or not, it is tried again, and answered later."""
        self.sql.lose_answers = True
        self.want()
        self.assertEqual(self.outcomes(), [])
        self.assertEqual(self.css.tally["templates_put_off"], 1)
        self.sweep()
        self.assertEqual(self.outcomes(), [])
        self.sql.lose_answers = False
        self.sweep()
        self.assertEqual(self.outcomes(), ["ACK"])
        self.nothing_under_way()

    def test_sql_goes_away_after_the_intent(self) -> None:
        """As long as it is away; Redis has nothing meanwhile."""

        def away(step: str, point: str) -> None:
            if (step, point) == ("template", "after_intent"):
                self.sql.fail()

        self.css.on_point = away
        self.want()
        self.sweep()
        self.assertEqual((self.both(), self.outcomes()), ((None, {}), []))
        self.sql.recover()
        self.sweep()
        row, fields = self.both()
        self.assertTrue(row and fields)
        self.assertEqual(self.outcomes(), ["ACK"])


class InEachOthersWay(Case):
    """Writes of one template at the same time: the newest counts, in both."""

    def during(self, point: str, verb: str, **more: Any) -> None:
        """At a point of the next request another instance takes another one from beginning to end."""
        other = self.another()

        def meanwhile(step: str, reached: str) -> None:
            if (step, reached) == ("template", point):
                self.css.on_point = lambda step, point: None
                self.want(verb, f"m-{verb}", css=other, **more)

        self.css.on_point = meanwhile

    def test_another_write_in_between(self) -> None:
        """At each point: what was accepted last is in both."""
        for point, winner in (
            ("after_intent", "二"),
            ("after_sql", "二"),
            ("before_commit", "二"),
            ("after_commit", "二"),
        ):
            self.during(point, "ADD", name="二")
            self.want(message_id=f"t-{point}", name="一")
            row, fields = self.both()
            self.assertEqual((row and row.name, fields.get("name")), (winner, winner), point)
            self.nothing_under_way()
            self.want("DEL", f"del-{point}")
            self.site.pass_seconds(601, 1)

    def test_accepted_while_another_one_is_being_considered(self) -> None:
        """Either may count; the same one in both."""
        self.during("before_intent", "ADD", name="二")
        self.want(name="一")
        row, fields = self.both()
        self.assertEqual(row and row.name, fields["name"])
        self.assertEqual(self.outcomes(), ["ACK", "ACK"])
        self.nothing_under_way()

    def test_a_delete_in_between(self) -> None:
        """It does not come back."""
        for point in ("after_intent", "after_sql", "before_commit"):
            self.during(point, "DEL")
            self.want(message_id=f"t-{point}")
            self.assertEqual(self.both(), (None, {}), point)
            self.assertEqual(self.outcomes()[-2:], ["ACK", "ACK"])
            self.nothing_under_way()
            self.site.pass_seconds(601, 1)

    def test_a_refused_write_in_between(self) -> None:
        """The older write, which left Redis to the newer one, is in both after all."""

        def refuse(step: str, point: str) -> None:
            if (step, point) == ("template", "after_intent"):
                self.sql.refuses = True

        other = self.another()
        other.on_point = refuse

        def meanwhile(step: str, point: str) -> None:
            if (step, point) == ("template", "after_sql"):
                self.css.on_point = lambda step, point: None
                self.want("MOD", "t2", css=other, name="二")

        self.css.on_point = meanwhile
        self.want(name="一")
        row, fields = self.both()
        self.assertEqual((row and row.name, fields["name"]), ("一", "一"))
        self.assertEqual(self.outcomes(), ["INTERNAL", "ACK"])
        self.nothing_under_way()

    def test_a_newer_write_is_still_under_way(self) -> None:
        """The older one is answered, and leaves Redis and the standing to it: what was deleted can't be changed."""

        def stop(step: str, point: str) -> None:
            if (step, point) == ("template", "after_intent"):
                raise SystemError("killed")

        other = self.another()
        other.on_point = stop

        def meanwhile(step: str, point: str) -> None:
            if (step, point) == ("template", "after_sql"):
                self.css.on_point = lambda step, point: None
                self.failureResultOf(other.begin(request("DEL"), message_id="t2", reply_to=CM_REPLIES), SystemError)

        self.css.on_point = meanwhile
        self.want()
        row, fields = self.both()
        self.assertTrue(row)
        self.assertEqual((fields, self.outcomes()), ({}, ["ACK"]))
        self.want("MOD", "t3")
        self.assertEqual(self.outcomes(), ["ACK", "CONF_NOT_FOUND"])
        self.sweep()
        self.assertEqual((self.both(), self.outcomes()[2:]), ((None, {}), ["ACK"]))
        self.nothing_under_way()


class LeftByAnotherPlatform(Case):
    """An instance of pB has died after it had begun a write; pB is abnormal, and this platform serves it."""

    def test_finished_and_answered_there(self) -> None:
        """In both; the CM of pB hears of it on its own broker."""
        self.sql.lose_answers = True
        self.want(moid="uB")
        self.sql.lose_answers = False
        keys = self.site.other.server.keyspace
        lane, number = f"css/out/pA/{TEMPLATE_LANE}/0100?template", "0100?template"
        keys.update_hash(lane.replace("/pA/", "/pB/"), keys.hash(lane))
        keys.delete(lane)
        keys.score(f"css/outdue/pB/{TEMPLATE_LANE}", number, 0)
        keys.add_member("css/outlanes/pB", TEMPLATE_LANE)
        peers = self.site.connected_bus(self.site.other_broker)
        peers.declare(Topology(queues=(Queue(CM_REPLIES),)))
        for _ in range(2):
            self.sweep()
        self.assertEqual(self.site.other.dump()[KEY]["moid"], "uB")
        self.assertEqual(self.outcomes(), [])
        (answer,) = self.site.other_broker.messages(CM_REPLIES)
        self.assertIn(b"ADD_TEMPLATE_ACK", answer.body)
        self.assertNotIn(TEMPLATE_LANE, done(self.site.other.outbox_lanes("pB")))


class Filled(Case):
    """A Redis that has lost everything gets its templates again."""

    def test_from_sql(self) -> None:
        """Those of its platform."""
        self.want()
        self.want(message_id="t2", e164="0200", moid="uB")
        del_key = self.site.store.server.keyspace.delete
        before = self.both()
        del_key(KEY)
        self.css.run(self.css.templates.fill(self.site.store, self.sql))
        self.assertEqual(self.both(), before)
        self.assertNotIn("pubtemplate/0200", self.site.store.dump())
        self.nothing_under_way()

    def test_while_a_write_is_under_way(self) -> None:
        """That one knows better."""
        self.want()
        self.sql.lose_answers = True
        self.want("DEL", "t2")
        self.sql.lose_answers = False
        self.sql.templates["0100"] = TemplateRow("0100", "uA", "pA", "旧", "{}")
        self.css.run(self.css.templates.fill(self.site.store, self.sql))
        self.sql.templates.pop("0100")
        self.sweep()
        self.assertEqual(self.both(), (None, {}))

    def test_lane(self) -> None:
        """An intent that can't be read does not stop the others."""
        self.sql.lose_answers = True
        self.want()
        self.sql.lose_answers = False
        lane = f"css/out/pA/{TEMPLATE_LANE}/0100?template"
        self.site.store.server.keyspace.update_hash(lane, {"1.0.x": b"\xc1"})
        self.sweep()
        self.assertEqual(self.outcomes(), ["ACK"])
        self.nothing_under_way()
