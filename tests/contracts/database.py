"""What every `IConferenceDatabase` does. A subclass says how to make one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from css.ports.sql import (
    TEXT_LIMITS,
    ConfinfoRow,
    DomainRow,
    IConferenceDatabase,
    RowWrite,
    SqlError,
    SqlRefused,
    TemplateRow,
    TemplateWrite,
)

PLATFORM = "平台-a"


async def open_row(database: Any, e164: str) -> Any:
    """A number's `ConfinfoRow`; None: it has none."""
    return (await database.confinfos([e164])).get(e164)


def row(e164: str, name: str = "周会", platform: str = PLATFORM, endtime: int = 0) -> ConfinfoRow:
    return ConfinfoRow(
        e164=e164,
        confname=name,
        password="密码",
        moid="user-1",
        srcplatformmoid=platform,
        platformmoid=platform,
        ip="10.0.0.1",
        begintime=1_700_000_000,
        endtime=endtime,
    )


def put(e164: str, epoch: int, version: int, name: str = "周会") -> RowWrite:
    return RowWrite(e164, epoch, version, row(e164, name))


def delete(e164: str, epoch: int, version: int) -> RowWrite:
    return RowWrite(e164, epoch, version, None)


def template(e164: str, content: str = "{}") -> TemplateRow:
    return TemplateRow(e164, "user-1", PLATFORM, "模板", content)


_orders = st.tuples(st.sampled_from("012"), st.integers(0, 3), st.integers(0, 3))
_batches = st.lists(st.lists(_orders, max_size=6), max_size=5)


class DatabaseContract(TestCase):
    """To be subclassed where trial looks for tests; `setUp` makes `database` and `other`, both prepared.

    `other` is a second instance on the same data (the same object where there can be only one).
    """

    database: IConferenceDatabase
    other: IConferenceDatabase
    examples = 30
    """How many that Hypothesis makes up."""

    timeout = 60

    async def add_domains(self, rows: Sequence[DomainRow]) -> None:
        """What the BMC's side does; CSS only reads that table."""
        raise NotImplementedError

    def refused(self, coroutine: Any) -> Deferred[Any]:
        return self.assertFailure(Deferred.fromCoroutine(coroutine), SqlRefused)

    def test_interface(self) -> None:
        self.assertTrue(verifyObject(IConferenceDatabase, self.database))

    async def test_prepare_again(self) -> None:
        await self.database.apply([put("001", 5, 1)])
        await self.other.prepare()
        self.assertEqual(await open_row(self.database, "001"), row("001"))

    async def test_row_comes_back_as_written(self) -> None:
        written = row("0013", "会议 \U0001f600 ' \" % \\ \n", endtime=2**53 - 1)
        await self.database.apply([RowWrite("0013", 2**53 - 1, 1, written)])
        self.assertEqual(await open_row(self.other, "0013"), written)

    async def test_rows_of_several_numbers(self) -> None:
        await self.database.apply([put(e164, 1, 1) for e164 in ("1", "01", "3")])
        numbers = ["01", "2", "3", *(str(number) for number in range(100, 600))]
        self.assertEqual(await self.database.confinfos(numbers), {"01": row("01"), "3": row("3")})
        self.assertEqual(await self.database.confinfos([]), {})

    async def test_unknown_number(self) -> None:
        self.assertIsNone(await open_row(self.database, "404"))

    async def test_leading_zeros_are_kept_apart(self) -> None:
        await self.database.apply([put("1", 1, 1, "一"), put("01", 1, 1, "零一"), put("001", 1, 1, "零零一")])
        await self.database.apply([delete("01", 1, 2)])
        self.assertEqual(await open_row(self.database, "1"), row("1", "一"))
        self.assertIsNone(await open_row(self.database, "01"))
        self.assertEqual(await open_row(self.database, "001"), row("001", "零零一"))

    async def test_newer_version_replaces(self) -> None:
        await self.database.apply([put("1", 5, 1, "old")])
        await self.database.apply([put("1", 5, 2, "new")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "new"))

    async def test_newer_epoch_replaces_whatever_its_version(self) -> None:
        await self.database.apply([put("1", 5, 9, "old")])
        await self.database.apply([put("1", 6, 1, "new")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "new"))

    async def test_side_text_is_kept_whatever_is_in_it(self) -> None:
        sides = {
            "1": '{"create":"{\\"confname\\":\\"周\\\\会 😀\\"}"}',
            "2": "'\"\\ \0\n\r\x1a%s %(a)s ? 0x41 \u00ff\uffff",
            "3": "会" * 200_000,
        }
        await self.database.apply([RowWrite(e164, 5, 1, row(e164), side) for e164, side in sides.items()])
        self.assertEqual(await self.other.sides(list(sides)), sides)

    async def test_side_text_goes_with_the_row(self) -> None:
        """Written and replaced with it, gone with it; a late one changes nothing; never seen in the row itself."""
        for version, side in ((1, '{"pid":"一"}'), (3, '{"pid":"二"}'), (2, "late")):
            await self.database.apply([RowWrite("1", 5, version, row("1"), side), put("2", 5, version)])
        self.assertEqual(await self.other.sides(["1", "2", "404"]), {"1": '{"pid":"二"}'})
        self.assertEqual(await self.other.sides([]), {})
        await self.database.apply([delete("1", 5, 4)])
        self.assertEqual(await self.other.sides(["1"]), {})

    async def test_late_write_is_ignored(self) -> None:
        await self.database.apply([put("1", 5, 3, "new")])
        await self.other.apply([put("1", 5, 2, "late")])
        await self.other.apply([put("1", 4, 9, "late")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "new"))

    async def test_same_order_is_applied_once(self) -> None:
        await self.database.apply([put("1", 5, 3, "first")])
        await self.database.apply([put("1", 5, 3, "second")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "first"))

    async def test_late_write_does_not_bring_back_a_deleted_row(self) -> None:
        await self.database.apply([put("1", 5, 1), delete("1", 5, 3)])
        await self.other.apply([put("1", 5, 2)])
        self.assertIsNone(await open_row(self.database, "1"))

    async def test_delete_that_comes_first(self) -> None:
        await self.database.apply([delete("1", 5, 3)])
        await self.database.apply([put("1", 5, 1)])
        self.assertIsNone(await open_row(self.database, "1"))

    async def test_late_delete_is_ignored(self) -> None:
        await self.database.apply([put("1", 6, 1)])
        await self.database.apply([delete("1", 5, 9)])
        self.assertEqual(await open_row(self.database, "1"), row("1"))

    async def test_order_within_a_batch(self) -> None:
        await self.database.apply([put("1", 5, 2, "b"), put("1", 5, 1, "a"), put("1", 5, 2, "c")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "b"))

    async def test_nothing_to_apply(self) -> None:
        await self.database.apply([])
        self.assertEqual(await self.database.confinfo_page(PLATFORM, "", 10), [])

    async def test_many_rows_in_one_batch(self) -> None:
        numbers = [f"{number:04}" for number in range(1201)]
        await self.database.apply([put(e164, 1, 1) for e164 in numbers])
        await self.database.apply([delete(e164, 1, 2) if int(e164) % 2 else put(e164, 1, 2, "二") for e164 in numbers])
        left = await self.database.confinfo_page(PLATFORM, "", 2000)
        self.assertEqual(left, [row(e164, "二") for e164 in numbers[::2]])

    async def test_pages(self) -> None:
        numbers = ["0", "00", "01", "1", "10", "2"]
        await self.database.apply([put(e164, 1, 1) for e164 in reversed(numbers)])
        await self.database.apply([RowWrite("05", 1, 1, row("05", platform="平台-b"))])
        seen: list[str] = []
        while page := await self.database.confinfo_page(PLATFORM, seen[-1] if seen else "", 4):
            seen += [found.e164 for found in page]
        self.assertEqual(seen, numbers)

    async def test_too_long_text_refuses_the_whole_batch(self) -> None:
        long = "会" * (TEXT_LIMITS["confname"] + 1)
        await self.refused(self.database.apply([put("1", 1, 1), put("2", 1, 1, long)]))
        self.assertIsNone(await open_row(self.database, "1"))
        await self.database.apply([put("1", 1, 1)])
        self.assertEqual(await open_row(self.database, "1"), row("1"))

    async def test_longest_text_fits(self) -> None:
        e164, name = "9" * TEXT_LIMITS["e164"], "会" * TEXT_LIMITS["confname"]
        await self.database.apply([put(e164, 1, 1, name)])
        self.assertEqual(await open_row(self.database, e164), row(e164, name))

    async def test_text_that_is_no_unicode_is_refused(self) -> None:
        await self.refused(self.database.apply([put("1", 1, 1, "\ud800")]))
        self.assertIsNone(await open_row(self.database, "1"))

    async def test_number_beyond_64_bits_is_refused(self) -> None:
        await self.refused(self.database.apply([RowWrite("1", 1, 1, row("1", endtime=2**63))]))
        self.assertIsNone(await open_row(self.database, "1"))

    async def test_instances_writing_the_same_numbers_at_once(self) -> None:
        numbers = [f"{number:03}" for number in range(60)]
        batches = [
            database.apply([put(e164, 1, version, str(version)) for e164 in order])
            for version in range(12)
            for database, order in ((self.database, numbers), (self.other, numbers[::-1]))
        ]
        await gatherResults([Deferred.fromCoroutine(batch) for batch in batches], consumeErrors=True)
        page = await self.database.confinfo_page(PLATFORM, "", 100)
        self.assertEqual(page, [row(e164, "11") for e164 in numbers])

    def test_any_order_and_repetition_gives_the_newest(self) -> Deferred[None]:
        count = iter(range(1_000_000))

        def write(prefix: str, order: tuple[str, int, int]) -> RowWrite:
            digit, epoch, version = order
            e164 = prefix + digit
            name = f"{epoch}.{version}"
            return delete(e164, epoch, version) if version == 2 else put(e164, epoch, version, name)

        async def run(batches: list[list[tuple[str, int, int]]]) -> None:
            prefix = f"{next(count)}0"
            for number, batch in enumerate(batches):
                await (self.other if number % 2 else self.database).apply([write(prefix, order) for order in batch])
            flat = [order for batch in batches for order in batch]
            for digit in "012":
                newest = max((order for order in flat if order[0] == digit), default=None)
                expected = write(prefix, newest).row if newest else None
                self.assertEqual(await open_row(self.database, prefix + digit), expected)

        @settings(max_examples=self.examples, deadline=None, database=None)
        @given(_batches)
        def check(batches: list[list[tuple[str, int, int]]]) -> None:
            blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(run(batches)))  # type: ignore[arg-type]

        return deferToThread(check)

    async def test_prune_forgets_ended_conferences_only(self) -> None:
        await self.database.apply([put("1", 5, 1), put("2", 5, 1), put("3", 5, 1)])
        await self.database.apply([delete("1", 5, 2), delete("3", 5, 2)])
        self.assertEqual(await self.database.prune(3600, 100), 0)
        self.assertEqual(await self.database.prune(0, 1), 1)
        self.assertEqual(await self.database.prune(0, 100), 1)
        self.assertEqual(await self.database.prune(0, 100), 0)
        await self.database.apply([put("1", 1, 1, "again"), put("2", 1, 1, "late")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "again"))
        self.assertEqual(await open_row(self.database, "2"), row("2"))

    async def test_domains(self) -> None:
        domains = [
            DomainRow("p", 1, "s", "平台", 1, 1, 1),
            DomainRow("s", 2, "", "服务域", 1, 0, 0),
            DomainRow("u", 0, "p", "用户域", 0, 0, 1),
        ]
        self.assertEqual(await self.database.domains(), [])
        await self.add_domains(domains)
        self.assertEqual(sorted(await self.database.domains(), key=lambda found: found.moid), domains)
        self.assertEqual(await self.database.domain("u"), domains[2])
        self.assertIsNone(await self.database.domain("U"))

    async def test_templates(self) -> None:
        first = template("0100", '{"confname": "周会"}')
        self.assertIsNone(await self.database.template("0100"))
        self.assertEqual(await self.database.template_version("0100"), 0)
        await self.database.apply_template(TemplateWrite("0100", 5, first))
        self.assertEqual(await self.database.template("0100"), first)
        changed = TemplateRow("0100", "user-2", PLATFORM, "新模板", "{}")
        await self.other.apply_template(TemplateWrite("0100", 2**53 - 1, changed))
        self.assertEqual(await self.database.template("0100"), changed)
        self.assertEqual(await self.database.template_version("0100"), 2**53 - 1)

    async def test_template_deleted(self) -> None:
        await self.database.apply_template(TemplateWrite("0100", 5, template("0100")))
        for _ in range(2):
            await self.database.apply_template(TemplateWrite("0100", 6))
        self.assertIsNone(await self.database.template("0100"))
        self.assertEqual(await self.database.template_version("0100"), 6)

    async def test_late_template_is_ignored(self) -> None:
        """Also one that would bring a deleted one back, or delete a newer one, or has the same version."""
        await self.database.apply_template(TemplateWrite("1", 6, template("1", "new")))
        for late in (5, 6):
            await self.other.apply_template(TemplateWrite("1", late, template("1", "late")))
            await self.other.apply_template(TemplateWrite("1", late))
        self.assertEqual(await self.database.template("1"), template("1", "new"))
        await self.database.apply_template(TemplateWrite("1", 8))
        await self.other.apply_template(TemplateWrite("1", 7, template("1", "late")))
        self.assertIsNone(await self.database.template("1"))

    async def test_template_of_another_platform(self) -> None:
        """It stays, and whose it is is told; one that is meant goes, also when it is deleted; a late write is done."""
        await self.database.apply_template(TemplateWrite("1", 5, template("1")))
        for row in (template("1", "new"), None):
            self.assertEqual(await self.other.apply_template(TemplateWrite("1", 6, row, ("p-2", "p-3"))), PLATFORM)
        self.assertEqual(await self.database.template("1"), template("1"))
        self.assertEqual(await self.database.template_version("1"), 5)
        self.assertEqual(await self.other.apply_template(TemplateWrite("1", 5, None, ("p-2",))), "")
        moved = TemplateRow("1", "user-2", "p-2", "模板", "{}")
        self.assertEqual(await self.other.apply_template(TemplateWrite("1", 6, moved, ("p-2", PLATFORM))), "")
        self.assertEqual(await self.database.template("1"), moved)
        self.assertEqual(await self.database.apply_template(TemplateWrite("1", 7, None, ("p-2",))), "")
        self.assertIsNone(await self.database.template("1"))
        self.assertEqual(await self.database.apply_template(TemplateWrite("1", 8, moved, ("p-2",))), "")

    async def test_templates_written_at_once(self) -> None:
        writes = [
            (self.database, self.other)[n % 2].apply_template(TemplateWrite("1", 1 + n * 7 % 20, template("1", str(n))))
            for n in range(20)
        ]
        await gatherResults([Deferred.fromCoroutine(write) for write in writes], consumeErrors=True)
        newest = next(n for n in range(20) if n * 7 % 20 == 19)
        self.assertEqual(await self.database.template("1"), template("1", str(newest)))

    async def test_pages_of_templates(self) -> None:
        numbers = ["0", "00", "01", "1", "10", "2"]
        for e164 in reversed(numbers):
            await self.database.apply_template(TemplateWrite(e164, 1, template(e164)))
        other = TemplateRow("05", "user-1", "平台-b", "模板", "{}")
        await self.database.apply_template(TemplateWrite("05", 1, other))
        seen: list[str] = []
        while page := await self.database.templates_page(PLATFORM, seen[-1] if seen else "", 4):
            seen += [found.e164 for found in page]
        self.assertEqual(seen, numbers)

    async def test_prune_forgets_deleted_templates_only(self) -> None:
        for e164 in ("1", "2"):
            await self.database.apply_template(TemplateWrite(e164, 5, template(e164)))
        await self.database.apply_template(TemplateWrite("1", 6))
        self.assertEqual(await self.database.prune(3600, 100), 0)
        self.assertEqual(await self.database.prune(0, 100), 1)
        self.assertEqual(await self.database.template_version("1"), 0)
        self.assertEqual(await self.database.template_version("2"), 5)

    async def test_largest_template(self) -> None:
        content = "模" * TEXT_LIMITS["content"]
        await self.database.apply_template(TemplateWrite("1", 1, template("1", content)))
        found = await self.database.template("1")
        self.assertTrue(found is not None and found.content == content)
        await self.refused(self.database.apply_template(TemplateWrite("1", 2, template("1", content + "板"))))
        await self.refused(self.database.apply_template(TemplateWrite("9" * 33, 1)))

    async def test_closed(self) -> None:
        await self.database.close()
        await self.assertFailure(Deferred.fromCoroutine(self.database.domains()), SqlError)
