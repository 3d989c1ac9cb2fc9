"""What every `IRunningConferences` does. A subclass gives `reader` and `other_reader` of platform A's store."""

from __future__ import annotations

from typing import Any

from css.ports.running import Running
from css.ports.store import Commit, Fields
from tests.contracts.storecase import StoreFixture, new, together


def ongoing(e164: str, indexed: bool = True, **more: Any) -> Commit:
    """A commit that makes an ongoing conference."""
    fields: Fields = {"state": "ongoing", "moid": "u1", "platformmoid": "B", "srcplatformmoid": "A", "endtime": "9"}
    conf = {"confname": f"会议{e164}", "begintime": "5", "password": "secret"}
    index = {"running/A": 0} if indexed else {}
    return new(e164, fields=fields | more, set_conf=conf, index_add=index)


def row(e164: str) -> Running:
    """What is read of it."""
    return Running(e164, f"会议{e164}", "u1", "B", 5, 9)


class RunningContract(StoreFixture):
    """Pages, and the index behind them."""

    async def begin(self: Any, *numbers: str, **more: Any) -> None:
        await together(*(self.store.commit(ongoing(e164, **more)) for e164 in numbers))

    async def walk(self: Any, limit: int, between: Any = None) -> list[str]:
        """All numbers, page by page."""
        found: list[str] = []
        after, more = "", True
        while more:
            page = await self.reader.page(after, limit)
            found += [each.confE164 for each in page.conferences]
            after, more = page.last, page.more
            if between is not None:
                await between()
        return found

    async def test_by_number_as_text(self: Any) -> None:
        await self.begin("10", "9", "010", "0", "90")
        page = await self.other_reader.page("", 10)
        self.assertEqual(page.conferences, [row(e164) for e164 in ("0", "010", "10", "9", "90")])
        self.assertEqual((page.last, page.more), ("90", False))
        self.assertEqual([each.confE164 for each in (await self.reader.page("10", 1)).conferences], ["9"])

    async def test_nothing(self: Any) -> None:
        for after in ("", "123"):
            page = await self.reader.page(after, 5)
            self.assertEqual((page.conferences, page.last, page.more), ([], after, False))

    async def test_pages_meet(self: Any) -> None:
        numbers = [f"{number:03}" for number in range(10)]
        await self.begin(*numbers)
        for limit in (1, 3, 5, 9, 10, 11):
            self.assertEqual(await self.walk(limit), numbers)
        self.assertFalse((await self.reader.page("", 10)).more)
        self.assertTrue((await self.reader.page("", 9)).more)

    async def test_only_ongoing_ones(self: Any) -> None:
        """Even if the index named one that is not."""
        await self.begin("1", "3")
        await self.begin("2", state="pending_restore")
        await self.store.commit(Commit(e164="4", touch_record=False, index_add={"running/A": 0}))
        self.assertEqual(await self.walk(1), ["1", "3"])
        page = await self.reader.page("1", 1)
        self.assertEqual((page.conferences, page.last, page.more), ([], "2", True))

    async def test_what_runs_throughout_appears_once(self: Any) -> None:
        """Whatever begins and ends before and behind the reader."""
        steady = [f"5{number:02}" for number in range(0, 60, 2)]
        await self.begin(*steady)
        turns = iter(range(1, 60, 2))

        async def change() -> None:
            turn = next(turns, None)
            if turn is None:
                return
            await self.begin(f"5{turn:02}", f"4{turn:02}", f"6{turn:02}")
            if turn > 9:
                ends = ongoing(f"5{turn - 8:02}")
                expected = (ends.set_fields["first_epoch"], 1)
                end = Commit(e164=ends.e164, expected=expected, delete_record=True, index_drop=("running/A",))
                await self.other.commit(end)

        found = await self.walk(3, change)
        self.assertEqual([e164 for e164 in found if e164 in steady], steady)
        self.assertEqual(len(found), len(set(found)))

    async def test_records_without_the_index_are_found(self: Any) -> None:
        """Each time; those of another source, and those that are not ongoing, are left out."""
        await self.begin(*(f"1{number:04}" for number in range(1500)), indexed=False)
        await self.begin("2", indexed=False, state="creating")
        await self.begin("3", indexed=False, srcplatformmoid="C")
        self.assertEqual(await self.walk(1000), [])
        await together(self.reader.prepare(), self.other_reader.prepare())
        self.assertEqual(len(await self.walk(1000)), 1500)
        await self.begin("4", indexed=False)
        self.assertEqual((await self.reader.page("2", 5)).conferences, [])
        await self.reader.prepare()
        self.assertEqual((await self.reader.page("2", 5)).conferences, [row("4")])

    async def test_damaged_fields(self: Any) -> None:
        """What is missing is empty, what is no number is 0."""
        await self.store.commit(new("1", fields={"state": "ongoing", "endtime": "x"}, index_add={"running/A": 0}))
        self.assertEqual((await self.reader.page("", 5)).conferences, [Running("1", "", "", "", 0, 0)])
