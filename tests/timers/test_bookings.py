"""Bookings are compared with their records once; what no record names is dropped."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from css.ports.store import StoreError
from css.timers import bookings
from css.timers.bookings import BookingCheck
from tests.handlers.site import HOSTS, SiteCase, token


class Check(SiteCase):
    """Sixty seconds after the booking."""

    def setUp(self) -> None:
        super().setUp()
        self.check = BookingCheck(lambda: self.site.state, self.site.stores, self.css.tally, 60_000)

    def tick(self, seconds: float = 61) -> None:
        """Let time go by, then look."""
        self.site.clock.advance(seconds)
        self.css.run(self.check.tick())

    def load(self) -> int:
        """Booked places on all hosts."""
        return sum(self.css.run(self.site.state.loads(HOSTS)).values())

    def book(self, name: str, ip: str = "10.0.0.1") -> None:
        """A booking of a process that died before its commit."""
        self.css.run(self.site.state.book(name, [ip], "r", 0, 60_000))

    def test_held(self) -> None:
        """Its load stays, and it is not looked at again."""
        request = self.run_one()
        self.tick()
        self.assertEqual(self.load(), 1)
        self.css.run(self.site.state.unbook([(request["ip"], token(request))]))
        self.assertEqual(self.css.tally["bookings_dropped"], 0)
        self.site.clock.advance(61)
        self.assertEqual(self.css.run(self.site.state.claim_bookings(1, 10)), [])

    def test_process_that_nobody_knows(self) -> None:
        """The instance that took the ACK died before it had written down whom it heard: from now on it is watched."""
        request = self.run_one()
        self.assertEqual(self.css.run(self.site.state.known_processes()), 0)
        self.tick()
        now_ms = int(self.site.clock.seconds() * 1000)
        (gone,) = self.css.run(self.site.state.claim_gone(now_ms + 1, 5_000, 9))
        self.assertEqual((gone.ip, gone.pid, gone.time_ms), (request["ip"], "11", now_ms))

    def test_of_no_record(self) -> None:
        """Dropped: the conference is over, or was never written, or the token is none."""
        for name in ("pA/404/5", "nonsense"):
            self.book(name)
        self.assertEqual(self.load(), 2)
        self.tick(59)
        self.assertEqual(self.load(), 2)
        self.tick(2)
        self.assertEqual(self.load(), 0)
        self.assertEqual(self.css.tally["bookings_dropped"], 2)

    def test_of_another_placement(self) -> None:
        """The record names another epoch, or another host."""
        request = self.run_one()
        self.book(f"pA/0755001/{request['epoch'] - 1024}", request["ip"])
        self.tick()
        self.assertEqual(self.load(), 1)

    def test_store_away(self) -> None:
        """Nobody knows: looked at again later, and so are those of a platform without a store."""
        self.book("pB/1/5")
        self.book("pZ/1/5")
        self.site.other.fail()
        self.tick()
        self.assertEqual(self.load(), 2)
        self.site.other.recover()
        self.tick()
        self.assertEqual(self.load(), 1)

    def test_own_store_away(self) -> None:
        """Fails, for the ticker to tell."""
        self.site.store.fail()
        self.failureResultOf(Deferred.fromCoroutine(self.check.tick()), StoreError)

    def test_record_that_can_not_be_read(self) -> None:
        """Keeps no other booking from being settled or dropped."""
        request = self.run_one()
        self.site.store.server.keyspace.update_hash("confex/0755001", {"state": "nonsense"})
        self.book("pA/404/5")
        self.tick()
        self.assertEqual(self.load(), 1)
        self.assertEqual(self.css.run(self.site.state.loads([request["ip"]]))[request["ip"]], 1)

    def test_many(self) -> None:
        """More than fit in a page are all looked at in one round."""
        self.patch(bookings, "PAGE", 3)
        for number in range(8):
            self.book(f"pA/{number}/5")
        self.assertEqual(self.load(), 8)
        self.tick()
        self.assertEqual(self.load(), 0)
