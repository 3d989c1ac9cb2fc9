"""Epochs: growing, never the same twice, below 2^53 (contract, section 1)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from css.domain.epochs import INSTANCE_SLOTS, MAX_EPOCH, EpochSource, over_by
from tests.domain.samples import NOW_MS

SLOTS = st.integers(0, INSTANCE_SLOTS - 1)
TIMES = st.integers(1_600_000_000_000, 4_000_000_000_000)


class Epochs(SynchronousTestCase):
    """One source, and two beside each other."""

    def test_milliseconds_and_slot(self) -> None:
        """Where nothing forces a higher one it is the time and the slot."""
        self.assertEqual(EpochSource(5).next(NOW_MS), NOW_MS * 1024 + 5)
        self.assertEqual(EpochSource(0).next(NOW_MS), NOW_MS * 1024)

    @settings(max_examples=200, deadline=None)
    @given(SLOTS, st.lists(st.tuples(TIMES, st.integers(0, 2**52)), min_size=1, max_size=20))
    def test_each_exceeds_all_before(self, slot: int, calls: list[tuple[int, int]]) -> None:
        """Whatever the clock does and whatever the records hold; the slot is in each."""
        source = EpochSource(slot)
        issued = [source.next(time_ms, above) for time_ms, above in calls]
        self.assertEqual(issued, sorted(set(issued)))
        self.assertEqual({epoch % INSTANCE_SLOTS for epoch in issued}, {slot})
        too_low = [pair for epoch, pair in zip(issued, calls, strict=True) if epoch < max(pair[0] * 1024, pair[1] + 1)]
        self.assertEqual(too_low, [])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(SLOTS, min_size=2, max_size=2, unique=True),
        st.lists(TIMES, min_size=1, max_size=10),
        st.integers(0, 2**52),
    )
    def test_two_instances_never_issue_the_same(self, slots: list[int], times: list[int], above: int) -> None:
        """Not even from the same record in the same millisecond."""
        sources = [EpochSource(slot) for slot in slots]
        issued = [source.next(time_ms, above) for time_ms in times for source in sources]
        self.assertEqual(len(set(issued)), 2 * len(times))

    def test_next_slot_up(self) -> None:
        """An epoch just above the slot's own place moves on to the next thousand."""
        self.assertEqual(EpochSource(3).next(0, above=1024 + 3), 2 * 1024 + 3)
        self.assertEqual(EpochSource(3).next(0, above=1024 + 2), 1024 + 3)

    def test_move(self) -> None:
        """In another slot it still issues nothing twice, nor less than before."""
        source = EpochSource(1000)
        before = source.next(NOW_MS)
        source.move_to(1)
        after = source.next(NOW_MS)
        self.assertGreater(after, before)
        self.assertEqual(after % 1024, 1)

    def test_below_two_to_the_53(self) -> None:
        """For two centuries to come."""
        year_2200_ms = 7_258_118_400_000
        self.assertLess(EpochSource(1023).next(year_2200_ms), MAX_EPOCH)

    def test_no_such_slot(self) -> None:
        """Slots are 0 to 1023."""
        for slot in (-1, 1024):
            self.assertRaises(ValueError, EpochSource, slot)
            self.assertRaises(ValueError, EpochSource(0).move_to, slot)

    def test_over(self) -> None:
        """An end covers what was begun before it, also what nobody knows of any more, and nothing that begins later."""
        source = EpochSource(1023)
        lost = source.next(999_999)
        self.assertGreaterEqual(over_by(5, 1_000_000), lost)
        self.assertLess(over_by(5, 1_000_000), source.next(1_000_000))
        self.assertEqual(over_by(lost, 5), lost)
