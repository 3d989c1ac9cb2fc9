"""What `cssctl` does and shows, on one platform of the real handlers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from css.ctl.control import Control, NotFound
from css.ports.ledger import Recovery
from css.ports.store import McuSeen, StoreError
from tests.handlers.site import RMS, SiteCase


class ControlCase(SiteCase):
    """A person at the own Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        site = self.site
        self.control = Control(site.store, site.state, site.ledger, self.lines.append, "li", "the fan is noisy")

    def shown(self, work: Any) -> str:
        """What is shown, in one text."""
        self.lines.clear()
        self.css.run(work)
        return "\n".join(self.lines)


class Draining(ControlCase):
    """No new conferences, or again."""

    def test_drain_and_undrain(self) -> None:
        """What runs there goes on; the next ones go elsewhere; then as before."""
        request = self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        self.accept(request)
        full, other = request["ip"], {"10.0.0.1": "10.0.0.2", "10.0.0.2": "10.0.0.1"}[request["ip"]]
        self.assertIn("1 are still there", self.shown(self.control.drain(full)))
        chosen = [self.give(self.ask(e164=str(n)), full, other)["ip"] for n in range(3)]
        self.assertEqual((chosen, self.state_of()), ([other] * 3, "ongoing"))
        self.shown(self.control.undrain(full))
        self.assertEqual(self.give(self.ask(e164="9"), full, other)["ip"], full)

    def test_who_and_why(self) -> None:
        """Both are in the ledger, for each action, newest first; none is under way."""
        for work in (self.control.drain("10.0.0.1"), self.control.undrain("10.0.0.1"), self.control.pause()):
            self.css.run(work)
            self.site.clock.advance(1)
        self.css.run(self.control.resume())
        found = self.css.run(self.site.ledger.recent(9))
        self.assertEqual([each.subject for each in found], ["resume", "pause", "undrain 10.0.0.1", "drain 10.0.0.1"])
        self.assertEqual({(each.kind, each.detected) for each in found}, {("operator", "li: the fan is noisy")})
        self.assertNotIn(0, [each.ended_ms for each in found])
        text = self.shown(self.control.recoveries(2))
        self.assertIn("operator:resume", text)
        self.assertNotIn("drain", text)

    def test_nothing_is_done_that_can_not_be_noted(self) -> None:
        """The ledger's Redis is away: neither note nor action."""
        self.site.store.fail()
        self.fails(self.control.drain("10.0.0.1"))
        self.site.store.recover()
        self.assertEqual(self.shown(self.control.mcus()), "")

    def test_without_a_reason(self) -> None:
        """It is said that there was none."""
        control = Control(self.site.store, self.site.state, self.site.ledger, self.lines.append, "li", "")
        self.css.run(control.pause())
        self.assertEqual(self.css.run(self.site.ledger.recent(1))[0].detected, "li: no reason given")


class Pausing(ControlCase):
    """Restores wait; all else goes on."""

    def test_pause_and_resume(self) -> None:
        """A conference that is lost becomes `pending_restore`, and RMS is asked only after `resume`."""
        request = self.run_one()
        self.css.run(self.control.pause())
        self.css.run(self.css.restoring.lose(McuSeen(request["ip"], "11", 0), "gone"))
        asked = len(self.site.letters(RMS))
        self.css.run(self.css.restores.tick())
        self.assertEqual((self.state_of(), len(self.site.letters(RMS))), ("pending_restore", asked))
        self.assertIn("paused", self.shown(self.control.mcus()))
        self.css.run(self.control.resume())
        self.css.run(self.css.restores.tick())
        self.assertEqual(len(self.site.letters(RMS)), asked + 1)
        self.assertNotIn("paused", self.shown(self.control.mcus()))


class Reading(ControlCase):
    """What is shown."""

    def test_mcus(self) -> None:
        """Load, processes and how long ago they were heard of, what is held against a host."""
        self.css.liveness.note("10.0.0.1", "11", "room-0")
        self.css.run(self.css.liveness.flush())
        self.give(self.ask(), "10.0.0.1")
        self.site.clock.advance(2.5)
        self.css.run(self.site.state.note_seen([McuSeen("10.0.0.2", "7", 1), McuSeen("10.0.0.2", "7", 0)]))
        self.css.run(self.control.drain("10.0.0.3"))
        self.css.run(self.site.state.set_room("room-9", True))
        expected = [
            "10.0.0.1  room-0  1 conferences  processes: 11 (2.5 s)",
            "10.0.0.2  room unknown  0 conferences  processes: 7 (disconnected)  lost 1 times lately",
            "10.0.0.3  room unknown  0 conferences  processes: none heard of  drained",
            "abnormal rooms: room-9",
        ]
        self.assertEqual(self.shown(self.control.mcus()).split("\n"), expected)

    def test_recovery(self) -> None:
        """Counts, then each step; under way until all is settled."""
        request = self.run_one()
        self.css.run(self.css.restoring.lose(McuSeen(request["ip"], "11", 0), "it fell silent"))
        self.css.tick()
        name = self.css.run(self.site.ledger.recent(1))[0].name
        self.assertIn(f"{name}  0 of 1 settled, under way", self.shown(self.control.recoveries(9)))
        lines = self.shown(self.control.recovery(name)).split("\n")
        self.assertIn("it fell silent: 0 of 1 settled", lines[0])
        self.assertIn("0755001", lines[1])

    def test_recovery_without_conferences(self) -> None:
        """An instance entered it, and another one was faster with all of them."""
        self.css.run(self.site.ledger.open(Recovery("mcu:1:2", "mcu", "1:1", "gone", 1_000)))
        self.assertIn("no conference is part of it", self.shown(self.control.recoveries(1)))

    def test_recovery_that_is_none(self) -> None:
        """Said in words."""
        self.failureResultOf(_begun(self.control.recovery("mcu:1:2")), NotFound)

    def test_conferences(self) -> None:
        """All of them, or the first few; the count is of all."""
        for e164 in ("1", "2", "3"):
            self.run_one(e164)
        text = self.shown(self.control.conferences(9))
        self.assertIn("1  ongoing  MCU 10.0.0.", text)
        self.assertEqual((len(self.lines), self.lines[-1]), (4, "3 of 3 conferences"))
        self.shown(self.control.conferences(2))
        self.assertEqual((len(self.lines), self.lines[-1]), (3, "2 of 3 conferences"))

    def test_conference(self) -> None:
        """Where it is and what comes next, never its password."""
        self.run_one(password="geheim")
        text = self.shown(self.control.conference("0755001"))
        self.assertIn("ongoing", text)
        self.assertIn("晨会", text)
        self.assertNotIn("geheim", text)

    def test_conference_that_has_ended(self) -> None:
        """How, as long as it is known."""
        self.run_one()
        self.css.take({"type": "CM_MAU_RELEASECONF_REQ", "confE164": "0755001", "mtreqid": "m"}, message_id="r")
        self.assertIn("ended: released", self.shown(self.control.conference("0755001")))

    def test_conference_that_is_none(self) -> None:
        """Said in words; a Redis that is away is something else."""
        self.failureResultOf(_begun(self.control.conference("7")), NotFound)
        self.site.store.fail()
        self.failureResultOf(_begun(self.control.conference("7")), StoreError)


def _begun(work: Any) -> Any:
    return Deferred.fromCoroutine(work)
