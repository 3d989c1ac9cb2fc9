"""What every `IPlatformState` does, on the fixture of the store contract."""

from __future__ import annotations

from collections import Counter
from typing import Any

from css.ports.placing import Standing, Terms, choose
from css.ports.store import Booking, McuHost, McuSeen, StoreError
from tests.contracts.storecase import StoreFixture, together

HOSTS = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
LEASE = 60_000


class BookingContract(StoreFixture):
    """Load and booking."""

    async def booked(self: Any, token: str, hosts: list[str] = HOSTS, room: str = "r1", silent: int = 0) -> str | None:
        booking: Booking | None = await self.state.book(token, hosts, room, silent, LEASE)
        return None if booking is None else booking.ip

    async def test_least_loaded_host_is_booked_the_first_of_equals(self: Any) -> None:
        self.assertEqual([await self.booked(f"{n}:1") for n in range(4)], [*HOSTS, HOSTS[0]])
        self.assertEqual(await self.booked("4:1", [HOSTS[2], HOSTS[0], HOSTS[1]]), HOSTS[2])
        self.assertEqual(
            await self.other_state.loads([*HOSTS, "10.9.9.9"]),
            dict(zip([*HOSTS, "10.9.9.9"], [2, 1, 2, 0], strict=True)),
        )
        self.assertIsNone(await self.booked("5:1", []))

    async def test_a_booked_token_keeps_its_place(self: Any) -> None:
        self.assertEqual(await self.booked("1:1"), HOSTS[0])
        self.assertEqual(await self.booked("1:1"), HOSTS[0])
        self.assertEqual(await self.booked("1:1", HOSTS[1:]), HOSTS[0])
        self.assertEqual(await self.state.loads(HOSTS), {HOSTS[0]: 1, HOSTS[1]: 0, HOSTS[2]: 0})

    async def test_unbooking_gives_the_load_back_and_leaves_nothing(self: Any) -> None:
        await self.booked("1:1")
        await self.booked("2:1")
        await self.state.unbook([(HOSTS[1], "1:1")])  # not its host
        self.assertEqual(await self.booked("1:1"), HOSTS[0])
        await self.state.unbook([(HOSTS[0], "1:1"), (HOSTS[1], "2:1"), ("10.9.9.9", "none")])
        await self.state.unbook([])
        self.assertEqual(await self.dump(), {})

    async def test_two_instances_spread_evenly(self: Any) -> None:
        states = [self.state, self.other_state]
        bookings = await together(*(states[n % 2].book(f"{n}:1", HOSTS, "", 0, LEASE) for n in range(60)))
        self.assertEqual(Counter(each.ip for each in bookings), Counter(dict.fromkeys(HOSTS, 20)))

    async def test_bookings_are_checked_after_their_lease_until_settled(self: Any) -> None:
        await self.state.book("1:1", HOSTS, "", 0, 100)
        await self.state.book("2:1", HOSTS, "", 0, 100)
        await self.state.book("3:1", HOSTS, "", 0, LEASE)
        self.assertEqual(await self.state.claim_bookings(100, 9), [])
        await self.wait_ms(150)
        claims = await together(self.state.claim_bookings(LEASE, 1), self.other_state.claim_bookings(100, 9))
        self.assertEqual(sorted(claims[0] + claims[1]), [(HOSTS[0], "1:1"), (HOSTS[1], "2:1")])
        self.assertEqual((len(claims[0]), len(claims[1])), (1, 1))
        await self.state.settle_bookings(claims[0])
        await self.wait_ms(150)
        self.assertEqual(await self.state.claim_bookings(100, 9), claims[1])
        await self.state.settle_bookings([*claims[1], ("10.9.9.9", "none")])
        await self.wait_ms(150)
        self.assertEqual(await self.state.claim_bookings(100, 9), [])
        self.assertEqual(await self.state.loads(HOSTS), dict.fromkeys(HOSTS, 1))

    async def test_penalty_counts_and_decays(self: Any) -> None:
        await self.state.penalise(HOSTS[0], 2, 1)
        self.assertEqual([await self.booked(f"{n}", HOSTS[:2]) for n in range(2)], [HOSTS[1], HOSTS[1]])
        self.assertEqual(await self.state.loads(HOSTS[:1]), {HOSTS[0]: 0})
        await self.wait_ms(600)  # less than one conference is left of it
        self.assertEqual(await self.booked("x", HOSTS[:2]), HOSTS[0])
        await self.wait_ms(450)
        self.assertNotIn(f"css/penalty/{HOSTS[0]}", await self.dump())

    async def test_penalties_add_up(self: Any) -> None:
        await self.state.penalise(HOSTS[0], 3, 100)
        await self.other_state.penalise(HOSTS[0], 2, 50)
        penalty = (await self.dump())[f"css/penalty/{HOSTS[0]}"]
        self.assertTrue(4_800 < int(penalty["thousandths"]) <= 5_000)
        self.assertEqual(int(penalty["until"]) - int(penalty["from"]), 50_000)
        self.assertTrue(49_000 < await self.ttl_ms(f"css/penalty/{HOSTS[0]}") <= 50_000)


class HostContract(StoreFixture):
    """Which hosts are left out."""

    async def fit(self: Any, silent: int = 0, room: str = "r1") -> bool:
        """Is the first host fit for a booking?"""
        booking = await self.state.book("probe", HOSTS[:1], room, silent, LEASE)
        if booking is not None:
            await self.state.unbook([(booking.ip, "probe")])
        return booking is not None

    async def test_drained_hosts_are_left_out(self: Any) -> None:
        await self.state.set_drained(HOSTS[0], True)
        self.assertFalse(await self.fit())
        await self.state.set_drained(HOSTS[0], False)
        self.assertTrue(await self.fit())

    async def test_host_is_out_when_all_its_processes_are_silent_or_disconnected(self: Any) -> None:
        self.assertTrue(await self.fit(silent=10**15))  # never heard of
        await self.state.note_seen([McuSeen(HOSTS[0], "1", 1000), McuSeen(HOSTS[0], "2", 2000)])
        self.assertTrue(await self.fit(silent=2000))
        self.assertFalse(await self.fit(silent=2001))
        await self.state.note_seen([McuSeen(HOSTS[0], "2", 0)])
        self.assertTrue(await self.fit(silent=1000))
        self.assertFalse(await self.fit(silent=1001))
        await self.state.note_seen([McuSeen(HOSTS[0], "1", 0)])
        self.assertFalse(await self.fit(silent=0))

    async def test_late_signs_take_nothing_back(self: Any) -> None:
        await self.state.note_seen([McuSeen(HOSTS[0], "1", 2000), McuSeen(HOSTS[0], "1", 1000)])
        self.assertTrue(await self.fit(silent=2000))
        await self.state.note_seen([])

    async def test_hosts_of_abnormal_rooms_are_left_out(self: Any) -> None:
        await self.state.replace_rooms(["r1"])
        self.assertEqual((await self.fit(room="r1"), await self.fit(room="r2")), (False, True))
        await self.state.note_seen([McuSeen(HOSTS[0], "1", 1000, "r2")])
        self.assertEqual(await self.state.book("t", HOSTS[:1], "r1", 0, LEASE), Booking(HOSTS[0], "r2"))
        self.assertEqual(await self.state.book("t", HOSTS[:1], "r1", 0, LEASE), Booking(HOSTS[0], "r2"))
        await self.state.note_seen([McuSeen(HOSTS[0], "1", 1000)])  # no room given: the known one stays
        self.assertTrue(await self.fit(room="r1"))
        await self.state.set_room("r2", True)
        self.assertFalse(await self.fit(room="r3"))

    async def test_processes_long_gone_are_forgotten_when_they_are_many(self: Any) -> None:
        now = 1_800_000_000_000
        await self.state.note_seen([McuSeen(HOSTS[0], str(n), now, "r1") for n in range(40)])
        await self.state.note_seen([McuSeen(HOSTS[0], "new", now + 3_600_001), McuSeen(HOSTS[0], "0", 0)])
        self.assertEqual(
            (await self.dump())[f"css/mcu/{HOSTS[0]}"],
            {"roommoid": "r1", "pid:new": str(now + 3_600_001), "pid:0": "0"},
        )


class OperatorContract(StoreFixture):
    """What a person does and sees."""

    async def test_hosts(self: Any) -> None:
        self.assertEqual(await self.state.hosts(), [])
        await self.state.note_seen(
            [McuSeen(HOSTS[1], "11", 1_800_000_000_000, "r1"), McuSeen(HOSTS[1], "a b", 0), McuSeen(HOSTS[0], "1", 7)]
        )
        await self.state.book("t", HOSTS[1:2], "", 0, LEASE)
        await self.state.set_drained(HOSTS[2], True)
        await self.state.note_seen([McuSeen(HOSTS[0], "1", 0)])
        expected = [
            McuHost(HOSTS[0], "", {"1": 0}, 0, False, 1),
            McuHost(HOSTS[1], "r1", {"11": 1_800_000_000_000, "a b": 0}, 1, False, 0),
            McuHost(HOSTS[2], "", {}, 0, True, 0),
        ]
        self.assertEqual(await self.other_state.hosts(), expected)
        await self.state.set_drained(HOSTS[2], False)
        self.assertEqual(await self.state.hosts(), expected[:2])

    async def test_standings(self: Any) -> None:
        """All that `book` looks at; nothing is changed, and by the shared rules it leads to what `book` chooses."""
        now = await self.store.now_ms()
        await self.state.note_seen([McuSeen(HOSTS[0], "1", now, "r1"), McuSeen(HOSTS[1], "a b", now, "r2")])
        await self.state.note_seen([McuSeen(HOSTS[1], "a b", 0), McuSeen(HOSTS[1], "2", now, "r2")])
        await self.state.book("t", HOSTS[:1], "", 0, LEASE)
        await self.state.set_drained(HOSTS[2], True)
        before = await self.dump()
        first, second, third = await self.other_state.standings(HOSTS)
        self.assertEqual(first, Standing(ip=HOSTS[0], roommoid="r1", seen={"1": now}, load=1))
        self.assertEqual(second.seen, {"a b": 0, "2": now})
        self.assertEqual((second.roommoid, second.load, second.losses), ("r2", 0, 1))
        self.assertTrue(now <= second.lost_ms < now + 30_000, second)
        self.assertEqual(third, Standing(ip=HOSTS[2], drained=True))
        self.assertEqual(await self.state.standings([]), [])
        self.assertEqual(await self.dump(), before)

    async def test_standings_lead_to_what_is_booked(self: Any) -> None:
        """Load, penalty, drain, room, silence and flapping, one after another."""
        now = await self.store.now_ms()
        await self.state.note_seen([McuSeen(ip, "1", now, f"r{n}") for n, ip in enumerate(HOSTS)])
        obstacles = (
            lambda: self.state.penalise(HOSTS[0], 9, 3_600),
            lambda: self.state.set_drained(HOSTS[1], True),
            lambda: self.state.set_room("r2", True),
            lambda: self.state.note_seen([McuSeen(HOSTS[0], "1", 0)]),
            lambda: self.state.replace_rooms([]),
            lambda: self.state.forget_processes([McuSeen(HOSTS[2], "1", now)]),
            lambda: self.state.note_seen([McuSeen(HOSTS[0], "2", now + 1), McuSeen(HOSTS[0], "2", 0)]),
            lambda: self.state.set_drained(HOSTS[1], False),
            lambda: self.state.note_seen([McuSeen(HOSTS[0], "3", now + 2), McuSeen(HOSTS[2], "3", now + 2)]),
        )
        chosen = []
        for number, obstruct in enumerate(obstacles):
            await obstruct()
            rooms = frozenset(await self.state.abnormal_rooms())
            terms = Terms("r0", rooms, now, LEASE, await self.store.now_ms())
            expected = choose(await self.state.standings(HOSTS), terms)
            booked = await self.state.book(f"t{number}", HOSTS, "r0", now, LEASE, LEASE)
            self.assertEqual(expected and expected.ip, booked and booked.ip, number)
            chosen.append(HOSTS.index(booked.ip) if booked else None)
        self.assertEqual(chosen[:4], [1, 2, 0, None])
        self.assertEqual(len({*chosen}), 4, chosen)

    async def test_pausing(self: Any) -> None:
        self.assertFalse(await self.state.is_paused())
        for _ in range(2):
            await self.state.set_paused(True)
            self.assertTrue(await self.other_state.is_paused())
        for _ in range(2):
            await self.state.set_paused(False)
            self.assertFalse(await self.other_state.is_paused())
        self.assertEqual(await self.dump(), {})


class RoomContract(StoreFixture):
    """Rooms."""

    async def test_rooms_change_and_say_so(self: Any) -> None:
        changes = [await self.state.set_room("r1", each) for each in (False, True, True, False, True)]
        self.assertEqual(changes, [False, True, False, True, True])
        self.assertEqual(await self.other_state.abnormal_rooms(), {"r1"})
        await self.state.replace_rooms(["r2", "r3"])
        self.assertEqual(await self.state.abnormal_rooms(), {"r2", "r3"})
        await self.state.replace_rooms([])
        self.assertEqual(await self.state.abnormal_rooms(), set())
        self.assertEqual(await self.dump(), {})

    async def test_older_news_of_a_room_is_ignored(self: Any) -> None:
        self.assertTrue(await self.state.set_room("r1", True, 5))
        self.assertFalse(await self.state.set_room("r1", False, 5))
        self.assertFalse(await self.state.set_room("r1", False, 4))
        self.assertTrue(await self.state.set_room("r2", True, 0))
        self.assertEqual(await self.state.abnormal_rooms(), {"r1", "r2"})
        self.assertTrue(await self.state.set_room("r1", False))  # without a number it counts
        self.assertFalse(await self.state.set_room("r1", False, 6))
        self.assertTrue(await self.state.set_room("r1", True, 7))


class SlotContract(StoreFixture):
    """Slots of instances."""

    async def test_owners_have_slots_of_their_own_and_keep_them(self: Any) -> None:
        owners = [f"css {n}" for n in range(20)]
        slots = await together(*(self.state.claim_slot(owner, LEASE) for owner in owners))
        self.assertEqual(len(set(slots)), 20)
        self.assertTrue(all(0 <= slot <= 1023 for slot in slots))
        again = await together(*(self.other_state.claim_slot(owner, LEASE) for owner in owners))
        self.assertEqual(again, slots)
        await self.state.release_slot("css 3")
        await self.state.release_slot("unknown")
        self.assertEqual(await self.state.claim_slot("new", LEASE), slots[3])
        await together(*(self.state.release_slot(owner) for owner in [*owners, "new"]))
        self.assertEqual(await self.dump(), {})

    async def test_when_all_are_taken_the_one_that_ran_out_first_is_reused(self: Any) -> None:
        for start in range(0, 1023, 93):  # not all at once: that takes a busy server longer than a command may
            await together(*(self.state.claim_slot(str(n), LEASE) for n in range(start, start + 93)))
        first = await self.state.claim_slot("short", 100)
        with self.assertRaises(StoreError):
            await self.state.claim_slot("one too many", LEASE)
        await self.wait_ms(150)
        self.assertEqual(await self.state.claim_slot("one too many", LEASE), first)
        with self.assertRaises(StoreError):
            await self.state.claim_slot("short", LEASE)


class PlatformStateContract(BookingContract, HostContract, OperatorContract, RoomContract, SlotContract):
    """All of `IPlatformState`."""
