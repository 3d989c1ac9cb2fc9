"""What the ledger is told of each step."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import Conference
from css.domain.effects import Note
from css.domain.events import Event, McuLost, PlatformLost, RestoreBegins, Voided
from css.domain.machine import decide
from tests.domain import samples
from tests.domain.samples import NOW_MS, RULES


class Notes(SynchronousTestCase):
    """The way of one conference through a recovery."""

    def notes(self, c: Conference, event: Event) -> tuple[Conference | None, list[Note]]:
        """The record after a step, and the step's entries."""
        decision = decide(c, event, RULES)
        return decision.record, [each for each in decision.effects if isinstance(each, Note)]

    def test_from_loss_to_restore(self) -> None:
        """It joins, each step is told with its reason, it leaves; the record then names no recovery."""
        c, notes = self.notes(samples.ongoing(), samples.lost())
        self.assertEqual(notes, [Note("mcu:1", "10.0.0.1 process 11 has gone", joins=True)])
        assert c is not None
        c, notes = self.notes(c, RestoreBegins(now_ms=NOW_MS))
        self.assertEqual(notes, [Note("mcu:1", "restore begins, RMS is asked")])
        assert c is not None
        c, notes = self.notes(c, samples.given())
        self.assertEqual(notes, [Note("mcu:1", "RMS answered; 10.0.0.2 is asked to restore")])
        assert c is not None
        c, notes = self.notes(c, samples.accepted(ip="10.0.0.2", epoch=c.epoch))
        self.assertEqual(notes, [Note("mcu:1", "restored on 10.0.0.2 process 11", settled=True)])
        assert c is not None
        self.assertEqual(c.recovery, "")

    def test_ended_on_the_way(self) -> None:
        """Released, expired or lost: settled as well."""
        c = samples.pending_restore(recovery="mcu:1")
        for event in (samples.release_asked(), samples.ended(), samples.overdue(now_ms=c.endtime * 1000)):
            _, notes = self.notes(c, event)
            self.assertEqual([(note.recovery, note.settled) for note in notes], [("mcu:1", True)])

    def test_listed_after_all(self) -> None:
        """Settled; a second loss is another recovery."""
        c, notes = self.notes(samples.pending_restore(recovery="mcu:1"), samples.listed())
        self.assertEqual([note.settled for note in notes], [True])
        assert c is not None
        _, notes = self.notes(c, samples.lost(recovery="mcu:2"))
        self.assertEqual([(note.recovery, note.joins, note.settled) for note in notes], [("mcu:2", True, False)])

    def test_nothing_to_tell(self) -> None:
        """Conferences that are part of no recovery, and events that change nothing."""
        for situation, c in samples.IN_SITUATION.items():
            for event in samples.EVENTS.values():
                if not isinstance(event, McuLost | PlatformLost | Voided):
                    self.assertEqual(self.notes(c, event)[1], [], (situation, event))
        self.assertEqual(self.notes(samples.pending_restore(recovery="mcu:1"), samples.lost(recovery="mcu:2"))[1], [])
