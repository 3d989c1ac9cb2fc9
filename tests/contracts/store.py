"""What every `IConferenceStore` does. A subclass says how to make one, see `StoreFixture`."""

from __future__ import annotations

from typing import Any

from css.ports.store import Commit, CommitResult, Loaded, OutboxBatch, Outcome, RequestWrite
from tests.contracts.store_record import RecordContract
from tests.contracts.storecase import E164, FIRST, LATER, StoreFixture, beside, effect, new, seat, step, together


class ReservationContract(StoreFixture):
    """Sets of bounded size."""

    async def limit(self: Any, value: str | None) -> None:
        fields = {"license": "t"} if value is None else {"smallconfnum": value}
        await self.store.write_hashes({"domain/u1/license": fields})

    async def reserve(self: Any, member: str, **parts: Any) -> Outcome:
        result: CommitResult = await self.store.commit(beside(reserve=(seat(member, **parts),)))
        return result.outcome

    async def test_limit_is_never_exceeded_and_members_need_no_place(self: Any) -> None:
        await self.limit("2")
        found = [await self.reserve(member) for member in ("a", "b", "c", "a")]
        self.assertEqual(found, [Outcome.DONE, Outcome.DONE, Outcome.LIMIT, Outcome.DONE])
        result = await self.store.commit(new(reserve=(seat("c"),), request=RequestWrite("k", b"", 60)))
        self.assertEqual(result, CommitResult(Outcome.LIMIT, Loaded({}, {}, {}, None), "small/u1"))
        self.assertEqual((await self.dump())["css/set/small/u1"], {"a", "b"})
        await self.limit("0")
        self.assertEqual([await self.reserve("a"), await self.reserve("c")], [Outcome.DONE, Outcome.LIMIT])

    async def test_what_no_limit_means(self: Any) -> None:
        self.assertEqual(await self.reserve("a"), Outcome.DONE)
        self.assertEqual(await self.reserve("b", required=True), Outcome.LIMIT)
        for unlimited in (None, "", "none"):
            await self.limit(unlimited)
            self.assertEqual(await self.reserve("b", required=True), Outcome.DONE)
            await self.store.commit(beside(unreserve=(("small/u1", "b"),)))

    async def test_an_expired_licence_grants_nothing_and_takes_nothing(self: Any) -> None:
        now = await self.store.now_ms() // 1000
        for expires, wanted in ((now + 1000, Outcome.DONE), (now, Outcome.LIMIT), (0, Outcome.LIMIT)):
            for numbers in ({}, {"smallconfnum": "5"}):
                fields = {"license": "t", "expires": str(expires), **numbers}
                await self.store.write_hashes({"domain/u1/license": fields})
                self.assertEqual(await self.reserve(f"{expires}"), wanted)
                self.assertEqual(await self.reserve(f"{now + 1000}"), Outcome.DONE, "what is counted stays")
        await self.store.write_hashes({"domain/u1/license": {"license": "t", "expires": "never"}})
        self.assertEqual(await self.reserve("x"), Outcome.DONE)

    async def test_places_given_back_in_the_same_step_are_free(self: Any) -> None:
        await self.limit("1")
        await self.reserve("a")
        moved = await self.store.commit(beside(unreserve=(("small/u1", "a"), ("none", "x")), reserve=(seat("b"),)))
        self.assertEqual(moved.outcome, Outcome.DONE)
        self.assertEqual((await self.dump())["css/set/small/u1"], {"b"})
        absent = await self.store.commit(beside(unreserve=(("small/u1", "a"),), reserve=(seat("c"),)))
        self.assertEqual(absent.outcome, Outcome.LIMIT)
        await self.store.commit(beside(unreserve=(("small/u1", "b"),)))
        self.assertNotIn("css/set/small/u1", await self.dump())

    async def test_a_member_given_back_and_reserved_in_one_step_stays(self: Any) -> None:
        await self.reserve("a")
        await self.limit("0")
        kept = await self.store.commit(beside(unreserve=(("small/u1", "a"),), reserve=(seat("a"),)))
        self.assertEqual(kept.outcome, Outcome.DONE)
        self.assertEqual((await self.dump())["css/set/small/u1"], {"a"})
        await self.limit("1")  # what stays frees no place
        both = beside(unreserve=(("small/u1", "a"),), reserve=(seat("a"), seat("b")))
        self.assertEqual((await self.store.commit(both)).outcome, Outcome.LIMIT)

    async def test_reservations_of_one_step_count_together(self: Any) -> None:
        await self.limit("2")
        both = beside(reserve=(seat("a"), seat("b"), seat("a")))
        self.assertEqual((await self.store.commit(both)).outcome, Outcome.DONE)
        await self.store.commit(beside(unreserve=(("small/u1", "a"), ("small/u1", "b"))))
        three = beside(reserve=(seat("x", name="large/u1"), seat("a"), seat("b"), seat("c")), index_add={"due": 1})
        self.assertEqual((await self.store.commit(three)).detail, "small/u1")
        self.assertEqual(list(await self.dump()), ["domain/u1/license"])

    async def test_places_without_a_record_are_swept(self: Any) -> None:
        """Not those of records, of whatever version; nor what is no such member."""
        kept = [f"{number}:{FIRST}" for number in range(300)]
        await together(*(self.store.commit(new(each.split(":")[0], reserve=(seat(each),))) for each in kept))
        stale = [*(f"9{number:03}:{FIRST}" for number in range(300)), f"7:{LATER}", f"07:{FIRST}"]
        await together(*(self.store.commit(beside(reserve=(seat(each),))) for each in (*stale, "other")))
        dropped, cursor, pages = 0, "", 0
        while cursor or not pages:
            count, cursor = await self.other.sweep_reservations("small/u1", cursor, 50)
            dropped, pages = dropped + count, pages + 1
        self.assertEqual((await self.dump())["css/set/small/u1"], {*kept, "other"})
        self.assertEqual(dropped, len(stale))
        self.assertGreater(pages, 2)
        self.assertEqual(await self.store.sweep_reservations("absent", "", 50), (0, ""))

    async def test_two_instances_never_take_more_than_there_is(self: Any) -> None:
        await self.limit("7")
        results = await together(
            *([self.store, self.other][n % 2].commit(new(str(n), reserve=(seat(str(n)),))) for n in range(40))
        )
        self.assertEqual(sum(result.outcome is Outcome.DONE for result in results), 7)
        self.assertEqual(await self.store.index_size("small/u1"), 7)
        self.assertEqual(sum(key.startswith("confex/") for key in await self.dump()), 7)


class BesideContract(StoreFixture):
    """Public hashes and strings of CSS's own that are written with a commit."""

    async def test_hashes_are_replaced_and_deleted_with_a_commit(self: Any) -> None:
        await self.store.write_hashes({"pubtemplate/1": {"name": "旧", "moid": "u"}, "pubtemplate/2": {"name": "x"}})
        await self.store.read_hashes("pubtemplate/", "")  # now there is a list of them, which must stay right
        hashes = {"pubtemplate/1": {"name": "新"}, "pubtemplate/2": None, "pubtemplate/3": {"name": "三"}}
        result = await self.store.commit(beside(hashes=hashes))
        self.assertEqual(result.outcome, Outcome.DONE)
        wanted = {"pubtemplate/1": {"name": "新"}, "pubtemplate/3": {"name": "三"}}
        self.assertEqual(await self.other.read_hashes("pubtemplate/", ""), wanted)

    async def test_strings_are_compared_and_set(self: Any) -> None:
        name = "css/template/0660175"
        for guard, value in (("", "7 一"), ("7 一", "8"), ("8", "")):
            done = beside(guards=((name, guard),), strings={name: value})
            self.assertEqual((await self.store.commit(done)).outcome, Outcome.DONE)
            self.assertEqual(await self.other.read_string(name), value)
            again = await self.store.commit(beside(guards=((name, "other"),), strings={name: "9"}))
            self.assertEqual(again, CommitResult(Outcome.GUARD, detail=name))
        self.assertNotIn(name, await self.dump())

    async def test_nothing_of_a_refused_commit(self: Any) -> None:
        refused = beside(guards=(("k", "x"),), strings={"css/s": "1"}, hashes={"pubtemplate/1": {"name": "x"}})
        self.assertEqual((await self.store.commit(refused)).outcome, Outcome.GUARD)
        self.assertEqual(await self.dump(), {})


class IndexContract(StoreFixture):
    """Due work and listings."""

    async def add(self: Any, index: str, scores: dict[str, int]) -> None:
        await together(
            *(self.store.commit(Commit(e164=m, touch_record=False, index_add={index: s})) for m, s in scores.items())
        )

    async def test_commits_move_index_entries(self: Any) -> None:
        await self.store.commit(new(index_add={"due/A": 1_800_000_000_123, "state/creating": 1}))
        await self.store.commit(step(1, index_drop=("state/creating", "absent", "due/A"), index_add={"due/A": 7}))
        dump = await self.dump()
        self.assertEqual(dump["css/index/due/A"], {E164: 7})
        self.assertNotIn("css/index/state/creating", dump)
        self.assertEqual(await self.store.index_size("due/A"), 1)
        self.assertEqual(await self.store.index_size("absent"), 0)

    async def test_due_numbers_are_claimed_oldest_first_for_a_lease(self: Any) -> None:
        now = await self.store.now_ms()
        await self.add("due", {"c": now, "a": now - 10, "b": now - 5, "later": now + 60_000})
        self.assertEqual(await self.store.claim_due("due", 60_000, 2), ["a", "b"])
        self.assertEqual(await self.other.claim_due("due", 200, 9), ["c"])
        self.assertEqual(await self.other.claim_due("due", 200, 9), [])
        scores = (await self.dump())["css/index/due"]
        self.assertTrue(now + 60_000 <= scores["a"] <= await self.store.now_ms() + 60_000)
        await self.wait_ms(250)
        self.assertEqual(await self.store.claim_due("due", 60_000, 9), ["c"])
        self.assertEqual(await self.store.claim_due("absent", 60_000, 9), [])

    async def test_two_instances_never_claim_the_same(self: Any) -> None:
        await self.add("due", {str(n): 1 for n in range(60)})
        claims = await together(*([self.store, self.other][n % 2].claim_due("due", 60_000, 7) for n in range(12)))
        claimed = [number for each in claims for number in each]
        self.assertEqual(sorted(claimed), sorted(str(n) for n in range(60)))

    async def test_pages_show_every_member_that_is_there_throughout(self: Any) -> None:
        members = {f"{n:05}" for n in range(700)}
        await self.add("all", dict.fromkeys(members, 5))
        seen: set[str] = set()
        cursor, pages = "", 0
        while cursor or not pages:
            found, cursor = await self.store.page_index("all", cursor, 50)
            self.assertLessEqual(len(found), 100)
            seen.update(found)
            pages += 1
            await self.add("all", {f"{pages % 9:05}": pages, f"new{pages}": 1})  # what changes meanwhile hides nobody
            await self.store.commit(Commit(e164=f"new{pages - 1}", touch_record=False, index_drop=("all",)))
        self.assertLessEqual(members, seen)
        self.assertEqual(await self.store.page_index("absent", "", 50), ([], ""))


class OutboxContract(StoreFixture):
    """Effects that wait."""

    async def test_effects_wait_until_they_are_done_and_leave_nothing(self: Any) -> None:
        await self.store.commit(
            new(outbox=(effect("9.1"), effect("9.1", "sql", data=b""), effect("9.1", platform="B")))
        )
        self.assertEqual(await self.store.outbox_lanes("A"), ["cm", "sql"])
        self.assertEqual(await self.store.outbox_lanes("B"), ["cm"])
        self.assertEqual(await self.store.outbox_lanes("C"), [])
        batches = await self.store.take_outbox("A", "cm", 60_000, 10)
        self.assertEqual(batches, [OutboxBatch(E164, [("9.1", b"\xff\x00d")])])
        self.assertEqual(await self.other.take_outbox("A", "cm", 60_000, 10), [])
        self.assertEqual(await self.store.take_outbox("A", "sql", 60_000, 10), [OutboxBatch(E164, [("9.1", b"")])])
        self.assertEqual([await self.store.outbox_size(each, "cm") for each in "ABC"], [1, 1, 0])
        for platform, lane in (("A", "cm"), ("A", "sql"), ("B", "cm")):
            await self.store.clear_outbox(platform, lane, [(E164, "9.1"), (E164, "8.8"), ("unknown", "1.1")])
            self.assertNotIn(lane, await self.store.outbox_lanes(platform))
        self.assertEqual(list(await self.dump()), [f"confex/{E164}"])
        await self.store.clear_outbox("A", "cm", [])

    async def test_entries_come_in_the_order_of_their_commits(self: Any) -> None:
        marks = ["10.2", "9.10", "9.9", "10.10", f"{FIRST}.3", f"{LATER}.1"]
        for mark in marks:
            await self.store.commit(beside(outbox=(effect(mark),)))
        self.assertEqual(await self.store.outbox_size("A", "cm"), len(marks))
        (batch,) = await self.store.take_outbox("A", "cm", 60_000, 10)
        ordered = ["9.9", "9.10", "10.2", "10.10", f"{FIRST}.3", f"{LATER}.1"]
        self.assertEqual([mark for mark, _ in batch.entries], ordered)

    async def test_commit_names_lanes_where_earlier_effects_wait(self: Any) -> None:
        first = await self.store.commit(new(outbox=(effect("9.1"), effect("9.1", "sql"))))
        self.assertEqual(first.waiting, ())
        second = await self.store.commit(step(1, outbox=(effect("9.2"), effect("9.2", "mcu"), effect("9.2", "sql"))))
        self.assertEqual(second, CommitResult(Outcome.DONE, None, "", ("cm", "sql")))
        await self.store.clear_outbox("A", "cm", [(E164, "9.1")])
        late = await self.store.commit(step(2, outbox=(effect("9.1.5"), effect("8.7", "mcu"), effect("9.3", "sql"))))
        self.assertEqual(late.waiting, ("sql",))
        again = await self.store.commit(beside(outbox=(effect("8.7", "mcu"),)))
        self.assertEqual(again.waiting, ())

    async def test_a_commit_forgets_what_is_done_before_it_says_what_waits(self: Any) -> None:
        await self.store.commit(new(outbox=(effect("9.1"), effect("9.1", "sql"), effect("9.1", "mcu"))))
        done = (("A", "cm", "9.1"), ("A", "mcu", "9.1"), ("A", "mcu", "unknown"), ("B", "none", "1.1"))
        refused = await self.store.commit(new(cleared=done))
        self.assertEqual(refused.outcome, Outcome.CONFLICT)
        self.assertEqual(await self.store.outbox_lanes("A"), ["cm", "mcu", "sql"])
        result = await self.store.commit(step(1, cleared=done, outbox=(effect("9.2"), effect("9.2", "sql"))))
        self.assertEqual(result.waiting, ("sql",))
        self.assertEqual(await self.store.outbox_lanes("A"), ["cm", "sql"])
        self.assertEqual((await self.dump())[f"css/out/A/cm/{E164}"], {"9.2": b"\xff\x00d"})
        rest = (("A", "cm", "9.2"), ("A", "sql", "9.1"), ("A", "sql", "9.2"))
        await self.store.commit(beside(cleared=rest))
        self.assertEqual(list(await self.dump()), [f"confex/{E164}"])

    async def test_marks_of_one_commit_do_not_wait_for_each_other(self: Any) -> None:
        await self.store.commit(new(outbox=(effect("9.2.1"),)))
        self.assertEqual((await self.store.commit(step(1, outbox=(effect("9.2.2"),)))).waiting, ())

    async def test_what_waited_for_an_entry_is_due_when_that_is_forgotten(self: Any) -> None:
        far = await self.store.now_ms() + 3_600_000
        first, second = effect("9.1", due_ms=far), effect("9.2", due_ms=far)
        await self.store.commit(beside(outbox=(first,)))
        await self.other.commit(beside(outbox=(second,)))
        await self.store.clear_outbox("A", "cm", [(E164, "unknown")])
        self.assertEqual(await self.store.take_outbox("A", "cm", 200, 9), [])
        await self.store.clear_outbox("A", "cm", [(E164, "9.1")])
        (batch,) = await self.other.take_outbox("A", "cm", 200, 9)
        self.assertEqual([mark for mark, _ in batch.entries], ["9.2"])

    async def test_only_due_numbers_are_taken_oldest_first_and_again_after_the_lease(self: Any) -> None:
        now = await self.store.now_ms()
        for e164, due in (("c", now - 1), ("a", now - 9), ("b", now - 5), ("later", now + 60_000)):
            await self.store.commit(Commit(e164=e164, touch_record=False, outbox=(effect("1.1", due_ms=due),)))
        self.assertEqual([b.e164 for b in await self.store.take_outbox("A", "cm", 60_000, 1)], ["a"])
        self.assertEqual([b.e164 for b in await self.other.take_outbox("A", "cm", 200, 9)], ["b", "c"])
        self.assertEqual(await self.store.take_outbox("A", "cm", 200, 9), [])
        await self.store.commit(Commit(e164="b", touch_record=False, outbox=(effect("1.2", due_ms=now - 9),)))
        self.assertEqual(await self.store.take_outbox("A", "cm", 200, 9), [])  # the claim holds for later ones too
        await self.wait_ms(250)
        batches = await self.store.take_outbox("A", "cm", 60_000, 9)
        self.assertEqual(
            {b.e164: [mark for mark, _ in b.entries] for b in batches}, {"b": ["1.1", "1.2"], "c": ["1.1"]}
        )

    async def test_long_lists_are_cleared(self: Any) -> None:
        done = [(str(n), "1.1") for n in range(1500)]
        await together(
            *(self.store.commit(Commit(e164=e, touch_record=False, outbox=(effect("1.1"),))) for e, _ in done)
        )
        self.assertGreaterEqual(len(await self.dump()), len(done))
        await self.store.clear_outbox("A", "cm", done)
        self.assertEqual(await self.dump(), {})


class HashContract(StoreFixture):
    """Public hashes, strings, the clock."""

    async def test_hashes_are_replaced_deleted_and_counted(self: Any) -> None:
        await self.store.write_hashes(
            {"domain/1/info": {"a": "1", "名": "值"}, "domain/2/info": {"b": "2"}}, bump="css/g"
        )
        self.assertEqual(await self.store.read_hash("domain/1/info"), {"a": "1", "名": "值"})
        self.assertEqual(await self.store.read_string("css/g"), "1")
        await self.store.write_hashes(
            {"domain/1/info": {"c": "3"}, "domain/2/info": None, "domain/3/info": {}}, "css/g"
        )
        self.assertEqual(await self.dump(), {"domain/1/info": {"c": "3"}, "css/g": b"2"})
        self.assertEqual(await self.store.read_hash("domain/2/info"), {})
        self.assertEqual(await self.store.read_string("css/absent"), "")
        await self.store.write_hashes({})
        self.assertEqual(await self.store.read_string("css/g"), "2")

    async def test_effects_without_a_number_go_with_the_hashes(self: Any) -> None:
        await self.store.write_hashes({"domain/1/info": {"a": "1"}}, outbox=(effect("5.1"), effect("5.1", "upu")))
        self.assertEqual(await self.store.outbox_lanes("A"), ["cm", "upu"])
        self.assertEqual(await self.store.take_outbox("A", "cm", 60_000, 9), [OutboxBatch("", [("5.1", b"\xff\x00d")])])
        await self.store.clear_outbox("A", "cm", [("", "5.1")])
        self.assertEqual(await self.store.outbox_lanes("A"), ["upu"])

    async def test_hashes_are_found_by_both_ends_of_their_keys(self: Any) -> None:
        hashes = {f"domain/{n}/info": {"n": str(n)} for n in range(1200)}
        others = {
            "domain/1/license": {"x": "1"},
            "ydomain/1/info": {"x": "1"},
            "domain/info": {"x": "1"},
            "a*[b]/z": {"q": "1"},
        }
        await self.store.write_hashes({**hashes, **others}, bump="domain/9/g/info")
        self.assertEqual(await self.store.read_hashes("domain/", "/info"), hashes)
        self.assertEqual(await self.store.read_hashes("a*[", "z"), {"a*[b]/z": {"q": "1"}})
        self.assertEqual(await self.store.read_hashes("nothing", ""), {})

    async def test_clock_is_in_milliseconds_and_goes_on(self: Any) -> None:
        before = await self.store.now_ms()
        await self.wait_ms(20)
        self.assertTrue(before + 20 <= await self.other.now_ms() < before + 20_000)
        self.assertGreater(before, 1_600_000_000_000)


class StoreContract(RecordContract, ReservationContract, BesideContract, IndexContract, OutboxContract, HashContract):
    """All of `IConferenceStore`."""
