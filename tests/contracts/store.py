"""What every `IConferenceStore` does. A subclass says how to make one, see `StoreFixture`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from css.ports.store import (
    Commit,
    CommitResult,
    IConferenceStore,
    IPlatformState,
    Loaded,
    OutboxBatch,
    OutboxEntry,
    Outcome,
    RequestWrite,
    Reservation,
    Tombstone,
)

E164 = "0660175"
FIRST = "1835008000126469"
"""An epoch that Lua's `tostring` would spoil."""

LATER = "1835008000126470"


class StoreFixture:
    """What a subclass gives in `setUp`: two instances of one store and one platform state, on the same keys."""

    store: Any
    other: Any
    state: Any
    other_state: Any

    async def dump(self) -> dict[str, Any]:
        """All keys: hashes and sorted sets as dict, sets as set, strings as bytes."""
        raise NotImplementedError

    async def ttl_ms(self, key: str) -> int | None:
        """What is left of a key's time to live, None if it has none."""
        raise NotImplementedError

    async def wait_ms(self, milliseconds: int) -> None:
        """Let the store's clock go on by at least so much."""
        raise NotImplementedError


async def together(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run steps at the same time."""
    return list(await gatherResults([Deferred.fromCoroutine(step) for step in steps]))


def new(e164: str = E164, **parts: Any) -> Commit:
    """A commit that creates a record."""
    fields = {"first_epoch": FIRST, "epoch": FIRST, "state": "creating", **parts.pop("fields", {})}
    return Commit(e164=e164, set_fields=fields, **parts)


def step(version: int, **parts: Any) -> Commit:
    """A commit on the record that `new` made."""
    return Commit(e164=E164, expected=(FIRST, version), **parts)


def effect(
    mark: str, lane: str = "cm", due_ms: int = 0, platform: str = "A", data: bytes = b"\xff\x00d"
) -> OutboxEntry:
    return OutboxEntry(platform, lane, mark, data, due_ms)


def seat(member: str = E164, name: str = "small/u1", required: bool = False) -> Reservation:
    return Reservation(name, member, "domain/u1/license", "smallconfnum", required)


def beside(**parts: Any) -> Commit:
    """A commit that leaves the record alone."""
    return Commit(e164=E164, touch_record=False, **parts)


class RecordContract(StoreFixture):
    """The record: version, fields, tombstone, requests, guards."""

    def test_provides_its_interfaces(self: Any) -> None:
        self.assertTrue(verifyObject(IConferenceStore, self.store))
        self.assertTrue(verifyObject(IPlatformState, self.state))
        self.assertEqual(self.store.platform, "A")
        self.assertTrue(self.store.available)

    async def test_unknown_number_is_empty(self: Any) -> None:
        self.assertEqual(await self.store.load(E164), Loaded({}, {}, {}, None))
        self.assertEqual(await self.store.load(E164, "never"), Loaded({}, {}, {}, None))

    async def test_first_commit_makes_version_1_and_the_next_ones_count(self: Any) -> None:
        self.assertEqual(await self.store.commit(new(fields={"confname": "周会"})), CommitResult(Outcome.DONE))
        record = (await self.other.load(E164)).record
        self.assertEqual(
            record, {"first_epoch": FIRST, "epoch": FIRST, "state": "creating", "confname": "周会", "version": "1"}
        )
        again = step(1, set_fields={"state": "ongoing", "version": "99"}, set_conf={"begintime": "5", "duration": "0"})
        self.assertEqual(await self.store.commit(again), CommitResult(Outcome.DONE))
        loaded = await self.store.load(E164)
        self.assertEqual(loaded.record, {**record, "state": "ongoing", "version": "2"})
        self.assertEqual(loaded.conf, {"begintime": "5", "duration": "0"})
        await self.store.commit(step(2, set_conf={"duration": "9"}))
        self.assertEqual((await self.store.load(E164)).conf, {"begintime": "5", "duration": "9"})

    async def test_fields_are_dropped_and_what_is_set_too_is_kept(self: Any) -> None:
        await self.store.commit(new())
        await self.store.commit(step(1, drop_fields=("epoch", "state", "absent"), set_fields={"state": "x"}))
        self.assertEqual((await self.store.load(E164)).record, {"first_epoch": FIRST, "state": "x", "version": "2"})

    async def test_version_and_first_epoch_must_be_as_expected(self: Any) -> None:
        await self.store.commit(new())
        before = await self.dump()
        loaded = await self.store.load(E164)
        effects = {"set_fields": {"state": "no"}, "index_add": {"due": 1}, "outbox": (effect("1.1"),)}
        for wrong in ((FIRST, 2), (FIRST, 0), (LATER, 1), ("", 1), None):
            result = await self.store.commit(Commit(e164=E164, expected=wrong, **effects))
            self.assertEqual(result, CommitResult(Outcome.CONFLICT, loaded))
        missing = await self.store.commit(Commit(e164="999", expected=(FIRST, 1), **effects))
        self.assertEqual(missing, CommitResult(Outcome.CONFLICT, Loaded({}, {}, {}, None)))
        self.assertEqual(await self.dump(), before)

    async def test_one_of_many_competing_steps_wins(self: Any) -> None:
        await self.store.commit(new())
        stores = [self.store, self.other] * 10
        results = await together(*(each.commit(step(1, set_fields={"by": str(n)})) for n, each in enumerate(stores)))
        winners = [n for n, result in enumerate(results) if result.outcome is Outcome.DONE]
        self.assertEqual(len(winners), 1)
        record = (await self.store.load(E164)).record
        self.assertEqual((record["by"], record["version"]), (str(winners[0]), "2"))
        self.assertEqual({r.outcome for r in results}, {Outcome.DONE, Outcome.CONFLICT})

    async def test_deletion_leaves_a_tombstone_for_its_time(self: Any) -> None:
        await self.store.commit(new(set_conf={"confname": "x"}))
        stone = Tombstone({"epoch": FIRST, "reason": "released", "time": "1"}, 60)
        ended = step(1, delete_record=True, set_fields={"a": "b"}, set_conf={"a": "b"}, tombstone=stone)
        self.assertEqual((await self.store.commit(ended)).outcome, Outcome.DONE)
        self.assertEqual(await self.store.load(E164), Loaded({}, {}, stone.fields, None))
        self.assertEqual(list(await self.dump()), [f"css/ended/{E164}"])
        self.assertTrue(59_000 < await self.ttl_ms(f"css/ended/{E164}") <= 60_000)
        other = Tombstone({"epoch": LATER}, 60)
        await self.store.commit(Commit(e164=E164, delete_record=True, tombstone=other))
        self.assertEqual((await self.store.load(E164)).tombstone, other.fields)

    async def test_new_record_must_exceed_the_tombstone(self: Any) -> None:
        await self.store.commit(new(above_tombstone="1"))
        await self.store.commit(step(1, delete_record=True, tombstone=Tombstone({"epoch": FIRST}, 60)))
        for old in (FIRST, str(int(FIRST) - 1), "999"):
            result = await self.store.commit(new(above_tombstone=old))
            self.assertEqual(result, CommitResult(Outcome.OLD_EPOCH, Loaded({}, {}, {"epoch": FIRST}, None)))
        self.assertEqual((await self.store.commit(new(above_tombstone=LATER))).outcome, Outcome.DONE)

    async def test_requests_are_remembered_pending_then_answered(self: Any) -> None:
        await self.store.commit(new(request=RequestWrite("k/1", b"", 600, only_new=True)))
        self.assertEqual((await self.store.load(E164, "k/1")).request, b"")
        await self.store.commit(step(1, request=RequestWrite("k/1", b"\xffanswer\x00", 600)))
        self.assertEqual((await self.other.load(E164, "k/1")).request, b"\xffanswer\x00")
        self.assertTrue(599_000 < await self.ttl_ms("css/req/k/1") <= 600_000)

    async def test_a_repeated_request_is_a_duplicate_before_anything_else(self: Any) -> None:
        await self.store.commit(new(request=RequestWrite("k", b"yes", 600, only_new=True)))
        before = await self.dump()
        request = RequestWrite("k", b"other", 600, only_new=True)
        result = await self.store.commit(new(request=request, guards=(("css/nothing", "1"),)))
        self.assertEqual(result, CommitResult(Outcome.DUPLICATE, await self.store.load(E164, "k")))
        self.assertEqual(result.loaded.request, b"yes")
        self.assertEqual(await self.dump(), before)

    async def test_answers_of_other_requests_are_written_unchecked(self: Any) -> None:
        await self.store.commit(new(request=RequestWrite("mine", b"", 9, only_new=True)))
        answers = (RequestWrite("mine", b"1", 60, only_new=True), RequestWrite("else", b"\xfe2", 60))
        await self.store.commit(step(1, answers=answers, outbox=(effect("1.2", data=b"data"),)))
        self.assertEqual((await self.store.load(E164, "mine")).request, b"1")
        self.assertEqual((await self.store.load(E164, "else")).request, b"\xfe2")
        self.assertEqual((await self.dump())[f"css/out/A/cm/{E164}"], {"1.2": b"data"})

    async def test_commits_that_could_stop_half_way_are_refused_unsent(self: Any) -> None:
        for bad in (
            new(request=RequestWrite("k", b"", 0)),
            new(answers=(RequestWrite("k", b"", -1),)),
            new(tombstone=Tombstone({"epoch": "1"}, 0)),
            new(above_tombstone="one"),
        ):
            with self.assertRaises(ValueError):
                await self.store.commit(bad)
        self.assertEqual(await self.dump(), {})

    async def test_tombstones_and_requests_go_by_themselves(self: Any) -> None:
        stone = Tombstone({"epoch": "1"}, 1)
        await self.store.commit(
            Commit(e164=E164, delete_record=True, tombstone=stone, request=RequestWrite("k", b"", 1))
        )
        self.assertEqual(len(await self.dump()), 2)
        await self.wait_ms(1050)
        self.assertEqual(await self.store.load(E164, "k"), Loaded({}, {}, {}, None))
        self.assertEqual(await self.dump(), {})

    async def test_guards_must_hold(self: Any) -> None:
        await self.store.write_hashes({"domain/u1/info": {"name": "x"}}, bump="css/g")
        holds: tuple[tuple[str, str], ...] = (("css/g", "1"), ("css/absent", ""))
        for bad in (
            ("css/g", "2"),
            ("css/g", ""),
            ("css/absent", "1"),
            ("domain/u1/info", ""),
            ("domain/u1/info", "x"),
        ):
            result = await self.store.commit(new(guards=(*holds, bad)))
            self.assertEqual(result, CommitResult(Outcome.GUARD, None, bad[0]))
        self.assertEqual((await self.store.load(E164)).record, {})
        self.assertEqual((await self.store.commit(new(guards=holds))).outcome, Outcome.DONE)

    async def test_checks_come_in_their_order(self: Any) -> None:
        await self.store.commit(new(reserve=(seat("other"),), request=RequestWrite("k", b"", 60)))
        await self.store.commit(Commit(e164=E164, expected=(FIRST, 1), tombstone=Tombstone({"epoch": LATER}, 60)))
        await self.store.write_hashes({"domain/u1/license": {"smallconfnum": "1"}})
        parts: dict[str, Any] = {
            "e164": E164,
            "request": RequestWrite("k", b"", 60, only_new=True),
            "guards": (("css/absent", "1"),),
            "above_tombstone": FIRST,
            "reserve": (seat(),),
        }
        found = [(await self.store.commit(Commit(**parts))).outcome]
        for name, good in (("request", None), ("guards", ()), ("expected", (FIRST, 2)), ("above_tombstone", "")):
            parts[name] = good
            found.append((await self.store.commit(Commit(**parts))).outcome)
        order = [Outcome.DUPLICATE, Outcome.GUARD, Outcome.CONFLICT, Outcome.OLD_EPOCH, Outcome.LIMIT]
        self.assertEqual(found, order)

    async def test_untouched_record_is_neither_checked_nor_changed(self: Any) -> None:
        await self.store.commit(new())
        record = (await self.store.load(E164)).record
        commit = beside(
            expected=(LATER, 7),
            set_fields={"state": "no"},
            drop_fields=("epoch",),
            set_conf={"a": "b"},
            delete_record=True,
            tombstone=Tombstone({"epoch": "9"}, 60),
            above_tombstone="1",
            index_add={"due": 5},
            reserve=(seat(),),
            request=RequestWrite("k", b"x", 60),
            outbox=(effect("1.1"),),
        )
        self.assertEqual((await self.store.commit(commit)).outcome, Outcome.DONE)
        self.assertEqual(await self.store.load(E164, "k"), Loaded(record, {}, {}, b"x"))
        keys = {"css/index/due", "css/set/small/u1", "css/req/k", f"css/out/A/cm/{E164}"}
        self.assertLessEqual(keys, set(await self.dump()))
        repeated = beside(request=RequestWrite("k", b"y", 60, only_new=True))
        self.assertEqual((await self.store.commit(repeated)).outcome, Outcome.DUPLICATE)
        self.assertEqual((await self.store.commit(beside(guards=(("css/g", "1"),)))).outcome, Outcome.GUARD)


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

    async def test_reservations_of_one_step_count_together(self: Any) -> None:
        await self.limit("2")
        both = beside(reserve=(seat("a"), seat("b"), seat("a")))
        self.assertEqual((await self.store.commit(both)).outcome, Outcome.DONE)
        await self.store.commit(beside(unreserve=(("small/u1", "a"), ("small/u1", "b"))))
        three = beside(reserve=(seat("x", name="large/u1"), seat("a"), seat("b"), seat("c")), index_add={"due": 1})
        self.assertEqual((await self.store.commit(three)).detail, "small/u1")
        self.assertEqual(list(await self.dump()), ["domain/u1/license"])

    async def test_two_instances_never_take_more_than_there_is(self: Any) -> None:
        await self.limit("7")
        results = await together(
            *([self.store, self.other][n % 2].commit(new(str(n), reserve=(seat(str(n)),))) for n in range(40))
        )
        self.assertEqual(sum(result.outcome is Outcome.DONE for result in results), 7)
        self.assertEqual(await self.store.index_size("small/u1"), 7)
        self.assertEqual(sum(key.startswith("confex/") for key in await self.dump()), 7)


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
        for platform, lane in (("A", "cm"), ("A", "sql"), ("B", "cm")):
            await self.store.clear_outbox(platform, lane, [(E164, "9.1"), (E164, "8.8"), ("unknown", "1.1")])
            self.assertNotIn(lane, await self.store.outbox_lanes(platform))
        self.assertEqual(list(await self.dump()), [f"confex/{E164}"])
        await self.store.clear_outbox("A", "cm", [])

    async def test_entries_come_in_the_order_of_their_commits(self: Any) -> None:
        marks = ["10.2", "9.10", "9.9", "10.10", f"{FIRST}.3", f"{LATER}.1"]
        for mark in marks:
            await self.store.commit(beside(outbox=(effect(mark),)))
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


class StoreContract(RecordContract, ReservationContract, IndexContract, OutboxContract, HashContract):
    """All of `IConferenceStore`."""
