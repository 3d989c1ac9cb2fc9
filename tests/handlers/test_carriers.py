"""Rows and booked places: carried out in batches, kept by the outbox while a dependency is away."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from css.adapters.memory.sql import MemoryDatabase
from css.handlers.carriers import RowWriter
from css.handlers.effects import Parcel
from css.ports.sql import ConfinfoRow, RowWrite
from css.timers.ticker import EXPECTED
from tests.handlers.site import SiteCase, release


def write(e164: str, confname: str = "x", version: int = 1) -> RowWrite:
    """A write of a number's row."""
    return RowWrite(e164, 5, version, ConfinfoRow(e164, confname, "", "uA", "pA", "pA", "10.0.0.1", 1, 0))


class Rows(SiteCase):
    """SQL."""

    def database(self) -> MemoryDatabase:
        """The database in memory."""
        assert self.site.database is not None
        return self.site.database

    def carry(self, *writes: RowWrite) -> None:
        """Hand rows over, each as the parcel of one step."""
        for each in writes:
            mark = f"{each.epoch}.{each.version}"
            self.css.rows.carry(self.site.store, each.e164, mark, Parcel([], [each], []))

    def done(self, e164: str) -> list[str]:
        """Marks of a number's entries that are known to be carried out."""
        return [mark for _, _, mark in self.css.outbox.cleared(self.site.store, e164)]

    def test_written(self) -> None:
        """In one go; their entries are forgotten."""
        self.carry(write("1"), write("2"))
        self.css.rows.tick()
        self.assertEqual(set(self.database().rows), {"1", "2"})
        self.assertEqual((self.done("1"), self.done("2")), (["5.1"], ["5.1"]))
        self.assertEqual(self.css.tally["rows_written"], 2)

    def test_many(self) -> None:
        """Batch after batch."""
        self.patch(RowWriter, "BATCH", 3)
        self.carry(*(write(str(number)) for number in range(8)))
        self.css.rows.tick()
        self.assertEqual(len(self.database().rows), 8)

    def test_too_many(self) -> None:
        """What does not fit is left to the sweep, and memory is bounded."""
        self.patch(RowWriter, "MOST_WAITING", 2)
        self.carry(write("1"), write("2"), write("3"))
        self.css.rows.tick()
        self.assertEqual(set(self.database().rows), {"1", "2"})
        self.assertEqual(self.done("3"), [])

    def test_away(self) -> None:
        """Nothing is forgotten; the sweep brings it when SQL is back."""
        self.database().fail()
        self.run_one("1")
        self.css.tick()
        self.run_one("2")
        self.css.tick()
        self.assertTrue(self.css.rows.down)
        self.assertEqual(list(self.site.outbox()), ["sql/1", "sql/2"])
        self.database().recover()
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertFalse(self.css.rows.down)
        self.assertEqual(set(self.database().rows), {"1", "2"})
        self.css.tick()
        self.assertEqual(self.site.outbox(), {})

    def test_none_yet(self) -> None:
        """Before the PMS has said where SQL is, all is left to the outbox."""
        database, self.site.database = self.site.database, None
        self.run_one("1")
        self.css.tick()
        self.assertEqual(list(self.site.outbox()), ["sql/1"])
        self.site.database = database
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertEqual(set(self.database().rows), {"1"})

    def test_refused_row(self) -> None:
        """Found, reported, given up; the others of the batch are written."""
        self.carry(write("1"), write("2", confname="x" * 300), write("3"))
        self.css.rows.tick()
        self.assertEqual(set(self.database().rows), {"1", "3"})
        self.assertEqual([self.done(number) for number in "123"], [["5.1"]] * 3)
        self.assertEqual((self.css.tally["rows_refused"], self.css.tally["rows_written"]), (1, 2))

    def test_away_in_the_midst_of_a_refused_batch(self) -> None:
        """What was not tried is kept, and SQL is not called back when it is not."""
        applied: list[str] = []
        database = self.database()
        real = database.apply

        async def apply(writes: list[RowWrite]) -> None:
            if applied:
                database.fail()
            await real(writes)
            applied.append(writes[0].e164)

        self.patch(database, "apply", apply)
        self.carry(write("1"), write("2", confname="x" * 300), write("3"))
        self.css.rows.tick()
        self.assertEqual(set(database.rows), {"1"})
        self.assertEqual(self.done("1"), ["5.1"])
        self.assertEqual(self.done("3"), [])
        self.assertTrue(self.css.rows.down)

    def test_order(self) -> None:
        """The end of a conference whose row could not be written yet leaves no row, whatever comes first."""
        self.database().fail()
        self.run_one("1")
        self.css.tick()
        self.database().recover()
        self.css.take(release("1"), message_id="end")
        self.css.tick()
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertEqual(self.database().rows, {})
        self.css.tick()
        self.assertEqual(self.site.outbox(), {})

    def test_hanging(self) -> None:
        """A second tick waits for the batch under way."""
        waiting: Deferred[None] = Deferred()
        calls: list[int] = []
        real = self.database().apply

        async def apply(writes: list[RowWrite]) -> None:
            calls.append(len(writes))
            if len(calls) == 1:
                await waiting
            await real(writes)

        self.patch(self.site.database, "apply", apply)
        self.carry(write("1"))
        self.css.rows.tick()
        self.carry(write("2"))
        self.css.rows.tick()
        self.assertEqual(calls, [1])
        waiting.callback(None)
        self.assertEqual(calls, [1, 1])
        self.assertEqual(set(self.database().rows), {"1", "2"})
        self.assertEqual(self.css.tracker.in_flight, 0)


class Places(SiteCase):
    """Booked places that are given back."""

    def test_store_away(self) -> None:
        """Left to the outbox, whose sweep gives them back."""
        request = self.give(self.ask(), "10.0.0.1")
        self.refuse(request)
        self.site.store.fail()
        self.css.freer.tick()
        failed = Deferred.fromCoroutine(self.css.outbox.flush(self.site.stores))
        self.failureResultOf(failed, *EXPECTED)
        self.site.store.recover()
        self.css.tick()
        self.assertEqual(self.css.run(self.site.state.loads(["10.0.0.1"])), {"10.0.0.1": 1})
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertEqual(self.css.run(self.site.state.loads(["10.0.0.1"])), {"10.0.0.1": 0})

    def test_nothing(self) -> None:
        """No command where nothing waits."""
        asked: list[object] = []

        async def free(places: list[object]) -> None:
            asked.append(places)

        self.patch(self.css.freer, "_action", free)
        self.css.run(self.css.freer.apply_waiting())
        self.assertEqual(asked, [])
        self.refuse(self.give(self.ask(), "10.0.0.1"))
        self.css.run(self.css.freer.apply_waiting())
        self.assertEqual(len(asked), 1)
