"""The sweep carries out what a dead instance, or a broker that was away, left behind."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from css.handlers.effects import Parcel
from css.handlers.letters import OWN_LANE, Kind, Letter, pack, peer_lane
from css.ports.bus import Outgoing, Queue, Topology
from css.ports.store import Commit, IConferenceStore, OutboxEntry, StoreError
from css.timers import sweep
from tests.handlers.site import CM_REPLIES, NOW, PARKED, SiteCase, token

NOW_MS = NOW * 1000


class SweepCase(SiteCase):
    """Entries as instances leave them."""

    def leave(self, lane: str, mark: str, data: bytes, e164: str = "1", store: IConferenceStore | None = None) -> None:
        """An entry that is due at once."""
        entry = OutboxEntry("pA", lane, mark, data, NOW_MS)
        self.css.run((store or self.site.store).commit(Commit(e164=e164, touch_record=False, outbox=(entry,))))

    def letter(self, name: str, queue: str = CM_REPLIES, kind: Kind = Kind.REPLY) -> Letter:
        """A letter with a telling id."""
        return Letter(kind, NOW_MS, Outgoing("", queue, b"{}", name))

    def sweep(self, seconds: float = 0) -> None:
        """One round, and its clearing."""
        self.site.pass_seconds(seconds)
        self.css.run(self.css.sweep.tick())
        self.css.tick()

    def ids(self, queue: str = CM_REPLIES) -> list[str]:
        """Ids of what is in a queue."""
        return [letter.message_id for letter in self.site.letters(queue)]


class Sweep(SweepCase):
    """What a round does."""

    def test_all_stores_and_lanes(self) -> None:
        """Published with the ids they were written with, and forgotten."""
        self.leave(OWN_LANE, "1.1", pack([self.letter("a"), self.letter("b")]))
        self.leave("to/x", "1.1", pack([self.letter("c")]), store=self.site.other)
        self.sweep()
        self.assertEqual(sorted(self.ids()), ["a", "b", "c"])
        self.assertEqual((self.site.outbox(), self.site.outbox(self.site.other)), ({}, {}))

    def test_other_platforms(self) -> None:
        """Through that platform's broker; not those that another platform's instances must carry out."""
        self.leave(peer_lane("pB"), "1.1", pack([self.letter("a", "there")]))
        peers = self.site.connected_bus(self.site.other_broker)
        peers.declare(Topology(queues=(Queue("there"),)))
        self.site.clock.advance(0)
        entry = OutboxEntry("pB", OWN_LANE, "1.1", pack([self.letter("z")]), NOW_MS)
        self.css.run(self.site.store.commit(Commit(e164="1", touch_record=False, outbox=(entry,))))
        self.sweep()
        self.assertEqual([each.message_id for each in self.site.other_broker.messages("there")], ["a"])
        self.assertEqual(self.ids(), [])

    def test_order(self) -> None:
        """By epoch and version, as numbers."""
        for mark in ("10.1", "9.10", "9.9"):
            self.leave(OWN_LANE, mark, pack([self.letter(mark)]))
        self.sweep()
        self.assertEqual(self.ids(), ["9.9", "9.10", "10.1"])

    def test_nothing_overtakes(self) -> None:
        """What can't be sent holds back the later ones of its number and lane, and no others."""
        lane = "to/x"
        self.leave(lane, "1.1", pack([self.letter("first", "gone", Kind.NOTICE)]))
        self.leave(lane, "1.2", pack([self.letter("second")]))
        self.leave(lane, "1.1", pack([self.letter("other")]), e164="2")
        self.sweep()
        self.assertEqual(self.ids(), ["other"])
        self.site.declare("gone")
        self.sweep(10.1)
        self.assertEqual((self.ids("gone"), self.ids()), (["first"], ["other", "second"]))

    def test_done_but_not_forgotten(self) -> None:
        """What this instance has carried out is not sent again, however late it is forgotten; what follows is sent."""
        self.leave(OWN_LANE, "1.1", pack([self.letter("done")]))
        self.leave(OWN_LANE, "1.2", pack([self.letter("next")]))
        self.css.outbox.mark_done(self.site.store, "1", OWN_LANE, "1.1")
        self.sweep()
        self.assertEqual(self.ids(), ["next"])
        self.assertEqual(self.site.outbox(), {})

    def test_under_way(self) -> None:
        """What this instance is sending right now is not sent beside that, and not overtaken."""
        self.leave(OWN_LANE, "1.1", pack([self.letter("first")]))
        self.leave(OWN_LANE, "1.2", pack([self.letter("second")]))
        self.site.broker.hang()
        parcels = {OWN_LANE: Parcel([self.letter("first")], [], [])}
        sending = Deferred.fromCoroutine(self.css.outbox.carry_out(self.site.store, "1", parcels, "1.1", ()))
        self.css.run(self.css.sweep.tick())
        self.site.broker.resume()
        self.site.pass_seconds(0.1)
        self.assertTrue(sending.called)
        self.assertEqual(self.ids(), ["first"])
        self.sweep(10.1)
        self.assertEqual(self.ids(), ["first", "second"])

    def test_requests_need_no_order(self) -> None:
        """One that can't be sent holds nothing back."""
        ask = self.letter("first", "gone", Kind.RESOURCE_REQUEST)
        self.leave("ask", "1.1", pack([ask]))
        self.leave("ask", "1.2", pack([self.letter("second")]))
        self.sweep()
        self.assertEqual(self.ids(), ["second"])

    def test_part_of_an_entry(self) -> None:
        """Only the rest is tried again."""
        self.leave("to/x", "1.1", pack([self.letter("a"), self.letter("b", "gone", Kind.NOTICE)]))
        self.sweep()
        self.site.declare("gone")
        self.sweep(10.1)
        self.assertEqual((self.ids(), self.ids("gone")), (["a"], ["b"]))
        self.assertEqual(self.site.outbox(), {})

    def test_undecodable(self) -> None:
        """Reported and dropped; what comes after it is carried out. In every kind of lane."""
        for lane in (OWN_LANE, "sql", "load"):
            self.leave(lane, "1.1", b"\xc1 nonsense")
        self.leave(OWN_LANE, "1.2", pack([self.letter("a")]))
        self.sweep()
        self.assertEqual(self.ids(), ["a"])
        self.sweep()
        self.assertEqual(self.site.outbox(), {})

    def test_broker_away(self) -> None:
        """Tried once a lease, kept until it is back."""
        self.leave(OWN_LANE, "1.1", pack([self.letter("a")]))
        self.site.broker.stop()
        self.sweep()
        self.site.broker.start()
        self.site.pass_seconds(5)
        self.sweep()
        self.assertEqual(self.ids(), [])
        self.sweep(5.1)
        self.assertEqual(self.ids(), ["a"])

    def test_store_away(self) -> None:
        """The others are swept; the failure is told."""
        self.leave(OWN_LANE, "1.1", pack([self.letter("a")]))
        self.site.other.fail()
        self.failureResultOf(self.begin(), StoreError)
        self.assertEqual(self.ids(), ["a"])

    def begin(self) -> Deferred[None]:
        """Begin a round."""
        work = Deferred.fromCoroutine(self.css.sweep.tick())
        self.site.clock.advance(0)
        return work

    def test_many(self) -> None:
        """A backlog of more than a page goes in one round, while it goes at all."""
        self.patch(sweep, "PAGE", 3)
        for number in range(8):
            self.leave(OWN_LANE, "1.1", pack([self.letter(str(number))]), e164=str(number))
        self.site.broker.stop()
        self.sweep()
        self.assertEqual(self.css.tally["swept_own"], 3)
        self.site.broker.start()
        self.sweep(10.1)
        self.assertEqual(len(set(self.ids())), 8)
        self.assertEqual(self.site.outbox(), {})

    def test_host_without_a_queue(self) -> None:
        """Found only by the sweep: its silence all the same, so the next host is asked."""
        request = self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        letter = Letter(Kind.MCU_REQUEST, NOW_MS, Outgoing("", "gone", b"{}", "x"), token(request), NOW_MS + 5_000)
        self.leave("ask", f"{request['epoch']}.2.other", pack([letter]), "0755001")
        self.sweep(1)
        self.assertEqual(len(self.asked("0755001")), 2)


class Unreachable(SweepCase):
    """Notices for a platform to whose broker there is no link."""

    def setUp(self) -> None:
        super().setUp()
        self.lane = peer_lane("pB")
        peers = self.site.connected_bus(self.site.other_broker)
        peers.declare(Topology(queues=(Queue("there"),)))
        self.site.clock.advance(0)
        self.site.other_broker.stop()

    def leave_notices(self, *numbers: int, e164: str = "1", store: IConferenceStore | None = None) -> None:
        """A notice each."""
        for number in numbers:
            letter = self.letter(f"{e164}.{number}", "there", Kind.NOTICE)
            self.leave(self.lane, f"1.{number}", pack([letter]), e164, store)

    def parked(self) -> list[str]:
        """Ids of what is parked, each with the right reason."""
        letters = self.site.letters(PARKED)
        self.assertLessEqual({each.headers["x-css-reason"] for each in letters}, {"unreachable"})
        return [each.message_id for each in letters]

    def there(self) -> list[str]:
        """Ids of what has arrived."""
        return [each.message_id for each in self.site.other_broker.messages("there")]

    def test_at_most_so_many(self) -> None:
        """Those beyond the limit are parked, over all stores; the others arrive when the link is back."""
        self.patch(sweep, "MOST_FOR_A_PEER", 10)
        self.leave_notices(*range(8))
        self.leave_notices(*range(5), e164="2", store=self.site.other)
        self.sweep()
        self.assertEqual(self.parked(), ["1.0", "1.1", "1.2"])
        self.sweep(1)
        self.assertEqual(len(self.parked()), 3)
        self.site.other_broker.start()
        self.site.pass_seconds(5)
        self.sweep()
        self.assertEqual(self.there(), [f"2.{n}" for n in range(5)] + [f"1.{n}" for n in range(3, 8)])

    def test_exactly_so_many(self) -> None:
        """None is parked."""
        self.patch(sweep, "MOST_FOR_A_PEER", 10)
        self.leave_notices(*range(10))
        self.sweep()
        self.assertEqual(self.parked(), [])

    def test_at_most_so_long(self) -> None:
        """All of them, though they are more than a page, within a look after their ten minutes."""
        self.patch(sweep, "PAGE", 3)
        for number in range(10):
            self.leave_notices(1, e164=str(number))
        for _ in range(60):
            self.sweep(10)
        self.assertEqual(self.parked(), [])
        self.sweep(10)
        self.assertEqual(len(self.parked()), 10)
        self.assertEqual(self.site.outbox(), {})

    def test_looked_at_seldom(self) -> None:
        """While there is no link, nothing is claimed again and again."""
        self.leave_notices(1)
        for _ in range(10):
            self.sweep(1)
        self.assertLessEqual(self.css.tally["swept_peer"], 2)

    def test_soon_after_the_link_is_back(self) -> None:
        """Not a whole lease later."""
        self.leave_notices(1)
        self.sweep()
        self.site.other_broker.start()
        self.site.pass_seconds(4)  # the longest pause before a reconnect
        self.sweep()
        self.assertEqual(self.there(), ["1.1"])
