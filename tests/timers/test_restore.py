"""The restore timer: pace, order, several instances, a store that is away."""

from __future__ import annotations

from typing import Any

from css.handlers import addresses as to
from css.ports.store import Commit, McuSeen
from css.timers import restore
from tests.handlers.site import RMS, Instance, SiteCase, done


class RestoreCase(SiteCase):
    """Conferences that wait to be restored."""

    def waiting(self, *numbers: str, **more: Any) -> None:
        """Conferences that ran on 10.0.0.1, which has gone."""
        for e164 in numbers:
            self.accept(self.give(self.ask(e164=e164, **more), "10.0.0.1"))
        self.css.run(self.css.restoring.lose(McuSeen("10.0.0.1", "11", 0), "gone"))
        self.asked_before = len(self.site.letters(RMS))

    def begun(self) -> list[str]:
        """Numbers for which RMS was asked since, in order."""
        return [letter.correlation_id.split("/")[1] for letter in self.site.letters(RMS)[self.asked_before :]]


class Pace(RestoreCase):
    """At most so many a second, all instances together."""

    def test_rate(self) -> None:
        """Half a second's worth at once, then as the rate allows; each once."""
        self.waiting(*(str(n) for n in range(20)))
        timer = self.css.restore_timer(4.0)
        counts = []
        for _ in range(12):
            self.css.run(timer.tick())
            counts.append(len(self.begun()))
            self.site.clock.advance(0.25)
        self.assertEqual(counts, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
        self.assertEqual(len(set(self.begun())), 13)

    def test_without_a_place_ready_at_once(self) -> None:
        """Nobody has to wait for a lease to run out."""
        self.waiting("1", "2", "3")
        timer = self.css.restore_timer(2.0)
        self.css.run(timer.tick())
        self.assertEqual(len(self.site.store.dump()["css/index/ready/pA"]), 2)
        self.assertNotIn("css/index/restore/pA", self.site.store.dump())

    def test_unlimited(self) -> None:
        """More than a page."""
        self.waiting(*(str(n) for n in range(520)))
        self.css.run(self.css.restore_timer(0).tick())
        self.assertEqual(len(set(self.begun())), 520)

    def of_pb(self, count: int) -> None:
        """Conferences of pB that run on 10.0.0.1."""
        for n in range(count):
            request = self.give(self.ask(e164=f"7{n}", moid="uB"), "10.0.0.1")
            ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
            self.css.take(ack, "MAU.MCU.Q", correlation_id=f"pB/7{n}/{request['epoch']}")

    def test_none_that_is_served_keeps_the_places_of_the_others(self) -> None:
        """However much waits in one store, perhaps for capacity that will not come."""
        self.of_pb(3)
        self.waiting(*(str(n) for n in range(20)))
        timer = self.css.restore_timer(4.0)
        for _ in range(6):
            self.css.run(timer.tick())
            self.site.clock.advance(0.25)
        self.assertEqual(sum(e164 in ("70", "71", "72") for e164 in self.begun()), 3)

    def test_all_that_is_served_shares(self) -> None:
        """One rate for the restores of this platform, those for another platform included."""
        self.of_pb(3)
        self.waiting(*(str(n) for n in range(3)))
        timer, counts = self.css.restore_timer(4.0), []
        for _ in range(6):
            self.css.run(timer.tick())
            counts.append(len(self.begun()))
            self.site.clock.advance(0.25)
        self.assertEqual((counts, len(set(self.begun()))), ([2, 3, 4, 5, 6, 6], 6))

    def test_two_instances_share(self) -> None:
        """The rate, and the conferences."""
        self.waiting(*(str(n) for n in range(20)))
        other = Instance(self.site, 2, 8)
        for _ in range(4):
            for css in (self.css, other):
                css.run(css.restore_timer(4.0).tick())
            self.site.clock.advance(0.25)
        self.assertEqual((len(self.begun()), len(set(self.begun()))), (5, 5))

    def test_one_that_ends_while_it_is_ready_leaves_nothing(self) -> None:
        """Wherever in the queue it was."""
        self.waiting("1", "2")
        self.css.run(self.css.restore_timer(2.0).tick())
        self.assertIn("css/index/ready/pA", self.site.store.dump())
        for e164 in ("1", "2"):
            self.css.take({"type": "CM_MAU_RELEASECONF_REQ", "confE164": e164, "mtreqid": "m"}, message_id=e164)
        left = [key for key in self.site.store.dump() if key.startswith("css/index/")]
        self.assertEqual(left, [])

    def test_a_place_that_one_claimed_did_not_need_is_taken_by_another(self) -> None:
        """A place in the rate is used for a restore."""
        self.waiting("1", "2", "3")
        nobody = Commit(e164="7", touch_record=False, index_add={"restore/pA": 1, "urgency/pA": 1})
        self.css.run(self.site.store.commit(nobody))
        self.css.run(self.css.restore_timer(2.0).tick())
        self.assertEqual(self.begun(), ["1"])


class Order(RestoreCase):
    """Higher priority first, then the one that began earlier."""

    def test_urgency(self) -> None:
        """Whatever the order of their loss."""
        for e164, priority in (("1", 5), ("2", 9), ("3", 5), ("4", 0), ("5", 9)):
            self.accept(self.give(self.ask(e164=e164, priority=priority), "10.0.0.1"))
            self.site.clock.advance(1)
        self.waiting()
        timer = self.css.restore_timer(2.0)
        for _ in range(9):
            self.css.run(timer.tick())
            self.site.clock.advance(0.5)
        self.assertEqual(self.begun(), ["2", "5", "1", "3", "4"])

    def test_across_pages(self) -> None:
        """Of all that are due, not only of those that one claim takes."""
        self.patch(restore, "PAGE", 3)
        for n in range(20):
            self.accept(self.give(self.ask(e164=str(n), priority=n % 10), "10.0.0.1"))
            self.site.clock.advance(1)
        self.waiting()
        first, second = self.css.restore_timer(8.0), Instance(self.site, 2, 8).restore_timer(8.0)
        for _ in range(9):
            for timer in (first, second):
                self.css.run(timer.tick())
            self.site.clock.advance(0.25)
        self.assertEqual(self.begun(), [str(n) for n in sorted(range(20), key=lambda n: (-(n % 10), n))])

    def test_one_that_failed_is_urgent_again_when_it_is_due(self) -> None:
        """Not before, and then before those that are less urgent."""
        for e164, priority in (("1", 9), ("2", 0), ("3", 0)):
            self.accept(self.give(self.ask(e164=e164, priority=priority), "10.0.0.1"))
        self.waiting()
        self.css.run(self.css.restore_timer(2.0).tick())
        nack = {"type": "GET_RES_NACK", "errcode": "NONE"}
        self.css.take(nack, to.RMS_REPLY_QUEUE, correlation_id=self.site.letters(RMS)[-1].correlation_id)
        for seconds in (0.5, 5.0):
            self.site.clock.advance(seconds)
            self.css.run(self.css.restore_timer(2.0).tick())
        self.assertEqual(self.begun(), ["1", "2", "1"])

    def test_those_that_fail_again_and_again_do_not_starve_others(self) -> None:
        """More of them than the rate allows in the time after which each is tried again."""
        failing = [str(n) for n in range(12)]
        for e164 in failing:
            self.accept(self.give(self.ask(e164=e164, priority=9), "10.0.0.1"))
        self.waiting("99", priority=7)
        timer = self.css.restore_timer(1.0)
        nack = {"type": "GET_RES_NACK", "errcode": "NONE"}
        for _ in range(120):
            known = len(self.begun())
            self.css.run(timer.tick())
            for letter in self.site.letters(RMS)[self.asked_before + known :]:
                self.css.take(nack, to.RMS_REPLY_QUEUE, correlation_id=letter.correlation_id)
            self.site.clock.advance(1)
        begun = self.begun()
        self.assertEqual(len(begun), 120)
        self.assertLessEqual(set(begun[:30]), set(failing))
        self.assertEqual(set(begun), {*failing, "99"})


class Paused(RestoreCase):
    """A person wants no restores."""

    def test_nothing_begins_until_resumed(self) -> None:
        """With or without a rate, on every instance; what is over still ends."""
        self.waiting("1", "2", duration=1)
        done(self.site.state.set_paused(True))
        for timer in (self.css.restores, self.css.restore_timer(4.0), Instance(self.site, 2, 8).restores):
            self.css.run(timer.tick())
        self.assertEqual(self.begun(), [])
        done(self.site.state.set_paused(False))
        self.css.run(self.css.restore_timer(2.0).tick())
        self.assertEqual(self.begun(), ["1"])

    def test_ends_are_kept(self) -> None:
        """Its time is up while restores are paused."""
        self.waiting("1", duration=1)
        self.assertEqual(self.state_of("1"), "pending_restore")
        done(self.site.state.set_paused(True))
        self.site.pass_seconds(61, 1.0)
        self.css.run(self.css.restores.tick())
        self.assertEqual((self.begun(), self.state_of("1")), ([], ""))


class Away(RestoreCase):
    """What can't be done now."""

    def test_another_store_is_away(self) -> None:
        """Those of the own store are restored; the round says what failed."""
        self.waiting("1")
        self.site.other.fail()
        self.fails(self.css.restores.tick())
        self.assertEqual(self.begun(), ["1"])

    def test_platform_that_is_not_served(self) -> None:
        """Its conferences are its own business."""
        request = self.give(self.ask(e164="7", moid="uB"), "10.0.0.1")
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, "MAU.MCU.Q", correlation_id=f"pB/7/{request['epoch']}")
        self.waiting("1")
        self.site.set_states(pA="normal", pB="normal")
        self.css.run(self.css.restores.tick())
        self.assertEqual(self.begun(), ["1"])

    def test_legacy(self) -> None:
        """It waits for its MCU."""
        self.waiting("1", legacy=1)
        self.site.pass_seconds(20, 1.0)
        self.css.run(self.css.restores.tick())
        self.assertEqual((self.begun(), self.state_of("1")), ([], "pending_restore"))
        self.site.pass_seconds(290, 1.0)
        self.css.run(self.css.restores.tick())
        self.assertEqual(self.state_of("1"), "")

    def test_at_its_end(self) -> None:
        """Cleaned up by this timer, without a place in the rate."""
        self.waiting("1", duration=1)
        self.assertEqual(self.state_of("1"), "pending_restore")
        done(self.site.state.draw("restore", 0.001, 1, 1))
        self.site.pass_seconds(61, 1.0)
        self.css.run(self.css.restore_timer(0.001).tick())
        self.assertEqual((self.begun(), self.state_of("1")), ([], ""))
