"""Whether anything may be missing in the stores, and stores that are filled again."""

from __future__ import annotations

from css.adapters.memory.store import MemoryStore
from css.handlers.rebuilding import INCARNATION_KEY, Rebuilding
from css.ports.sql import TemplateRow
from tests.handlers.site import SiteCase, done


class WholeCase(SiteCase):
    """Two stores that have been filled."""

    def setUp(self) -> None:
        super().setUp()
        self.rebuilding = Rebuilding(
            lambda: self.site.platforms,
            self.site.stores,
            lambda: self.site.database,
            self.css.clocks,
            self.css.steps,
            self.css.tally,
            20_000,
            lambda moid: None,
            self.css.templates.fill,
        )

    def look(self) -> bool:
        """One round. @return: whether nothing is missing, as far as it is known."""
        self.css.run(self.rebuilding.tick())
        return self.rebuilding.all_are_whole()


class Whole(WholeCase):
    """Only what has been looked at, and is all there."""

    def test_all_there(self) -> None:
        """Not before the first round."""
        self.assertFalse(self.rebuilding.all_are_whole())
        self.assertTrue(self.look())
        self.assertTrue(done(self.site.other.read_string(INCARNATION_KEY)))

    def test_public_templates(self) -> None:
        """Those of SQL are there before the store counts as filled."""
        assert self.site.database is not None
        for e164, platform in (("0100", "pA"), ("0200", "pB"), ("0300", "pC")):
            self.site.database.templates[e164] = TemplateRow(e164, "u", platform, "模板", "{}")
        self.assertTrue(self.look())
        for store, e164 in ((self.site.store, "0100"), (self.site.other, "0200")):
            found = [key for key in store.dump() if key.startswith("pubtemplate/")]
            self.assertEqual(found, [f"pubtemplate/{e164}"])
            self.assertEqual(store.dump()[found[0]], {"moid": "u", "name": "模板", "content": "{}"})

    def test_a_platform_without_a_store(self) -> None:
        """What it holds is missing here."""
        other = self.site.stores.pop("pB")
        self.assertFalse(self.look())
        self.site.stores["pB"] = other
        self.assertTrue(self.look())

    def test_another_redis(self) -> None:
        """A platform's Redis has moved: nothing is known of the new one until it has been looked at."""
        self.assertTrue(self.look())
        self.site.stores["pB"] = MemoryStore("pB", self.site.clock)
        self.assertFalse(self.rebuilding.all_are_whole())
        self.assertTrue(self.look())

    def test_a_store_is_away(self) -> None:
        """One that has been found whole counts as whole until it has been looked at again."""
        self.site.other.fail()
        self.fails(self.rebuilding.tick())
        self.assertFalse(self.rebuilding.all_are_whole())
        self.site.other.recover()
        self.assertTrue(self.look())


class FirstLook(WholeCase):
    """Before anything is consumed."""

    def test_ends_with_the_round(self) -> None:
        """What an emptied store has lost is there before the first message is taken."""
        self.successResultOf(self.rebuilding.first_look(self.site.clock, 5.0))
        self.assertTrue(self.rebuilding.all_are_whole())
        self.assertEqual(self.site.clock.getDelayedCalls(), [])

    def test_a_store_that_is_away(self) -> None:
        """It is no reason not to start."""
        self.site.other.fail()
        self.successResultOf(self.rebuilding.first_look(self.site.clock, 5.0))
        self.assertFalse(self.rebuilding.all_are_whole())

    def test_one_that_takes_long(self) -> None:
        """It is not waited for any longer than told; the round goes on, and no second one beside it."""
        self.site.other.hang()
        waiting = self.rebuilding.first_look(self.site.clock, 1.0)
        self.site.clock.advance(0.9)
        self.assertNoResult(waiting)
        self.site.clock.advance(0.2)
        self.successResultOf(waiting)
        self.assertFalse(self.look())
        self.site.other.recover()
        self.site.clock.advance(0)
        self.assertTrue(self.rebuilding.all_are_whole())
