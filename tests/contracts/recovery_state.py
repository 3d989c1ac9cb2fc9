"""What every `IPlatformState` and `IConferenceStore` does for recovery and sync, on the store contract's fixture."""

from __future__ import annotations

from typing import Any

from css.ports.store import Commit, ListMark, McuSeen
from tests.contracts.storecase import FIRST, StoreFixture, beside, new, together

IP = "10.0.0.1"
NOW = 1_800_000_000_000
LEASE = 60_000


class ProcessContract(StoreFixture):
    """Who has gone."""

    async def gone(self: Any, silent: int, lease: int = LEASE, limit: int = 9) -> list[tuple[str, int]]:
        """(pid, time) of what is claimed."""
        return [(each.pid, each.time_ms) for each in await self.state.claim_gone(silent, lease, limit)]

    async def test_silent_and_disconnected_ones_longest_gone_first(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, pid, NOW + n) for n, pid in enumerate("abc")] + [McuSeen(IP, "d", 0)])
        self.assertEqual(await self.gone(1), [("d", 0)])
        self.assertEqual(await self.gone(NOW + 2), [("a", NOW), ("b", NOW + 1)])
        self.assertEqual(await self.gone(NOW + 9), [("c", NOW + 2)])
        self.assertEqual(await self.gone(NOW + 9), [])

    async def test_claimed_by_one_until_the_lease_is_over(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, str(n), 0) for n in range(5)])
        claims = await together(self.state.claim_gone(1, 100, 3), self.other_state.claim_gone(1, 100, 3))
        self.assertEqual(sorted(each.pid for claim in claims for each in claim), list("01234"))
        self.assertEqual(await self.gone(1), [])
        await self.wait_ms(150)
        self.assertEqual(len(await self.gone(1)), 5)

    async def test_heard_of_again(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, "a", NOW)])
        claimed = await self.state.claim_gone(NOW + 1, LEASE, 9)
        await self.state.note_seen([McuSeen(IP, "a", NOW + 5)])
        await self.state.forget_processes(claimed)
        self.assertEqual(await self.state.known_processes(), 1)
        self.assertEqual(await self.gone(NOW + 5), [])
        self.assertEqual(await self.gone(NOW + 6), [("a", NOW + 5)])

    async def test_forgotten_until_heard_of_again(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, "a", NOW), McuSeen("10.0.0.2", "a b", 0)])
        claimed = await self.state.claim_gone(NOW + 1, LEASE, 9)
        self.assertEqual([(each.ip, each.pid) for each in claimed], [("10.0.0.2", "a b"), (IP, "a")])
        await self.state.forget_processes([*claimed, McuSeen("10.9.9.9", "x", 0)])
        await self.state.forget_processes([])
        self.assertEqual((await self.state.known_processes(), await self.gone(NOW + 9)), (0, []))
        await self.state.note_seen([McuSeen(IP, "a", NOW)])
        self.assertEqual(await self.gone(NOW + 9), [("a", NOW)])

    async def test_expected_ones_are_judged_from_now_on(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, "a", NOW), McuSeen(IP, "b", 0)])
        await self.state.expect_processes([(IP, "a"), (IP, "b"), (IP, "c d")])
        await self.state.expect_processes([])
        known = dict(await self.gone(2 * NOW))
        self.assertEqual((known["a"], known["b"]), (NOW, 0))
        self.assertGreater(known["c d"], 0)
        self.assertNotIn("c d", await self.state.processes_of(IP))

    async def test_counted(self: Any) -> None:
        self.assertEqual((await self.state.known_processes(), await self.state.known_processes(NOW)), (0, 0))
        await self.state.note_seen([McuSeen(IP, "a", NOW), McuSeen(IP, "b", NOW + 1), McuSeen(IP, "c", 0)])
        counts = [await self.other_state.known_processes(before) for before in (0, NOW, NOW + 1, NOW + 2)]
        self.assertEqual(counts, [3, 0, 1, 2])

    async def test_processes_of_a_host(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, "a", NOW, "r1"), McuSeen(IP, "b", 0), McuSeen("10.0.0.2", "c", NOW)])
        self.assertEqual(await self.state.processes_of(IP), {"a": NOW, "b": 0})
        self.assertEqual(await self.state.processes_of("10.9.9.9"), {})

    async def test_replacements(self: Any) -> None:
        self.assertFalse(await self.state.is_replacement_known(IP, "a"))
        await self.state.note_seen([McuSeen(IP, "a", NOW)])
        await self.state.note_replacement(IP, "a")
        known = [
            await self.other_state.is_replacement_known(*each) for each in ((IP, "a"), (IP, "b"), ("10.9.9.9", "a"))
        ]
        self.assertEqual(known, [True, False, False])
        self.assertTrue(86_390_000 < await self.ttl_ms(f"css/replaced/{IP}") <= 86_400_000)
        await self.state.forget_processes([McuSeen(IP, "a", NOW)])
        self.assertFalse(await self.state.is_replacement_known(IP, "a"))


class FlapContract(StoreFixture):
    """Hosts that are lost again and again."""

    async def lose(self: Any, pid: str = "a", times: int = 1) -> None:
        """A process comes, or comes back, and disconnects."""
        for _ in range(times):
            await self.state.note_seen([McuSeen(IP, pid, NOW)])
            await self.other_state.note_seen([McuSeen(IP, pid, 0)])
        await self.state.note_seen([McuSeen(IP, pid, NOW)])

    async def avoided(self: Any, flap_ms: int = LEASE) -> bool:
        """Whether another host is taken, though it comes later."""
        booking = await self.state.book("t", [IP, "10.0.0.2"], "", 0, LEASE, flap_ms)
        await self.state.unbook([(booking.ip, "t")])
        return bool(booking.ip != IP)

    async def test_from_the_second_loss_on(self: Any) -> None:
        await self.lose()
        self.assertFalse(await self.avoided())
        await self.lose()
        self.assertTrue(await self.avoided())
        self.assertFalse(await self.avoided(0))
        self.assertTrue(1_199_000 < await self.ttl_ms(f"css/losses/{IP}") <= 1_200_000)

    async def test_twice_as_long_with_each_loss(self: Any) -> None:
        await self.lose(times=2)
        await self.wait_ms(150)
        self.assertEqual([await self.avoided(flap_ms) for flap_ms in (100, 2_000)], [False, True])
        await self.lose()
        await self.wait_ms(150)
        self.assertEqual([await self.avoided(flap_ms) for flap_ms in (50, 1_000)], [False, True])
        await self.lose(times=9)
        await self.wait_ms(150)
        self.assertEqual([await self.avoided(flap_ms) for flap_ms in (4, 60)], [False, True])

    async def test_better_than_no_host_and_by_load_among_themselves(self: Any) -> None:
        for ip in (IP, "10.0.0.2"):
            for _ in range(2):
                await self.state.note_seen([McuSeen(ip, "a", NOW), McuSeen(ip, "a", 0)])
        await self.state.note_seen([McuSeen(IP, "a", NOW), McuSeen("10.0.0.2", "a", NOW)])
        hosts = [IP, "10.0.0.2"]
        booked = [await self.state.book(str(n), hosts, "", 0, LEASE, LEASE) for n in range(4)]
        self.assertEqual([each.ip for each in booked], [*hosts, *hosts])

    async def test_a_loss_told_twice_is_one(self: Any) -> None:
        await self.lose()
        await self.state.note_seen([McuSeen(IP, "a", 0)])
        await self.state.note_seen([McuSeen(IP, "a", 0)])
        self.assertEqual((await self.dump())[f"css/losses/{IP}"]["count"], "2")
        await self.state.forget_processes([McuSeen(IP, "a", 0)])
        await self.state.note_seen([McuSeen(IP, "never heard of", 0)])
        self.assertEqual((await self.dump())[f"css/losses/{IP}"]["count"], "2")

    async def test_what_is_lost_together_is_one_loss(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, pid, NOW) for pid in "abc"])
        await self.state.note_seen([McuSeen(IP, pid, 0) for pid in "ab"])
        await self.state.forget_processes([McuSeen(IP, "c", NOW)])
        self.assertEqual((await self.dump())[f"css/losses/{IP}"]["count"], "1")

    async def test_silence_is_a_loss(self: Any) -> None:
        for n in range(2):
            await self.state.note_seen([McuSeen(IP, "a", NOW + n)])
            await self.state.forget_processes([McuSeen(IP, "a", NOW + n)])
        await self.state.note_seen([McuSeen(IP, "a", NOW + 9)])
        await self.state.forget_processes([McuSeen(IP, "a", NOW)])  # heard of since
        self.assertEqual((await self.dump())[f"css/losses/{IP}"]["count"], "2")
        self.assertTrue(await self.avoided())


class ListContract(StoreFixture):
    """Numbers of lists, and what they show that nobody knows."""

    async def accepts(self: Any, *lists: tuple[Any, ...], pid: str = "a", patience: int = LEASE) -> list[bool]:
        """Lists one after the other, as (seq, time, restarted)."""
        return [await self.state.accept_list(IP, pid, ListMark(*each), patience) for each in lists]

    async def test_older_lists_are_refused(self: Any) -> None:
        self.assertEqual(await self.accepts((5,), (4,), (5,), (6,), (0,)), [True, False, True, True, False])
        self.assertTrue(await self.other_state.accept_list(IP, "b", ListMark(0), LEASE))
        self.assertTrue(86_390_000 < await self.ttl_ms(f"css/listseq/{IP}") <= 86_400_000)

    async def test_a_process_that_was_forgotten_counts_anew(self: Any) -> None:
        await self.state.note_seen([McuSeen(IP, "a", NOW)])
        await self.accepts((5,))
        await self.state.forget_processes([McuSeen(IP, "a", NOW)])
        self.assertEqual(await self.accepts((1,)), [True])

    async def test_a_process_that_disconnected_counts_anew(self: Any) -> None:
        await self.accepts((5,))
        await self.accepts((5,), pid="b")
        await self.state.note_seen([McuSeen(IP, "a", NOW), McuSeen(IP, "b", 0)])
        self.assertEqual(await self.accepts((1,)), [False])
        self.assertEqual(await self.accepts((1,), pid="b"), [True])

    async def test_a_restart_counts_anew_if_it_is_later(self: Any) -> None:
        lists = ((5, 50, False), (1, 49, True), (1, 51, True), (2, 52, False), (1, 51, True), (3, 53, True), (0, 60))
        self.assertEqual(await self.accepts(*lists), [True, False, True, True, False, True, False])
        self.assertEqual(await self.accepts((2, 53, True), (1, 53, True), (2, 40, False)), [False, True, True])

    async def test_a_restart_without_a_time_counts_anew_from_the_first_number_on(self: Any) -> None:
        lists = ((2, None, True), (5, None, True), (4, None, True), (3, 40, True), (2, None, True), (3, None, False))
        self.assertEqual(await self.accepts(*lists), [True, True, False, False, True, True])
        self.assertEqual(await self.accepts((1, None, True), (0, None, True), (2, None, True)), [True, True, True])

    async def test_without_an_accepted_list_for_long_it_counts_anew(self: Any) -> None:
        self.assertEqual(await self.accepts((5,), (4,), patience=150), [True, False])
        await self.wait_ms(200)
        self.assertEqual(await self.accepts((3,), (2,), (4,), patience=150), [True, False, True])

    async def test_unknown_conferences_keep_their_time(self: Any) -> None:
        first = await self.state.unknown_since(IP, "a", ["1", "2"])
        await self.wait_ms(20)
        second = await self.other_state.unknown_since(IP, "a", ["2", "3"])
        self.assertEqual(second["2"], first["2"])
        self.assertGreaterEqual(second["3"], first["2"] + 20)
        third = await self.state.unknown_since(IP, "a", ["1"])
        self.assertGreaterEqual(third["1"], second["3"])
        self.assertEqual(set(await self.state.unknown_since(IP, "b", ["1"])), {"1"})
        for pid in "ab":
            self.assertEqual(await self.state.unknown_since(IP, pid, []), {})
        self.assertEqual(await self.dump(), {})


class LoadContract(StoreFixture):
    """Placements that nobody booked."""

    async def test_counted_and_checked_like_bookings(self: Any) -> None:
        await self.state.rebook([(IP, "1:1"), (IP, "2:1"), ("10.0.0.2", "3:1")], 100)
        await self.state.rebook([(IP, "1:1")], 100)
        await self.state.rebook([], 100)
        self.assertEqual(await self.other_state.loads([IP, "10.0.0.2"]), {IP: 2, "10.0.0.2": 1})
        self.assertEqual(await self.state.claim_bookings(100, 9), [])
        await self.wait_ms(150)
        claimed = await self.state.claim_bookings(100, 9)
        self.assertEqual(sorted(claimed), [(IP, "1:1"), (IP, "2:1"), ("10.0.0.2", "3:1")])
        await self.state.unbook(claimed)
        self.assertEqual(await self.dump(), {})


class RateContract(StoreFixture):
    """A bucket that all instances share."""

    async def test_full_at_first_then_at_its_rate(self: Any) -> None:
        self.assertEqual(await self.state.draw("b", 0.001, 5, 3), 3)
        self.assertEqual(await self.other_state.draw("b", 0.001, 5, 3), 2)
        self.assertEqual(await self.state.draw("b", 0.001, 5, 3), 0)
        self.assertEqual(await self.state.draw("other", 0.001, 5, 9), 5)

    async def test_it_fills_and_not_over(self: Any) -> None:
        self.assertEqual(await self.state.draw("b", 20.0, 4, 9), 4)
        await self.wait_ms(110)
        drawn = await self.state.draw("b", 20.0, 4, 9)
        self.assertTrue(2 <= drawn <= 4, drawn)
        await self.wait_ms(400)
        self.assertEqual(await self.state.draw("b", 20.0, 4, 9), 4)

    async def test_parts_of_a_token_are_kept(self: Any) -> None:
        self.assertEqual(await self.state.draw("b", 5.0, 1, 1), 1)
        drawn = 0
        for _ in range(5):
            await self.wait_ms(45)
            drawn += await self.state.draw("b", 5.0, 1, 1)
        self.assertTrue(drawn >= 1, drawn)

    async def test_it_goes_when_nobody_draws(self: Any) -> None:
        await self.state.draw("b", 1.0, 5, 1)
        self.assertTrue(60_000 < await self.ttl_ms("css/bucket/b") <= 65_000)


class DutyContract(StoreFixture):
    """Whether the platform is on duty, and since when it is so again."""

    async def test_never_off_duty(self: Any) -> None:
        self.assertEqual((await self.state.note_duty(True), await self.dump()), (0, {}))

    async def test_on_duty_again(self: Any) -> None:
        before = await self.store.now_ms()
        for _ in range(2):
            self.assertEqual(await self.state.note_duty(False), 0)
        resumed = await self.other_state.note_duty(True)
        self.assertTrue(before <= resumed <= await self.store.now_ms())
        await self.wait_ms(20)
        self.assertEqual(await self.state.note_duty(True), resumed)
        await self.state.note_duty(False)
        self.assertGreaterEqual(await self.state.note_duty(True), resumed + 20)


class SyncStoreContract(StoreFixture):
    """What a list is compared with."""

    async def running(self: Any, e164: str, **fields: str) -> None:
        """A record that runs on process `a`."""
        placed = {"state": "ongoing", "ip": IP, "pid": "a", **fields}
        await self.store.commit(new(e164, fields=placed))

    async def test_only_what_differs(self: Any) -> None:
        await self.running("1")
        await self.running("2", state="pending_restore")
        await self.running("3", pid="b")
        await self.running("4", ip="10.0.0.2")
        await self.running("5", missed="[1,1]")
        await self.running("6", epoch="7")
        pairs = [(str(n), FIRST) for n in range(1, 8)]
        self.assertEqual(await self.store.differing(IP, "a", pairs), ["2", "3", "4", "5", "6", "7"])
        self.assertEqual(await self.store.differing(IP, "a", [("1", ""), ("6", ""), ("7", "")]), ["7"])
        self.assertEqual(await self.store.differing(IP, "a", []), [])
        await self.store.commit(Commit(e164="8", touch_record=False, strings={"confex/8": "somebody else's"}))
        self.assertEqual(await self.store.differing(IP, "a", [("1", ""), ("8", FIRST)]), ["8"])

    async def test_overdue_ones_are_found_and_not_claimed(self: Any) -> None:
        for e164, due in (("1", 7), ("2", 5), ("3", 9), ("4", 6)):
            await self.store.commit(Commit(e164=e164, touch_record=False, index_add={"due/B": due}))
        for _ in range(2):
            self.assertEqual(await self.store.due_before("due/B", 7, 9), ["2", "4", "1"])
        self.assertEqual(await self.other.due_before("due/B", 7, 2), ["2", "4"])
        self.assertEqual(await self.store.due_before("due/B", 4, 9), [])
        self.assertEqual(await self.store.due_before("none", 7, 9), [])


class RestoreQueueContract(StoreFixture):
    """The queue of those that wait to be restored."""

    async def waiting(self: Any, e164: str, due: int, urgency: int) -> None:
        """One that waits; `due` in milliseconds from now."""
        index_add = {"restore/A": await self.store.now_ms() + due, "urgency/A": urgency}
        await self.store.commit(Commit(e164=e164, touch_record=False, index_add=index_add))

    async def test_the_most_urgent_of_those_that_are_due(self: Any) -> None:
        for e164, due, urgency in (("1", -9, 7), ("2", -8, 5), ("3", -7, 6), ("4", 60_000, 1), ("02", -6, 6)):
            await self.waiting(e164, due, urgency)
        self.assertEqual(await self.store.claim_restores(LEASE, 9), [])
        self.assertEqual(await self.store.ready_restores(9), (4, False))
        self.assertEqual(await self.other.claim_restores(LEASE, 3), ["2", "02", "3"])
        self.assertEqual(await self.other.ready_restores(9), (1, False))
        self.assertEqual(await self.store.claim_restores(LEASE, 3), ["1"])
        self.assertEqual(await self.store.claim_restores(LEASE, 3), [])
        self.assertEqual([await self.store.index_size(f"{name}/A") for name in ("restore", "ready")], [5, 0])

    async def test_in_parts(self: Any) -> None:
        for n in range(5):
            await self.waiting(str(n), n - 9, 9 - n)
        found = [await self.store.ready_restores(2) for _ in range(4)]
        self.assertEqual(found, [(2, True), (4, True), (5, False), (5, False)])
        self.assertEqual(await self.store.claim_restores(LEASE, 9), ["4", "3", "2", "1", "0"])

    async def test_of_the_stores_own_platform_only(self: Any) -> None:
        await self.store.commit(beside(index_add={"restore/B": 1, "urgency/B": 1}))
        self.assertEqual(await self.store.ready_restores(9), (0, False))

    async def test_claimed_until_the_lease_is_over(self: Any) -> None:
        for n in range(12):
            await self.waiting(str(n), -1, n)
        await self.store.ready_restores(99)
        claims = await together(*([self.store, self.other][n % 2].claim_restores(100, 3) for n in range(5)))
        self.assertEqual(sorted(int(e164) for claim in claims for e164 in claim), list(range(12)))
        self.assertEqual(await self.store.ready_restores(99), (0, False))
        await self.wait_ms(150)
        self.assertEqual(await self.store.ready_restores(99), (12, False))

    async def test_one_that_left_meanwhile_stays_away(self: Any) -> None:
        await self.waiting("1", -1, 5)
        await self.store.ready_restores(9)
        dropped = ("restore/A", "urgency/A", "ready/A")
        await self.store.commit(Commit(e164="1", touch_record=False, index_drop=dropped))
        self.assertEqual(await self.store.claim_restores(LEASE, 9), [])
        self.assertEqual(await self.dump(), {})

    async def test_without_a_known_urgency_it_goes_first(self: Any) -> None:
        await self.waiting("1", -1, 0)
        await self.store.commit(Commit(e164="2", touch_record=False, index_add={"restore/A": 1}))
        await self.store.commit(Commit(e164="1", touch_record=False, index_add={"urgency/A": 1}))
        await self.store.ready_restores(9)
        self.assertEqual(await self.store.claim_restores(LEASE, 9), ["2", "1"])


class RecoveryStateContract(
    ProcessContract,
    FlapContract,
    ListContract,
    LoadContract,
    RateContract,
    DutyContract,
    SyncStoreContract,
    RestoreQueueContract,
):
    """All of it."""
