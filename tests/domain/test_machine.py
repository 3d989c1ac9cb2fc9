"""The transition table: every pair of situation and event, what it does, and that none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from css.domain import machine
from css.domain.conference import Situation
from css.domain.decision import Decision
from css.domain.effects import (
    AnswerCreated,
    AnswerDelayed,
    AnswerNotDelayed,
    AnswerRefused,
    AnswerReleased,
    AskMcuToCreate,
    AskMcuToRestore,
    AskResources,
    Bill,
    DeleteRow,
    Effect,
    FreeLoad,
    Note,
    ReleaseOnMcu,
    ReportGone,
    ReportRenamed,
    ReportRunning,
    SaveRow,
    StopMonitorOnMcu,
    TellDelayed,
    TellMcuDelayed,
    TellMonitorStopped,
    TellReleased,
    TellRestored,
)
from css.domain.events import (
    Absent,
    CreateAsked,
    DeadlinePassed,
    DelayAsked,
    Event,
    Listed,
    LocatorCleared,
    McuAccepted,
    McuEnded,
    McuLost,
    McuRefused,
    MonitorHeard,
    MonitorsDue,
    MonitorStarted,
    MonitorStopped,
    PlatformLost,
    ReleaseAsked,
    ResourcesGiven,
    ResourcesRefused,
    RestoreBegins,
    StateChanged,
    Voided,
)
from tests.domain import samples

NOTHING: tuple[str, tuple[type[Effect], ...]] = ("nothing", ())
DELAYED = (AnswerDelayed, TellDelayed, TellMcuDelayed, SaveRow)
RESTORED = (TellRestored, ReportRunning, SaveRow, TellMonitorStopped)
ENDING_OF_ONE_THAT_RAN = (FreeLoad, TellReleased, ReportGone, DeleteRow, Bill)

WHAT_FOLLOWS: dict[tuple[Situation, type[Event]], tuple[str, tuple[type[Effect], ...]]] = {
    (Situation.ASKING_RMS, ResourcesGiven): ("asking_mcu", (AskMcuToCreate,)),
    (Situation.ASKING_RMS, ResourcesRefused): ("ended", (AnswerRefused,)),
    (Situation.ASKING_RMS, McuAccepted): NOTHING,
    (Situation.ASKING_RMS, McuRefused): NOTHING,
    (Situation.ASKING_RMS, DeadlinePassed): ("ended", (AnswerRefused,)),
    (Situation.ASKING_RMS, ReleaseAsked): ("ended", (AnswerReleased, AnswerRefused)),
    (Situation.ASKING_RMS, McuEnded): NOTHING,
    (Situation.ASKING_RMS, RestoreBegins): NOTHING,
    (Situation.ASKING_RMS, McuLost): NOTHING,
    (Situation.ASKING_RMS, Voided): NOTHING,
    (Situation.ASKING_RMS, PlatformLost): ("ended", (AnswerRefused,)),
    (Situation.ASKING_RMS, LocatorCleared): NOTHING,
    (Situation.ASKING_RMS, Listed): ("nothing", (ReleaseOnMcu,)),
    (Situation.ASKING_RMS, Absent): NOTHING,
    (Situation.ASKING_RMS, DelayAsked): ("nothing", (AnswerNotDelayed,)),
    (Situation.ASKING_RMS, StateChanged): NOTHING,
    (Situation.ASKING_RMS, MonitorStarted): NOTHING,
    (Situation.ASKING_RMS, MonitorHeard): NOTHING,
    (Situation.ASKING_RMS, MonitorStopped): NOTHING,
    (Situation.ASKING_RMS, MonitorsDue): NOTHING,
    (Situation.ASKING_MCU, ResourcesGiven): NOTHING,
    (Situation.ASKING_MCU, ResourcesRefused): NOTHING,
    (Situation.ASKING_MCU, McuAccepted): ("ongoing", (AnswerCreated, ReportRunning, SaveRow)),
    (Situation.ASKING_MCU, McuRefused): ("asking_mcu", (AskMcuToCreate, FreeLoad)),
    (Situation.ASKING_MCU, DeadlinePassed): ("asking_mcu", (AskMcuToCreate, FreeLoad)),
    (Situation.ASKING_MCU, ReleaseAsked): ("ended", (AnswerReleased, AnswerRefused, FreeLoad)),
    (Situation.ASKING_MCU, McuEnded): ("ended", (AnswerRefused, FreeLoad)),
    (Situation.ASKING_MCU, RestoreBegins): NOTHING,
    (Situation.ASKING_MCU, McuLost): NOTHING,
    (Situation.ASKING_MCU, Voided): NOTHING,
    (Situation.ASKING_MCU, PlatformLost): ("ended", (AnswerRefused, FreeLoad)),
    (Situation.ASKING_MCU, LocatorCleared): NOTHING,
    (Situation.ASKING_MCU, Listed): ("ongoing", (AnswerCreated, ReportRunning, SaveRow)),
    (Situation.ASKING_MCU, Absent): NOTHING,
    (Situation.ASKING_MCU, DelayAsked): ("nothing", (AnswerNotDelayed,)),
    (Situation.ASKING_MCU, StateChanged): NOTHING,
    (Situation.ASKING_MCU, MonitorStarted): NOTHING,
    (Situation.ASKING_MCU, MonitorHeard): NOTHING,
    (Situation.ASKING_MCU, MonitorStopped): NOTHING,
    (Situation.ASKING_MCU, MonitorsDue): NOTHING,
    (Situation.ONGOING, ResourcesGiven): NOTHING,
    (Situation.ONGOING, ResourcesRefused): NOTHING,
    (Situation.ONGOING, McuAccepted): NOTHING,
    (Situation.ONGOING, McuRefused): NOTHING,
    (Situation.ONGOING, DeadlinePassed): NOTHING,
    (Situation.ONGOING, ReleaseAsked): ("ended", (AnswerReleased, ReleaseOnMcu, *ENDING_OF_ONE_THAT_RAN)),
    (Situation.ONGOING, McuEnded): ("ended", ENDING_OF_ONE_THAT_RAN),
    (Situation.ONGOING, RestoreBegins): NOTHING,
    (Situation.ONGOING, McuLost): ("pending_restore", (Note,)),
    (Situation.ONGOING, Voided): ("pending_restore", (FreeLoad, ReleaseOnMcu, Note)),
    (Situation.ONGOING, PlatformLost): ("pending_restore", (FreeLoad, Note)),
    (Situation.ONGOING, LocatorCleared): ("ongoing", (ReportRunning,)),
    (Situation.ONGOING, Listed): NOTHING,
    (Situation.ONGOING, Absent): ("ongoing", ()),
    (Situation.ONGOING, DelayAsked): ("ongoing", DELAYED),
    (Situation.ONGOING, StateChanged): ("ongoing", (SaveRow, ReportRenamed)),
    (Situation.ONGOING, MonitorStarted): ("ongoing", ()),
    (Situation.ONGOING, MonitorHeard): ("ongoing", ()),
    (Situation.ONGOING, MonitorStopped): ("ongoing", ()),
    (Situation.ONGOING, MonitorsDue): ("ongoing", (StopMonitorOnMcu,)),
    (Situation.PENDING_RESTORE, ResourcesGiven): NOTHING,
    (Situation.PENDING_RESTORE, ResourcesRefused): NOTHING,
    (Situation.PENDING_RESTORE, McuAccepted): NOTHING,
    (Situation.PENDING_RESTORE, McuRefused): NOTHING,
    (Situation.PENDING_RESTORE, DeadlinePassed): NOTHING,
    (Situation.PENDING_RESTORE, ReleaseAsked): ("ended", (AnswerReleased, ReleaseOnMcu, *ENDING_OF_ONE_THAT_RAN)),
    (Situation.PENDING_RESTORE, McuEnded): ("ended", ENDING_OF_ONE_THAT_RAN),
    (Situation.PENDING_RESTORE, RestoreBegins): ("restore_asking_rms", (AskResources,)),
    (Situation.PENDING_RESTORE, McuLost): NOTHING,
    (Situation.PENDING_RESTORE, Voided): ("pending_restore", (FreeLoad, ReleaseOnMcu, Note)),
    (Situation.PENDING_RESTORE, PlatformLost): NOTHING,
    (Situation.PENDING_RESTORE, LocatorCleared): NOTHING,
    (Situation.PENDING_RESTORE, Listed): ("ongoing", (ReportRunning, SaveRow)),
    (Situation.PENDING_RESTORE, Absent): ("pending_restore", ()),
    (Situation.PENDING_RESTORE, DelayAsked): ("pending_restore", DELAYED),
    (Situation.PENDING_RESTORE, StateChanged): ("pending_restore", (SaveRow,)),
    (Situation.PENDING_RESTORE, MonitorStarted): NOTHING,
    (Situation.PENDING_RESTORE, MonitorHeard): ("pending_restore", ()),
    (Situation.PENDING_RESTORE, MonitorStopped): ("pending_restore", ()),
    (Situation.PENDING_RESTORE, MonitorsDue): NOTHING,
    (Situation.RESTORE_ASKING_RMS, ResourcesGiven): ("restore_asking_mcu", (AskMcuToRestore, FreeLoad)),
    (Situation.RESTORE_ASKING_RMS, ResourcesRefused): ("pending_restore", ()),
    (Situation.RESTORE_ASKING_RMS, McuAccepted): NOTHING,
    (Situation.RESTORE_ASKING_RMS, McuRefused): NOTHING,
    (Situation.RESTORE_ASKING_RMS, DeadlinePassed): ("pending_restore", ()),
    (Situation.RESTORE_ASKING_RMS, ReleaseAsked): ("ended", (AnswerReleased, ReleaseOnMcu, *ENDING_OF_ONE_THAT_RAN)),
    (Situation.RESTORE_ASKING_RMS, McuEnded): ("ended", ENDING_OF_ONE_THAT_RAN),
    (Situation.RESTORE_ASKING_RMS, RestoreBegins): NOTHING,
    (Situation.RESTORE_ASKING_RMS, McuLost): NOTHING,
    (Situation.RESTORE_ASKING_RMS, Voided): ("pending_restore", (FreeLoad, ReleaseOnMcu, Note)),
    (Situation.RESTORE_ASKING_RMS, PlatformLost): NOTHING,
    (Situation.RESTORE_ASKING_RMS, LocatorCleared): NOTHING,
    (Situation.RESTORE_ASKING_RMS, Listed): ("ongoing", (ReportRunning, SaveRow)),
    (Situation.RESTORE_ASKING_RMS, Absent): ("restore_asking_rms", ()),
    (Situation.RESTORE_ASKING_RMS, DelayAsked): ("restore_asking_rms", DELAYED),
    (Situation.RESTORE_ASKING_RMS, StateChanged): ("restore_asking_rms", (SaveRow,)),
    (Situation.RESTORE_ASKING_RMS, MonitorStarted): NOTHING,
    (Situation.RESTORE_ASKING_RMS, MonitorHeard): ("restore_asking_rms", ()),
    (Situation.RESTORE_ASKING_RMS, MonitorStopped): ("restore_asking_rms", ()),
    (Situation.RESTORE_ASKING_RMS, MonitorsDue): NOTHING,
    (Situation.RESTORE_ASKING_MCU, ResourcesGiven): NOTHING,
    (Situation.RESTORE_ASKING_MCU, ResourcesRefused): NOTHING,
    (Situation.RESTORE_ASKING_MCU, McuAccepted): ("ongoing", RESTORED),
    (Situation.RESTORE_ASKING_MCU, McuRefused): ("restore_asking_mcu", (AskMcuToRestore, FreeLoad)),
    (Situation.RESTORE_ASKING_MCU, DeadlinePassed): ("restore_asking_mcu", (AskMcuToRestore, FreeLoad)),
    (Situation.RESTORE_ASKING_MCU, ReleaseAsked): ("ended", (AnswerReleased, *ENDING_OF_ONE_THAT_RAN)),
    (Situation.RESTORE_ASKING_MCU, McuEnded): ("pending_restore", (FreeLoad,)),
    (Situation.RESTORE_ASKING_MCU, RestoreBegins): NOTHING,
    (Situation.RESTORE_ASKING_MCU, McuLost): NOTHING,
    (Situation.RESTORE_ASKING_MCU, Voided): ("pending_restore", (FreeLoad, Note)),
    (Situation.RESTORE_ASKING_MCU, PlatformLost): ("pending_restore", (FreeLoad, Note)),
    (Situation.RESTORE_ASKING_MCU, LocatorCleared): NOTHING,
    (Situation.RESTORE_ASKING_MCU, Listed): ("ongoing", RESTORED),
    (Situation.RESTORE_ASKING_MCU, Absent): NOTHING,
    (Situation.RESTORE_ASKING_MCU, DelayAsked): ("restore_asking_mcu", (AnswerDelayed, TellDelayed, SaveRow)),
    (Situation.RESTORE_ASKING_MCU, StateChanged): NOTHING,
    (Situation.RESTORE_ASKING_MCU, MonitorStarted): NOTHING,
    (Situation.RESTORE_ASKING_MCU, MonitorHeard): ("restore_asking_mcu", ()),
    (Situation.RESTORE_ASKING_MCU, MonitorStopped): ("restore_asking_mcu", ()),
    (Situation.RESTORE_ASKING_MCU, MonitorsDue): NOTHING,
}


def all_events() -> set[type[Event]]:
    """Every kind of event of CSS, however deep it is derived."""
    found: set[type[Event]] = set()
    todo = list(Event.__subclasses__())
    while todo:
        event = todo.pop()
        found.add(event)
        todo += event.__subclasses__()
    return {event for event in found if event.__module__.startswith("css.")}


def missing(
    table: Iterable[tuple[Situation, type[Event]]], events: set[type[Event]]
) -> set[tuple[Situation, type[Event]]]:
    """The pairs that a table forgets."""
    wanted: set[tuple[Situation, type[Event]]] = {
        (s, e) for s in Situation if s is not Situation.ABSENT for e in events if e is not CreateAsked
    }
    return wanted - set(table)


def outcome(decision: Decision) -> tuple[str, tuple[type[Effect], ...]]:
    """Where a decision leads, and the kinds of its effects in order."""
    effects = tuple(type(effect) for effect in decision.effects)
    if not decision.changed:
        return "nothing", effects
    return ("ended" if decision.record is None else decision.record.situation.value), effects


class TheTable(SynchronousTestCase):
    """It has every pair, and this module knows what each of them does."""

    def test_complete(self) -> None:
        """No situation has forgotten an event."""
        self.assertEqual(missing(machine.TABLE, all_events()), set())
        self.assertEqual(all_events(), {*samples.EVENTS, CreateAsked})

    def test_a_missing_pair_would_be_caught(self) -> None:
        """Taking any one pair out is noticed, and so is an event that no situation has heard of."""
        for pair in machine.TABLE:
            self.assertEqual(missing(machine.TABLE.keys() - {pair}, all_events()), {pair})

        class Unheard(Event, frozen=True, kw_only=True):
            """An event that no situation knows."""

        self.assertEqual(len(missing(machine.TABLE, all_events() | {Unheard})), 6)

    def test_nothing_beside(self) -> None:
        """The table holds nothing that can't happen."""
        self.assertEqual(machine.TABLE.keys(), WHAT_FOLLOWS.keys())

    def test_every_pair(self) -> None:
        """What each event does to a conference in each situation: where it leads, and its effects in order."""
        found: Mapping[Any, Any] = {
            (situation, event): outcome(
                machine.decide(samples.IN_SITUATION[situation], samples.EVENTS[event], samples.RULES)
            )
            for situation, event in WHAT_FOLLOWS
        }
        for pair, expected in WHAT_FOLLOWS.items():
            self.assertEqual(found[pair], expected, pair)

    def test_samples_are_in_their_situations(self) -> None:
        """The conferences that stand for a situation are in it."""
        self.assertEqual(
            {each: c.situation for each, c in samples.IN_SITUATION.items()},
            {each: each for each in Situation if each is not Situation.ABSENT},
        )

    def test_every_decision_says_why(self) -> None:
        """The log has a sentence for each."""
        for situation, event in WHAT_FOLLOWS:
            decision = machine.decide(samples.IN_SITUATION[situation], samples.EVENTS[event], samples.RULES)
            self.assertTrue(decision.because)


class WithoutARecord(SynchronousTestCase):
    """What is said about a conference that does not exist."""

    def test_an_ack_is_answered_with_a_release(self) -> None:
        """The MCU runs something that nobody knows of: it is told to end that placement."""
        decision = machine.decide(None, samples.accepted(), samples.RULES)
        self.assertFalse(decision.changed)
        self.assertEqual(decision.effects, (ReleaseOnMcu("10.0.0.1", "11", samples.EPOCH),))

    def test_an_ack_without_an_epoch_too(self) -> None:
        """An MCU that knows no epochs is told to end whatever runs there: no present placement can be meant."""
        decision = machine.decide(None, samples.accepted(epoch=None), samples.RULES)
        self.assertEqual(decision.effects, (ReleaseOnMcu("10.0.0.1", "11", None),))

    def test_everything_else_is_nothing(self) -> None:
        """There is nothing to end, to refuse or to place."""
        answered = {kind: outcome(machine.decide(None, event, samples.RULES)) for kind, event in samples.EVENTS.items()}
        self.assertNotEqual(answered.pop(McuAccepted), NOTHING)
        self.assertEqual(answered, dict.fromkeys(all_events() - {McuAccepted, CreateAsked}, NOTHING))
