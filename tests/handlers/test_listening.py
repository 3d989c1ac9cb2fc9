"""Comparisons of what is planned with what the locator knows: in how many pieces, by whom, and when none is needed."""

from __future__ import annotations

from css.adapters.memory import planned as memory
from css.handlers import planned
from css.handlers.turns import LEASE_MS
from tests.handlers.site import Instance, done
from tests.handlers.test_planned import PlannedCase


class ManyPages(PlannedCase):
    """A comparison that takes several rounds."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(planned, "MOST_PAGES", 2)
        self.patch(memory, "_PAGE", 10)
        for n in range(45):
            done(self.planners["pA"].put(f"vroom/{n:04}", {"confname": "x", "moid": "uA"}))

    def test_round_by_round(self) -> None:
        """Other source platforms have their turn in between, and what is heard is told."""
        self.plan("reserve/8", moid="uB", source="pB", told="")
        self.say(pA="normal", pB="abnormal")
        self.rounds_with_pauses(1)
        self.assertEqual((len(self.table()), "8" in self.table()), (21, True))
        self.assertFalse(self.css.planned.settled)
        self.rounds_with_pauses(1)
        self.assertEqual(len(self.table()), 41)
        self.rounds_with_pauses(20)
        self.assertEqual((len(self.table()), self.css.tally["planned_compared"]), (46, 2))
        self.assertTrue(self.css.planned.settled)

    def test_another_one_goes_on(self) -> None:
        """The one that compares dies in the middle: once its lease is over another one does it all."""
        self.rounds_with_pauses(1)
        self.css = self.other
        self.rounds_with_pauses(1)
        self.assertEqual(len(self.table()), 20)
        self.site.pass_seconds(LEASE_MS / 1000)
        self.rounds_with_pauses(20)
        self.assertEqual((len(self.table()), len(self.told())), (45, 45))

    def test_the_redis_is_lost_in_the_middle(self) -> None:
        """It may be another one afterwards, in which the place means nothing: all is compared anew."""
        self.rounds_with_pauses(1)
        self.site.store.fail()
        self.fails(self.css.planned.tick())
        self.site.store.recover()
        self.rounds_with_pauses(20)
        self.assertEqual((len(self.table()), self.css.tally["planned_compared"]), (45, 2))


class Beside(PlannedCase):
    """Instances that start while another one listens: names of keys are not gone through for each of them."""

    def setUp(self) -> None:
        super().setUp()
        self.plan("reserve/1", told="")
        self.plan("reserve/2", told="")
        self.live(8, self.css)
        self.assertEqual(self.compared(self.css), 1)
        # Nobody hears of this one: only a comparison would.
        self.plan("reserve/2", "", told="")
        self.fresh = Instance(self.site, 3)
        self.fresh.run(self.fresh.duty.tick())

    def live(self, seconds: int, *instances: Instance) -> None:
        """Rounds go by."""
        for _ in range(seconds):
            self.round(*instances)
            self.site.pass_seconds(0.8)

    def compared(self, *instances: Instance) -> int:
        """How many comparisons these made."""
        return sum(css.tally["planned_compared"] for css in instances)

    def test_one_goes_on_listening(self) -> None:
        """The new one compares nothing, and hears what follows also when the old one has gone."""
        self.live(10, self.css, self.fresh)
        self.assertEqual((self.compared(self.fresh), sorted(self.table())), (0, ["1", "2"]))
        self.site.pass_seconds(1)
        self.css.planned._sources.clear()
        self.plan("reserve/3")
        self.assertEqual(sorted(self.table()), ["1", "2", "3"])

    def test_the_other_one_dies(self) -> None:
        """Before it could be relied on: the new one compares, once nothing was heard of the other for a while."""
        self.live(2, self.fresh)
        self.assertEqual(self.compared(self.fresh), 0)
        self.live(6, self.fresh)
        self.assertEqual((self.compared(self.fresh), sorted(self.table())), (1, ["1"]))

    def test_its_link_was_lost(self) -> None:
        """The other one has missed something itself: it does not stand for anybody; one of the two compares."""
        self.site.store.server.channels.close()
        self.plan("reserve/3")
        self.live(1, self.css, self.fresh)
        self.assertEqual(self.compared(self.css, self.fresh), 1)
        self.site.store.server.channels.open()
        self.live(8, self.css, self.fresh)
        self.assertEqual((self.compared(self.css, self.fresh), sorted(self.table())), (2, ["1", "3"]))

    def test_cleared_meanwhile(self) -> None:
        """What was compared before the locator was cleared is no good."""
        self.say(pA="abnormal", pB="normal")
        self.fresh.duty.suspended()
        for css in (self.css, self.fresh):
            css.run(css.locator.tick())
        self.site.pass_seconds(2)
        self.say(pA="normal", pB="normal")
        self.fresh.run(self.fresh.duty.tick())
        self.live(1, self.fresh)
        self.assertEqual((self.compared(self.fresh), sorted(self.table())), (1, ["1"]))

    def test_handed_back_and_taken_over_again(self) -> None:
        """What was withdrawn here must be told again, whatever others have heard."""
        self.plan("template/7", moid="uB", source="pB", told="")
        self.say(pA="normal", pB="abnormal")
        self.live(8, self.css)
        self.say(pA="normal", pB="normal")
        self.live(1, self.css)
        self.assertNotIn("7", self.table())
        self.say(pA="normal", pB="abnormal")
        self.live(1, self.css)
        self.assertIn("7", self.table())
