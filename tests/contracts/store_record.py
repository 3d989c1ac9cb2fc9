"""What every `IConferenceStore` does with a record, its requests, its tombstone."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from css.ports.store import (
    Commit,
    CommitResult,
    IConferenceStore,
    IPlatformState,
    Loaded,
    Outcome,
    RequestWrite,
    Tombstone,
    WrongType,
)
from tests.contracts.storecase import E164, FIRST, LATER, StoreFixture, beside, effect, new, seat, step, together


class RecordContract(StoreFixture):
    """The record: version, fields, tombstone, requests, guards."""

    def test_provides_its_interfaces(self: Any) -> None:
        self.assertTrue(verifyObject(IConferenceStore, self.store))
        self.assertTrue(verifyObject(IPlatformState, self.state))
        self.assertEqual(self.store.platform, "A")
        self.assertTrue(self.store.available)
        self.assertEqual(self.store.links, 1)

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
        effects: dict[str, Any] = {"set_fields": {"state": "no"}, "index_add": {"due": 1}, "outbox": (effect("1.1"),)}
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

    async def test_a_key_of_another_type_is_told_from_a_store_that_is_away(self: Any) -> None:
        await self.store.commit(beside(strings={f"confex/{E164}": "somebody else's"}))
        for work in (self.store.load(E164), self.store.commit(new())):
            with self.assertRaises(WrongType):
                await work
        self.assertEqual(await self.store.load("another"), Loaded({}, {}, {}, None))

    async def test_what_has_no_record_is_dropped_from_an_index(self: Any) -> None:
        drop = Commit(e164=E164, delete_record=True, index_drop=("due/A",))
        await self.store.commit(beside(index_add={"due/A": 7, "due/B": 7}))
        self.assertEqual((await self.store.commit(drop)).outcome, Outcome.DONE)
        self.assertEqual(await self.dump(), {"css/index/due/B": {E164: 7}})
        await self.store.commit(new(index_add={"due/A": 7}))
        self.assertEqual((await self.store.commit(drop)).outcome, Outcome.CONFLICT)
        self.assertEqual((await self.dump())["css/index/due/A"], {E164: 7})

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
