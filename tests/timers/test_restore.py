"""The restore timer: pace, order, several instances, a store that is away."""

from __future__ import annotations

from typing import Any

from css.ports.store import McuSeen
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

    def test_without_a_place_due_again_at_once(self) -> None:
        """Nobody has to wait for a lease to run out."""
        self.waiting("1", "2", "3")
        timer = self.css.restore_timer(2.0)
        self.css.run(timer.tick())
        due = self.site.store.dump()["css/index/restore/pA"]
        now = round(self.site.clock.seconds() * 1000)
        self.assertEqual(len([score for score in due.values() if score <= now]), 2)

    def test_unlimited(self) -> None:
        """More than a page."""
        self.waiting(*(str(n) for n in range(520)))
        self.css.run(self.css.restore_timer(0).tick())
        self.assertEqual(len(set(self.begun())), 520)

    def test_two_instances_share(self) -> None:
        """The rate, and the conferences."""
        self.waiting(*(str(n) for n in range(20)))
        other = Instance(self.site, 2, 8)
        for _ in range(4):
            for css in (self.css, other):
                css.run(css.restore_timer(4.0).tick())
            self.site.clock.advance(0.25)
        self.assertEqual((len(self.begun()), len(set(self.begun()))), (5, 5))

    def test_one_that_ended_while_it_was_claimed_leaves_nothing(self) -> None:
        """It is not put back into the index."""
        self.waiting("1", "2")
        timer = self.css.restore_timer(2.0)
        real = self.site.store.put_back

        async def put_back(index: str, members: list[tuple[str, int]]) -> None:
            for e164, _ in members:
                self.css.take({"type": "CM_MAU_RELEASECONF_REQ", "confE164": e164, "mtreqid": "m"}, message_id=e164)
            await real(index, members)

        self.patch(self.site.store, "put_back", put_back)
        self.css.run(timer.tick())
        left = [number for number in ("1", "2") if self.state_of(number)]
        self.assertEqual(list(self.site.store.dump()["css/index/restore/pA"]), left)


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


class Away(RestoreCase):
    """What can't be done now."""

    def test_own_platform_abnormal(self) -> None:
        """Nothing is restored."""
        self.waiting("1")
        self.site.set_states(pA="abnormal")
        self.css.run(self.css.restores.tick())
        self.assertEqual(self.begun(), [])

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
        done(self.site.state.draw("restore", 0.001, 1, 1))
        self.site.pass_seconds(61, 1.0)
        self.css.run(self.css.restore_timer(0.001).tick())
        self.assertEqual((self.begun(), self.state_of("1")), ([], ""))
