"""Each rule of the platform lists (contract, PMS table; seed 2.2, 2.3)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.platforms import Platforms, PlatformState

NORMAL, ABNORMAL = "normal", "abnormal"


def replied(own: str = NORMAL, b: str = NORMAL, c: str = NORMAL, seq: int | None = None) -> Platforms:
    return Platforms("a").with_reply("a", own, [("b", b)], [("c", c)], seq)


class Lists(SynchronousTestCase):
    def test_before_any_answer(self) -> None:
        platforms = Platforms("a")
        self.assertEqual(platforms.own_state, PlatformState.UNKNOWN)
        self.assertFalse(platforms.answered)
        self.assertFalse(platforms.own_abnormal)
        self.assertEqual(platforms.service, ("a",))
        self.assertTrue(platforms.serves("a"))

    def test_answer_gives_the_three_lists(self) -> None:
        platforms = replied()
        self.assertTrue(platforms.answered)
        self.assertEqual(platforms.own_state, PlatformState.NORMAL)
        self.assertEqual(platforms.possible, {"b": PlatformState.NORMAL})
        self.assertEqual(platforms.backup, {"c": PlatformState.NORMAL})
        self.assertEqual(platforms.possible_and_own, ("a", "b"))
        self.assertEqual(platforms.peers, ("b", "c"))

    def test_abnormal_possible_platform_is_served_from_the_start(self) -> None:
        platforms = replied(b=ABNORMAL)
        self.assertEqual(platforms.service, ("a", "b"))
        self.assertTrue(platforms.serves("b"))

    def test_normal_possible_platform_is_not_served(self) -> None:
        self.assertFalse(replied().serves("b"))

    def test_abnormal_backup_platform_is_not_served(self) -> None:
        platforms = replied(c=ABNORMAL)
        self.assertEqual(platforms.service, ("a",))
        self.assertFalse(platforms.serves("c"))

    def test_own_platform_is_listed_whatever_its_state(self) -> None:
        platforms = replied(own=ABNORMAL)
        self.assertTrue(platforms.own_abnormal)
        self.assertEqual(platforms.service, ("a",))

    def test_platform_in_both_lists(self) -> None:
        platforms = Platforms("a").with_reply("a", NORMAL, [("b", ABNORMAL)], [("b", ABNORMAL)])
        self.assertEqual(platforms.peers, ("b",))
        self.assertEqual(platforms.service, ("a", "b"))

    def test_own_platform_in_a_list_and_repetitions_are_left_out(self) -> None:
        platforms = Platforms("a").with_reply("a", NORMAL, [("a", ABNORMAL), ("b", NORMAL), ("b", NORMAL)], [])
        self.assertEqual(platforms.possible_moids, ("b",))
        self.assertFalse(platforms.own_abnormal)

    def test_next_answer_replaces_lists_and_states(self) -> None:
        platforms = replied(b=ABNORMAL).with_reply("a", NORMAL, [("d", NORMAL)], [])
        self.assertEqual((platforms.possible_moids, platforms.backup_moids), (("d",), ()))
        self.assertFalse(platforms.serves("b"))
        self.assertEqual(platforms.state_of("b"), PlatformState.UNKNOWN)

    def test_answer_without_lists_leaves_them(self) -> None:
        platforms = replied(b=ABNORMAL).with_reply("a", ABNORMAL, None, None)
        self.assertEqual(platforms.service, ("a", "b"))
        self.assertTrue(platforms.own_abnormal)

    def test_answer_without_lists_does_not_begin_service(self) -> None:
        self.assertFalse(Platforms("a").with_reply("a", NORMAL, None, None).answered)

    def test_answer_about_another_platform_changes_nothing(self) -> None:
        platforms = replied()
        self.assertIs(platforms.with_reply("b", ABNORMAL, [("x", ABNORMAL)], []), platforms)


class Broadcasts(SynchronousTestCase):
    def test_own_platform(self) -> None:
        self.assertTrue(replied().with_broadcast("a", ABNORMAL).own_abnormal)
        self.assertFalse(replied(own=ABNORMAL).with_broadcast("a", NORMAL).own_abnormal)

    def test_possible_platform_enters_and_leaves(self) -> None:
        taken = replied().with_broadcast("b", ABNORMAL)
        self.assertTrue(taken.serves("b"))
        self.assertFalse(taken.with_broadcast("b", NORMAL).serves("b"))

    def test_backup_platform(self) -> None:
        self.assertEqual(replied().with_broadcast("c", ABNORMAL).backup, {"c": PlatformState.ABNORMAL})

    def test_platform_in_no_list_changes_nothing(self) -> None:
        platforms = replied()
        self.assertIs(platforms.with_broadcast("x", ABNORMAL), platforms)

    def test_broadcast_does_not_begin_service(self) -> None:
        self.assertFalse(Platforms("a").with_broadcast("a", NORMAL).answered)

    def test_broadcast_before_an_older_answer_is_kept(self) -> None:
        platforms = Platforms("a").with_broadcast("b", ABNORMAL, 6).with_reply("a", NORMAL, [("b", NORMAL)], [], 5)
        self.assertTrue(platforms.serves("b"))


class Sequence(SynchronousTestCase):
    def test_older_broadcast_is_ignored(self) -> None:
        platforms = replied().with_broadcast("b", ABNORMAL, 5)
        self.assertIs(platforms.with_broadcast("b", NORMAL, 4), platforms)

    def test_same_broadcast_twice(self) -> None:
        platforms = replied().with_broadcast("b", ABNORMAL, 5)
        self.assertEqual(platforms.with_broadcast("b", ABNORMAL, 5), platforms)

    def test_older_answer_is_ignored(self) -> None:
        platforms = replied(seq=5)
        self.assertIs(platforms.with_reply("a", ABNORMAL, [], [], 4), platforms)

    def test_broadcast_older_than_the_answer_is_ignored(self) -> None:
        platforms = replied(b=ABNORMAL, seq=5)
        self.assertTrue(platforms.with_broadcast("b", NORMAL, 4).serves("b"))

    def test_numbers_of_different_platforms_are_independent(self) -> None:
        platforms = replied().with_broadcast("c", ABNORMAL, 9).with_broadcast("b", ABNORMAL, 3)
        self.assertTrue(platforms.serves("b"))

    def test_without_a_number_it_always_counts(self) -> None:
        platforms = replied(seq=5).with_broadcast("b", ABNORMAL)
        self.assertTrue(platforms.serves("b"))
        self.assertTrue(platforms.with_broadcast("b", NORMAL, 4).serves("b"))


class Changes(SynchronousTestCase):
    def test_none(self) -> None:
        self.assertFalse(replied().change_from(replied()))

    def test_entered_and_left(self) -> None:
        before, after = replied(), replied(b=ABNORMAL)
        self.assertEqual(after.change_from(before).entered, ("b",))
        self.assertEqual(before.change_from(after).left, ("b",))
        self.assertEqual(before.change_from(after).entered, ())

    def test_left_because_it_is_listed_no_more(self) -> None:
        before = replied(b=ABNORMAL)
        self.assertEqual(before.with_reply("a", NORMAL, [], []).change_from(before).left, ("b",))

    def test_own_state(self) -> None:
        change = replied(own=ABNORMAL).change_from(replied())
        self.assertTrue(change)
        self.assertTrue(change.own_became_abnormal)
        self.assertFalse(change.own_became_normal)
        change = replied().change_from(replied(own=ABNORMAL))
        self.assertTrue(change.own_became_normal)
        self.assertEqual((change.entered, change.left), ((), ()))

    def test_own_state_from_unknown(self) -> None:
        self.assertTrue(replied().change_from(Platforms("a")).own_became_normal)

    def test_held_back(self) -> None:
        held = replied(b=ABNORMAL).with_own_state(PlatformState.ABNORMAL)
        self.assertTrue(held.own_abnormal)
        self.assertEqual(held.service, ("a", "b"))
