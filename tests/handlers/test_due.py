"""Conferences whose deadline has come: each taken by one instance, none forgotten."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from css.domain.errors import Unreadable
from css.handlers import due
from css.handlers.aside import SetAside
from css.handlers.due import LEASE_MS, DueWork
from css.ports.store import Commit, IConferenceStore, StoreError, WrongType
from tests.handlers.site import NOW, RMS, Instance, SiteCase

NOW_MS = NOW * 1000


class Due(SiteCase):
    """Two stores with numbers that are due now, later, or on another platform."""

    def setUp(self) -> None:
        super().setUp()
        self.taken: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.work = DueWork("due/pA", self.site.stores.values, self.take, self.css.tally)

    async def take(self, store: IConferenceStore, e164: str) -> None:
        """Note who was taken."""
        self.taken.append((store.platform, e164))
        if self.error is not None:
            raise self.error

    def index(self, store: IConferenceStore, e164: str, seconds: float, platform: str = "pA") -> None:
        """Have a number fall due so many seconds from now."""
        score = NOW_MS + round(1000 * seconds)
        commit = Commit(e164=e164, touch_record=False, index_add={f"due/{platform}": score})
        self.css.run(store.commit(commit))

    def tick(self) -> Deferred[None]:
        """One round."""
        return Deferred.fromCoroutine(self.work.tick())

    def test_what_is_due(self) -> None:
        """Of every store, of this platform only, when its time has come."""
        self.index(self.site.store, "1", -1)
        self.index(self.site.store, "2", 3)
        self.index(self.site.store, "3", -1, "pB")
        self.index(self.site.other, "4", 0)
        self.successResultOf(self.tick())
        self.assertEqual(sorted(self.taken), [("pA", "1"), ("pB", "4")])

    def test_claimed(self) -> None:
        """Left alone for the lease, then taken again if nothing came of it."""
        self.index(self.site.store, "1", 0)
        for seconds, times in ((0, 1), (LEASE_MS / 1000 - 0.1, 1), (0.2, 2)):
            self.site.clock.advance(seconds)
            self.successResultOf(self.tick())
            self.assertEqual(len(self.taken), times)

    def test_many(self) -> None:
        """Page after page in one round."""
        self.patch(due, "PAGE", 3)
        for number in range(8):
            self.index(self.site.store, str(number), -number)
        self.successResultOf(self.tick())
        self.assertEqual({e164 for _, e164 in self.taken}, {str(number) for number in range(8)})

    def test_a_step_that_fails(self) -> None:
        """Keeps no other from its turn."""
        self.index(self.site.store, "1", 0)
        self.index(self.site.store, "2", 0)
        for error in (StoreError("x"), KeyError("x")):
            self.error = error
            self.site.clock.advance(6)
            self.successResultOf(self.tick())
        self.assertEqual(len(self.taken), 4)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_what_cannot_be_read(self) -> None:
        """It is told of once, and looked at again after ten minutes: somebody may have mended it."""
        self.index(self.site.store, "1", 0)
        self.error = WrongType("WRONGTYPE confex/1")
        with capturedLogs() as events:
            for _ in range(59):
                self.successResultOf(self.tick())
                self.site.clock.advance(10)
            self.assertEqual((len(self.taken), self.css.tally["set_aside"]), (1, 1))
            for _ in range(2):
                self.successResultOf(self.tick())
                self.site.clock.advance(10)
        self.assertEqual((len(self.taken), self.css.tally["set_aside"]), (2, 2))
        (alert,) = (each for each in map(formatEvent, events) if "ALERT" in each)
        self.assertIn("1: ALERT: what is due in css/index/due/pA of pA can't be read", alert)

    def test_what_has_no_record(self) -> None:
        """Its key was deleted by hand, or evicted: it does not come again; a new conference with the number does."""
        self.ask(e164="1")
        self.css.tick()
        self.site.store.server.keyspace.delete("confex/1")
        self.css.steps._hints.clear()  # as after a start
        self.index(self.site.store, "1", 0)
        self.css.run(self.css.due.tick())
        self.assertNotIn("css/index/due/pA", self.site.store.dump())
        self.ask(e164="2")
        self.css.run(SetAside(self.css.tally).drop(self.site.store, "due/pA", "2"))
        self.assertEqual(list(self.site.store.dump()["css/index/due/pA"]), ["2"])

    def test_what_cannot_be_set_aside(self) -> None:
        """It comes again after the lease."""
        self.index(self.site.store, "1", 0)

        async def spoilt(store: IConferenceStore, e164: str) -> None:
            self.site.store.fail()
            raise Unreadable("x")

        self.work = DueWork("due/pA", self.site.stores.values, spoilt, self.css.tally)
        self.successResultOf(self.tick())
        self.site.store.recover()
        self.site.clock.advance(LEASE_MS / 1000)
        self.assertEqual(self.css.run(self.site.store.claim_due("due/pA", 1, 9)), ["1"])

    def test_store_away(self) -> None:
        """The others have their turn, and the failure is told."""
        self.index(self.site.store, "1", 0)
        self.site.other.fail()
        self.failureResultOf(self.tick(), StoreError)
        self.assertEqual(self.taken, [("pA", "1")])

    def test_two_instances(self) -> None:
        """One of them refuses the create; the CM gets one NACK."""
        two = Instance(self.site, slot=2)
        self.ask()
        self.assertEqual(len(self.site.letters(RMS)), 1)
        self.css.tick()
        self.site.pass_seconds(5.1)
        for css in (self.css, two, self.css):
            css.run(css.due.tick())
        self.assertEqual(self.errcodes(), ["RMS_TIMEOUT"])

    def test_of_a_dead_instance(self) -> None:
        """It died right after it had claimed: another one takes over when the lease has run out."""
        self.ask()
        self.css.tick()
        self.site.pass_seconds(5.1)
        claimed = self.css.run(self.site.store.claim_due("due/pA", LEASE_MS, 10))
        self.assertEqual(claimed, ["0755001"])
        two = Instance(self.site, slot=2)
        two.run(two.due.tick())
        self.assertEqual(self.errcodes(), [])
        self.site.pass_seconds(5.1)
        two.run(two.due.tick())
        self.assertEqual(self.errcodes(), ["RMS_TIMEOUT"])
