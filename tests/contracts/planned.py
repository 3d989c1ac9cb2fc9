"""What every `IPlannedConferences` and `ILocatorBook` does. A subclass gives both twice, on the same keys, a planner,
and `deafen` and `undeafen`, which cut the links of listeners and let them come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from css.domain.planned import Planned, Report
from tests.contracts.storecase import StoreFixture, effect, together

LANE = "to/UPU.CONF.EX"


def entry(data: bytes = b"\xff\x00d") -> Any:
    """What is put in the outbox; the book gives it its mark."""
    return effect("", LANE, data=data)


def report(e164: str, before: str = "", after: str = "d1", moid: str = "u1") -> Report:
    """A number to be told."""
    return Report(e164, before, after, Planned(e164, 2, "预约", moid) if after else None)


class PlannedContract(StoreFixture):
    """What the CM keeps, and its changes."""

    async def walk(self: Any) -> set[str]:
        """All numbers, page by page."""
        found: set[str] = set()
        cursor = ""
        while True:
            numbers, cursor = await self.planned.page(cursor)
            found.update(numbers)
            if not cursor:
                return found

    async def test_read(self: Any) -> None:
        """Of several hashes of one number the lowest type counts; what lacks a field is none."""
        values = {"confname": "预约会议", "moid": "u1", "more": "kept"}
        await self.planner.put("vroom/01", values)
        await self.planner.put("template/01", {**values, "confname": "模板"})
        await self.planner.put("vroom/2", values)
        await self.planner.put("reserve/3", values)
        await self.planner.put("reserve/4", {"confname": "x"})
        await self.planner.put("vroom/4", values)
        await self.planner.put("reserve/5", {"moid": "u1"})
        found = await self.planned.read(["2", "01", "3", "4", "5", "6"])
        expected = [
            Planned("2", 4, "预约会议", "u1"),
            Planned("01", 3, "模板", "u1"),
            Planned("3", 2, "预约会议", "u1"),
            Planned("4", 4, "预约会议", "u1"),
        ]
        self.assertEqual(found, expected)
        self.assertEqual(await self.planned.read([]), [])
        await self.planner.put("vroom/2", None)
        self.assertEqual(await self.planned.read(["2"]), [])

    async def test_all_numbers(self: Any) -> None:
        """Whatever else is there."""
        values = {"confname": "x", "moid": "u1"}
        keys = [f"{family}/{n:05}" for family in ("reserve", "template", "vroom") for n in range(700)]
        others = ["pubtemplate/1", "confex/7", "template", "reserver/9", "rest/8", "vroomy/3"]
        await together(*(self.planner.put(key, values) for key in [*keys, *others]))
        self.assertEqual(await self.walk(), {f"{n:05}" for n in range(700)})

    async def test_nothing_planned(self: Any) -> None:
        self.assertEqual(await self.walk(), set())

    def own(self: Any, into: list[bytes], empty: bool = False) -> Callable[[bytes], None]:
        """What to listen with: a channel is that of all databases of a server, where other tests publish too.

        @param empty: what is empty is taken as well, whoever published it.
        """
        mark = self.id().encode()

        def heard(payload: bytes) -> None:
            if payload.startswith(mark) or (empty and not payload):
                into.append(payload.removeprefix(mark))

        return heard

    async def publish(self: Any, payload: bytes) -> None:
        """So that it is heard by `own`."""
        await self.planner.publish(self.id().encode() + payload)

    async def test_changes_are_heard(self: Any) -> None:
        """By everybody who listens, in order, until no more."""
        one: list[bytes] = []
        other: list[bytes] = []
        self.assertEqual(self.planned.listens, 0)
        self.planned.listen(self.own(one))
        self.other_planned.listen(self.own(other))
        await self.until(lambda: self.planned.listens == self.other_planned.listens == 1)
        for payload in (b"1", b"\xff\xfe", b"3"):
            await self.publish(payload)
        await self.until(lambda: len(one) == len(other) == 3)
        self.assertEqual(one, [b"1", b"\xff\xfe", b"3"])
        await self.other_planned.unlisten()
        await self.publish(b"4")
        await self.until(lambda: one[-1] == b"4")
        self.assertEqual(len(other), 3)
        await self.planned.unlisten()
        await self.planned.unlisten()
        self.assertEqual(self.planned.listens, 1)

    async def test_what_is_missed(self: Any) -> None:
        """While the link is away messages are lost; that it has come back is to be seen."""
        heard: list[bytes] = []
        self.planned.listen(self.own(heard))
        await self.until(lambda: self.planned.listens == 1)
        self.assertTrue(self.planned.hears)
        await self.deafen()
        await self.until(lambda: not self.planned.hears)
        await self.publish(b"lost")
        await self.undeafen()
        await self.until(lambda: self.planned.listens == 2)
        await self.publish(b"heard")
        await self.until(lambda: bool(heard))
        self.assertEqual(heard, [b"heard"])
        self.assertTrue(self.planned.hears)
        await self.planned.unlisten()
        self.assertFalse(self.planned.hears)
        self.planned.listen(self.own(heard))
        await self.until(lambda: self.planned.listens == 3)
        await self.planned.unlisten()

    async def test_any_length(self: Any) -> None:
        """Of a message."""
        heard: list[bytes] = []
        self.planned.listen(self.own(heard, empty=True))
        await self.until(lambda: self.planned.listens == 1)
        await self.publish(b"x" * 100_000)
        await self.planner.publish(b"")
        await self.until(lambda: len(heard) == 2)
        self.assertEqual(list(map(len, heard)), [100_000, 0])
        await self.planned.unlisten()


class LocatorBookContract(StoreFixture):
    """The book and the outbox move together."""

    async def waiting(self: Any) -> list[tuple[str, list[tuple[str, bytes]]]]:
        """What is to be carried out."""
        batches = await self.store.take_outbox("A", LANE, 0, 10)
        return [(batch.e164, batch.entries) for batch in batches]

    async def test_told(self: Any) -> None:
        """In the order of the book, whoever tells."""
        first = await self.book.tell("A", [report("01"), report("2", after="d2")], entry(b"1"))
        second = await self.other_book.tell("A", [report("2", "d2", "d3")], entry(b"2"))
        self.assertEqual((first.mark, first.waits, second.mark, second.waits), ("1.0", False, "2.0", True))
        self.assertEqual(await self.book.told("A", ["2", "01", "3"]), {"2": "d3", "01": "d1"})
        self.assertEqual(await self.book.told("B", ["2"]), {})
        self.assertEqual(await self.book.told("A", []), {})
        self.assertEqual(await self.waiting(), [("", [("1.0", b"1"), ("2.0", b"2")])])
        await self.book.tell("A", [report("2", "d3", "")], entry(), [("A", LANE, "1.0"), ("A", LANE, "2.0")])
        self.assertEqual([entries[0][0] for _, entries in await self.waiting()], ["3.0"])
        self.assertEqual(await self.book.told("A", ["2"]), {})

    async def test_once(self: Any) -> None:
        """Of two who tell the same one succeeds; a report of many is told whole or not at all."""
        told = await together(
            self.book.tell("A", [report("1")], entry()), self.other_book.tell("A", [report("1")], entry())
        )
        self.assertEqual(sorted(each is None for each in told), [False, True])
        self.assertIsNone(await self.book.tell("A", [report("2"), report("1", "d0")], entry()))
        self.assertIsNone(await self.book.tell("A", [report("3", "d0", "")], entry()))
        self.assertEqual(await self.book.told("A", ["1", "2", "3"]), {"1": "d1"})
        self.assertEqual(len((await self.waiting())[0][1]), 1)

    async def test_pages(self: Any) -> None:
        numbers = {f"{n:04}" for n in range(1500)}
        await self.book.tell("A", [report(e164) for e164 in numbers], entry())
        await self.book.tell("B", [report("9")], entry())
        found: set[str] = set()
        cursor = ""
        while True:
            page, cursor = await self.book.page("A", cursor, 200)
            found.update(page)
            if not cursor:
                break
        self.assertEqual(found, numbers)
        self.assertEqual(await self.book.page("C", "", 10), ([], ""))

    async def test_withdrawn(self: Any) -> None:
        """With exactly the user domains that were told, or added."""
        await self.book.tell("B", [report("1"), report("2", moid="u2")], entry())
        await self.book.tell("B", [report("2", "d1", "")], entry())
        await self.book.tell("A", [report("3")], entry())
        await self.book.add_moids("B", ["u3", "u1"])
        await self.book.add_moids("B", [])
        self.assertEqual(await self.book.moids("B"), {"u1", "u2", "u3"})
        for moids in (["u1", "u2"], ["u1", "u2", "u4"], []):
            self.assertIsNone(await self.book.withdraw("B", moids, entry()))
        told = await self.book.withdraw("B", ["u3", "u2", "u1"], entry(), [("A", LANE, "1.0")])
        self.assertEqual((told.mark, told.waits), ("4.0", True))
        self.assertEqual((await self.book.moids("B"), await self.book.told("B", ["1"])), (set(), {}))
        self.assertEqual(await self.book.told("A", ["3"]), {"3": "d1"})
        self.assertEqual([mark for mark, _ in (await self.waiting())[0][1]], ["2.0", "3.0", "4.0"])

    async def test_forgotten(self: Any) -> None:
        """Once for each time that the locator was cleared."""
        await self.book.tell("A", [report("1")], entry())
        self.assertTrue(await self.book.forget("A", 1_800_000_000_123))
        self.assertEqual((await self.book.told("A", ["1"]), await self.book.moids("A")), ({}, set()))
        await self.book.tell("A", [report("1")], entry())
        for cleared_ms in (1_800_000_000_123, 1_800_000_000_122):
            self.assertFalse(await self.other_book.forget("A", cleared_ms))
        self.assertEqual(await self.book.told("A", ["1"]), {"1": "d1"})
        self.assertTrue(await self.book.forget("A", 1_800_000_000_124))
        self.assertEqual(await self.book.told("A", ["1"]), {})
