"""Finding a conference by its number: two stores, one of them silent, or both with a record."""

from __future__ import annotations

from typing import Any

from css.handlers.lookup import Found
from css.ports.store import Commit, Tombstone
from tests.handlers.site import CM_REPLIES, SiteCase, release


class Find(SiteCase):
    """Over the own store and that of a possible platform."""

    def put(self, store: Any, epoch: int, platformmoid: str = "pA", answer: bytes | None = None) -> None:
        """A record, as far as a look-up reads it."""
        fields = {"epoch": str(epoch), "first_epoch": str(epoch), "platformmoid": platformmoid}
        self.css.run(store.commit(Commit(e164="1", set_fields=fields)))

    def find(self, key: str = "") -> Found:
        """Look number 1 up."""
        found = self.css.run(self.css.lookup.find("1", key))
        assert isinstance(found, Found)
        return found

    def test_nowhere(self) -> None:
        """Certain only if all have answered."""
        self.assertEqual((self.find().store, self.find().all_answered), (None, True))
        for silent in (self.site.store, self.site.other):
            silent.fail()
            self.assertEqual((self.find().store, self.find().all_answered), (None, False))
            silent.recover()

    def test_a_platform_without_a_store(self) -> None:
        """What it holds can't be asked: nothing is certain."""
        del self.site.stores["pB"]
        self.assertEqual((self.find().store, self.find().all_answered, self.find().silent), (None, False, ("pB",)))
        self.css.take(release("1"), message_id="r", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["UNREACHABLE_PLATFORM"])

    def test_tombstones(self) -> None:
        """The highest epoch that has ended covers all up to it, whichever store tells it."""
        self.assertFalse(self.find().covers(1))
        for store, epoch in ((self.site.other, 9), (self.site.store, 10)):
            self.put(store, epoch)
            tombstone = Tombstone({"epoch": str(epoch), "reason": "released", "time": "1"}, 60)
            commit = Commit(e164="1", expected=(str(epoch), 1), delete_record=True, tombstone=tombstone)
            self.css.run(store.commit(commit))
        found = self.find()
        self.assertEqual([found.covers(epoch) for epoch in (9, 10, 11, None)], [True, True, False, False])
        self.site.store.fail()
        self.assertEqual((self.find().ended_epoch, self.find().silent), (9, ("pA",)))

    def test_in_either(self) -> None:
        """The record tells its store; a silent other one makes it uncertain only whether there is a second."""
        self.put(self.site.other, 5)
        self.assertIs(self.find().store, self.site.other)
        self.site.store.fail()
        found = self.find()
        self.assertIs(found.store, self.site.other)
        self.assertFalse(found.all_answered)

    def test_in_both(self) -> None:
        """The higher epoch counts, whatever the order; an alert says so."""
        self.put(self.site.store, 5)
        self.put(self.site.other, 6)
        self.assertIs(self.find().store, self.site.other)
        self.assertEqual(self.css.tally["found_twice"], 1)

    def test_in_both_and_the_own_is_newer(self) -> None:
        """Nine is less than ten, also as text."""
        self.put(self.site.store, 10)
        self.put(self.site.other, 9)
        self.assertIs(self.find().store, self.site.store)

    def test_equal_epochs(self) -> None:
        """The greater `platformmoid` wins (contract, section 1)."""
        self.put(self.site.store, 7, "pA")
        self.put(self.site.other, 7, "pB")
        self.assertIs(self.find().store, self.site.other)

    def test_equal_epochs_the_other_way_round(self) -> None:
        """Also if that is the own one's."""
        self.put(self.site.store, 7, "pC")
        self.put(self.site.other, 7, "pB")
        self.assertIs(self.find().store, self.site.store)

    def test_request(self) -> None:
        """The answer of a request is found in whichever store has it."""
        asked = self.ask(moid="uB")
        self.assertTrue(asked)
        (key,) = [name[len("css/req/") :] for name in self.site.other.dump() if name.startswith("css/req/")]
        self.assertEqual(self.find(key).request, b"")
        self.assertIsNone(self.find("unknown").request)
