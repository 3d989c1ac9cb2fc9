"""Places under licences that belong to no conference are given back; those of conferences never."""

from __future__ import annotations

from css.ports.store import Commit, Reservation
from css.timers import reservations
from css.timers.reservations import ROUND_SECONDS, ReservationSweep
from tests.handlers.site import SiteCase


class Sweep(SiteCase):
    """A quarter of an hour after the start."""

    def setUp(self) -> None:
        super().setUp()
        site = self.site
        self.sweep = ReservationSweep(site.clock, lambda: site.platforms, site.stores, self.css.tally)
        for store in (site.store, site.other):
            infos = {f"domain/{moid}/info": {"moid": moid} for moid in ("uA", "pA", "uB", "pB")}
            self.css.run(store.write_hashes({key: dict(fields) for key, fields in infos.items()}))

    def tick(self, seconds: float = ROUND_SECONDS) -> None:
        """Let time go by, then look."""
        self.site.clock.advance(seconds)
        self.css.run(self.sweep.tick())

    def lose(self, *members: str, name: str = "licence/uA/small") -> None:
        """Places whose conference was lost."""
        for member in members:
            seat = Reservation(name, member, "", "", False)
            self.css.run(self.site.store.commit(Commit(e164="x", touch_record=False, reserve=(seat,))))

    def counted(self, name: str = "licence/uA/small") -> int:
        """How many are counted."""
        size: int = self.css.run(self.site.store.index_size(name))
        return size

    def test_only_those_of_nobody(self) -> None:
        """What is being created, runs, or waits keeps its place."""
        self.run_one("1")
        self.ask(e164="2")
        self.lose("1:5", "3:1835008000126469")
        self.lose("4:7", name="licence/pA/large")
        self.tick()
        self.assertEqual(
            (self.counted(), self.counted("licence/pA/small"), self.counted("licence/pA/large")), (2, 2, 0)
        )
        self.assertEqual(self.css.tally["reservations_dropped"], 3)

    def test_rarely(self) -> None:
        """Once in a round."""
        self.tick()
        self.lose("3:7")
        self.tick(ROUND_SECONDS - 1)
        self.assertEqual(self.counted(), 1)
        self.tick(1)
        self.assertEqual(self.counted(), 0)

    def test_long_sets(self) -> None:
        """Some pages at a time, until all is looked through."""
        self.patch(reservations, "PAGE", 2)
        self.patch(reservations, "PAGES_A_TICK", 1)
        self.lose(*(f"{number}:7" for number in range(9)))
        self.tick()
        self.assertGreater(self.counted(), 5)
        for _ in range(30):
            self.tick(1)
        self.assertEqual(self.counted(), 0)

    def test_a_store_that_is_away(self) -> None:
        """It is left out of the round; one that goes away in the middle is looked through when it is back."""
        self.lose("3:7")
        self.site.other.fail()
        self.tick()
        self.assertEqual(self.counted(), 0)
        self.site.other.recover()
        self.lose("3:7")
        self.site.store.fail()
        self.tick()
        self.site.store.recover()
        self.assertEqual(self.counted(), 1)
        self.tick()
        self.assertEqual(self.counted(), 0)
