"""The domain directory in the Redis of every service platform (seed 3)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.sql import MemoryDatabase
from css.adapters.memory.store import MemoryStore
from css.domain.platforms import Platforms
from css.handlers.domains import GENERATION_KEY, DomainCache
from css.handlers.tally import Tally
from css.handlers.tracker import Tracker
from css.messages.domains import DomainAddNotice, DomainDelNotice, DomainModNotice
from css.ports.bus import Delivery
from css.ports.sql import DomainRow, IConferenceDatabase
from css.ports.store import Commit, Fields, Outcome, StoreError

OWN, MAIN = "p-own", "p-main"
ROWS = [
    DomainRow("s", 2, "", "服务域"),
    DomainRow(OWN, 1, "s", "平台"),
    DomainRow(MAIN, 1, "s", "主平台"),
    DomainRow("u", 0, OWN, "用户域", 1, 1, 0),
    DomainRow("v", 0, MAIN, "用户域二"),
]
ONCE, AGAIN = Delivery("MAU.BMC.Q", b""), Delivery("MAU.BMC.Q", b"", redelivered=True)


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.own, self.main = MemoryStore(OWN, self.clock), MemoryStore(MAIN, self.clock)
        self.stores = {OWN: self.own, MAIN: self.main}
        self.database: MemoryDatabase | None = MemoryDatabase(self.clock.seconds)
        self.rows(*ROWS)
        self.platforms = Platforms(OWN).with_reply(OWN, "normal", [(MAIN, "abnormal")], [])
        self.tally = Tally()
        self.cache = self.instance()

    def instance(self) -> DomainCache:
        def database() -> IConferenceDatabase | None:
            return self.database

        return DomainCache(OWN, lambda: self.platforms, self.stores, database, Tracker(), self.tally)

    def rows(self, *rows: DomainRow) -> None:
        assert self.database is not None
        self.database.domain_rows = {row.moid: row for row in rows}

    def set_main(self, state: str) -> None:
        before = self.platforms
        self.platforms = before.with_reply(OWN, "normal", [(MAIN, state)], [])
        self.cache.platforms_changed(self.platforms, self.platforms.change_from(before))

    def run_now(self, work: Coroutine[Deferred[Any], Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def fails(self, work: Coroutine[Deferred[Any], Any, Any]) -> None:
        self.failureResultOf(Deferred.fromCoroutine(work), StoreError)

    def in_store(self, store: MemoryStore) -> dict[str, Fields]:
        hashes: dict[str, Fields] = self.run_now(store.read_hashes("domain/", "/info"))
        return {key[len("domain/") : -len("/info")]: fields for key, fields in hashes.items()}

    def names(self, store: MemoryStore) -> dict[str, str]:
        return {moid: fields["name"] for moid, fields in self.in_store(store).items()}

    def platform_of(self, moid: str) -> str | None:
        found: str | None = self.run_now(self.cache.platform_of(moid))
        return found


class Start(_Case):
    def test_all_domains_in_every_service_platforms_redis(self) -> None:
        self.run_now(self.cache.load())
        expected = {row.moid: row.name for row in ROWS}
        self.assertEqual(self.names(self.own), expected)
        self.assertEqual(self.names(self.main), expected)
        self.assertEqual(
            self.in_store(self.own)["u"],
            {
                "moid": "u",
                "level": "0",
                "uplevelmoid": OWN,
                "name": "用户域",
                "used": "1",
                "enableh265": "1",
                "enablehdmeeting": "0",
            },
        )

    def test_a_possible_platform_that_is_not_served_is_left_alone(self) -> None:
        self.set_main("normal")
        self.run_now(self.cache.load())
        self.assertIn("v", self.in_store(self.own))
        self.assertEqual(self.in_store(self.main), {})

    def test_keys_that_ap_domain_lacks_are_deleted(self) -> None:
        self.run_now(self.own.write_hashes({"domain/gone/info": {"level": "0"}, "domain/x/license": {"license": "l"}}))
        self.run_now(self.cache.load())
        self.assertNotIn("gone", self.in_store(self.own))
        self.assertEqual(self.run_now(self.own.read_hash("domain/x/license")), {"license": "l"})

    def test_empty_ap_domain_deletes_nothing(self) -> None:
        self.run_now(self.cache.load())
        self.rows()
        self.run_now(self.instance().load())
        self.assertEqual(len(self.in_store(self.own)), len(ROWS))

    def test_nothing_is_written_where_nothing_differs(self) -> None:
        self.run_now(self.cache.load())
        generation = self.run_now(self.own.read_string(GENERATION_KEY))
        self.run_now(self.instance().load())
        self.assertEqual(self.run_now(self.own.read_string(GENERATION_KEY)), generation)

    def test_more_than_one_write_takes(self) -> None:
        self.rows(*ROWS, *(DomainRow(f"u{n}", 0, OWN) for n in range(1200)))
        self.run_now(self.cache.load())
        self.assertEqual(len(self.in_store(self.main)), 1205)

    def test_own_redis_down(self) -> None:
        self.own.fail()
        self.fails(self.cache.load())
        self.own.recover()
        self.run_now(self.cache.load())
        self.assertEqual(self.platform_of("u"), OWN)

    def test_another_redis_down_gets_them_when_it_is_back(self) -> None:
        self.main.fail()
        self.run_now(self.cache.load())
        self.assertEqual(self.platform_of("u"), OWN)
        self.main.recover()
        self.run_now(self.cache.tick())
        self.assertEqual(len(self.in_store(self.main)), len(ROWS))


class SqlDown(_Case):
    def test_redis_is_believed_and_sql_read_when_it_is_back(self) -> None:
        self.run_now(self.own.write_hashes({"domain/p-own/info": {"level": "1"}}))
        self.run_now(self.own.write_hashes({"domain/old/info": {"level": "0", "uplevelmoid": OWN}}))
        database, self.database = self.database, None
        self.run_now(self.cache.load())
        self.assertEqual(self.platform_of("old"), OWN)
        self.assertEqual(sorted(self.in_store(self.main)), ["old", OWN])
        self.database = database
        self.run_now(self.cache.tick())
        self.assertIsNone(self.platform_of("old"))
        self.assertEqual(self.platform_of("u"), OWN)
        self.assertEqual(self.names(self.main), self.names(self.own))

    def test_failing_sql(self) -> None:
        assert self.database is not None
        self.database.fail()
        self.run_now(self.cache.load())
        self.assertIsNone(self.platform_of("u"))
        self.database.recover()
        self.run_now(self.cache.tick())
        self.assertEqual(self.platform_of("u"), OWN)

    def test_changes_while_it_is_down(self) -> None:
        assert self.database is not None
        self.run_now(self.cache.load())
        self.database.fail()
        self.run_now(self.cache.changed(DomainAddNotice("w", 0, OWN, "新"), ONCE))
        self.assertEqual(self.platform_of("w"), OWN)


class ServiceListChanges(_Case):
    def test_a_platform_that_enters_gets_the_full_set(self) -> None:
        self.set_main("normal")
        self.run_now(self.cache.load())
        self.set_main("abnormal")
        self.assertEqual(self.names(self.main), self.names(self.own))

    def test_one_that_enters_while_its_redis_is_down(self) -> None:
        self.set_main("normal")
        self.run_now(self.cache.load())
        self.main.fail()
        self.set_main("abnormal")
        self.run_now(self.cache.changed(DomainAddNotice("w", 0, MAIN, "新"), ONCE))
        self.main.recover()
        self.rows(*ROWS, DomainRow("w", 0, MAIN, "新"))
        self.run_now(self.cache.tick())
        self.assertEqual(self.names(self.main), self.names(self.own))
        self.assertIn("w", self.in_store(self.main))

    def test_one_that_has_left_gets_no_changes(self) -> None:
        self.run_now(self.cache.load())
        self.set_main("normal")
        self.run_now(self.cache.changed(DomainAddNotice("w", 0, OWN, "新"), ONCE))
        self.assertIn("w", self.in_store(self.own))
        self.assertNotIn("w", self.in_store(self.main))


class Changes(_Case):
    def setUp(self) -> None:
        super().setUp()
        self.run_now(self.cache.load())

    def test_add(self) -> None:
        self.run_now(self.cache.changed(DomainAddNotice("w", 0, OWN, "新", 1, 0, 1), ONCE))
        for store in (self.own, self.main):
            self.assertEqual(self.in_store(store)["w"]["enablehdmeeting"], "1")
        self.assertEqual(self.platform_of("w"), OWN)

    def test_modify_one_field(self) -> None:
        self.run_now(self.cache.changed(DomainModNotice("u", name="改名"), ONCE))
        fields = self.in_store(self.main)["u"]
        self.assertEqual((fields["name"], fields["enableh265"], fields["uplevelmoid"]), ("改名", "1", OWN))

    def test_modify_of_an_unknown_domain(self) -> None:
        self.run_now(self.cache.changed(DomainModNotice("w", name="改名"), ONCE))
        self.assertNotIn("w", self.in_store(self.own))
        self.assertEqual(self.tally["domain_changes_ignored"], 2)
        self.run_now(self.cache.changed(DomainModNotice("w", 0, OWN, "改名"), ONCE))
        self.assertEqual(self.platform_of("w"), OWN)

    def test_delete(self) -> None:
        for _ in range(2):
            self.run_now(self.cache.changed(DomainDelNotice("u"), ONCE))
        self.assertNotIn("u", self.in_store(self.own))
        self.assertNotIn("u", self.in_store(self.main))
        self.run_now(self.cache.tick())
        self.assertIsNone(self.platform_of("u"))

    def test_each_bumps_the_generation(self) -> None:
        for store in (self.own, self.main):
            before = int(self.run_now(store.read_string(GENERATION_KEY)))
            self.run_now(self.cache.changed(DomainModNotice("u", used=0), ONCE))
            self.assertEqual(int(self.run_now(store.read_string(GENERATION_KEY))), before + 1)

    def test_a_redis_that_is_away_has_the_change_given_back(self) -> None:
        self.main.fail()
        self.fails(self.cache.changed(DomainModNotice("u", name="改名"), ONCE))
        self.assertEqual(self.names(self.own)["u"], "改名")
        self.main.recover()
        self.run_now(self.cache.changed(DomainModNotice("u", name="改名"), ONCE))
        self.assertEqual(self.names(self.main)["u"], "改名")

    def test_own_redis_away(self) -> None:
        self.own.fail()
        self.fails(self.cache.changed(DomainModNotice("u", name="改名"), ONCE))

    def test_one_that_comes_again_does_not_undo_a_later_one(self) -> None:
        self.rows(*ROWS[:3], DomainRow("u", 0, OWN, "第二次"))
        self.run_now(self.cache.changed(DomainModNotice("u", name="第二次"), ONCE))
        self.run_now(self.cache.changed(DomainModNotice("u", name="第一次"), AGAIN))
        self.run_now(self.cache.changed(DomainDelNotice("u"), AGAIN))
        self.assertEqual(self.names(self.own)["u"], "第二次")

    def test_one_that_comes_again_counts_where_ap_domain_knows_nothing(self) -> None:
        self.run_now(self.cache.changed(DomainAddNotice("w", 0, OWN, "新"), AGAIN))
        self.assertEqual(self.names(self.own)["w"], "新")


class JustServed(_Case):
    def test_nothing_passes_a_guard_before_the_directory_was_read(self) -> None:
        self.set_main("normal")
        self.run_now(self.cache.load())
        guards = self.cache.guards(MAIN)
        self.run_now(self.main.write_hashes({"domain/v/info": {"level": "0", "uplevelmoid": MAIN, "used": "0"}}))
        self.set_main("abnormal")
        commit = Commit(e164="1", touch_record=False, index_add={"i": 1}, guards=guards)
        self.assertEqual(self.run_now(self.main.commit(commit)).outcome, Outcome.GUARD)
        self.run_now(self.cache.refresh())
        commit = Commit(e164="1", touch_record=False, index_add={"i": 1}, guards=self.cache.guards(MAIN))
        self.assertEqual(self.run_now(self.main.commit(commit)).outcome, Outcome.DONE)


class SeveralInstances(_Case):
    def setUp(self) -> None:
        super().setUp()
        self.run_now(self.cache.load())
        self.other = self.instance()
        self.run_now(self.other.load())

    def guarded(self) -> Outcome:
        commit = Commit(e164="1", touch_record=False, index_add={"i": 1}, guards=self.cache.guards(MAIN))
        outcome: Outcome = self.run_now(self.main.commit(commit)).outcome
        return outcome

    def test_guard_notices_what_another_instance_changed(self) -> None:
        self.assertEqual(self.platform_of("v"), MAIN)
        self.assertEqual(self.guarded(), Outcome.DONE)
        self.run_now(self.other.changed(DomainModNotice("v", used=0), ONCE))
        self.assertEqual(self.guarded(), Outcome.GUARD)
        self.run_now(self.cache.refresh())
        self.assertIsNone(self.platform_of("v"))
        self.assertEqual(self.guarded(), Outcome.DONE)

    def test_a_domain_that_another_instance_added_is_found_at_once(self) -> None:
        self.assertIsNone(self.platform_of("w"))
        self.run_now(self.other.changed(DomainAddNotice("w", 0, OWN, "新"), ONCE))
        self.assertEqual(self.platform_of("w"), OWN)

    def test_unknown_domain_is_only_said_after_asking(self) -> None:
        self.own.fail()
        self.fails(self.cache.platform_of("w"))
        self.assertEqual(self.platform_of("u"), OWN)

    def test_current(self) -> None:
        directory, generation = self.cache.current()
        self.assertEqual(len(directory), len(ROWS))
        self.assertEqual(generation, self.run_now(self.own.read_string(GENERATION_KEY)))
        directory, generation = self.instance().current()
        self.assertEqual((len(directory), generation), (0, ""))

    def test_source_that_says_otherwise_than_the_own_store(self) -> None:
        self.assertEqual(self.platform_of("v"), MAIN)
        self.run_now(self.main.write_hashes({"domain/v/info": None}, bump=GENERATION_KEY))
        self.run_now(self.cache.refresh())
        self.assertIsNone(self.platform_of("v"))
