"""The state machine of a conference: which decision answers which event in which situation.

Every (situation, event) pair is in the table; what is absent from it in the sense of the design is an explicit
`_nothing`, so that a new situation or event can't be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from css.domain import changing, creation, ending, expiry, monitoring, recovery, sync
from css.domain.conference import Conference, Situation
from css.domain.decision import Decision, ignore
from css.domain.effects import ReleaseOnMcu
from css.domain.events import (
    Absent,
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
    Rules,
    StateChanged,
    Voided,
)
from css.domain.ledger import with_notes

Rule = Callable[[Conference, Any, Rules], Decision]


def _nothing(c: Conference, event: Event, rules: Rules) -> Decision:
    return ignore(f"{type(event).__name__} means nothing while {c.situation.value}")


_ASKING_RMS: dict[type[Event], Rule] = {
    Listed: sync.listed_while_rms_is_asked,
    Absent: _nothing,
    ResourcesGiven: creation.place,
    ResourcesRefused: creation.refuse_resources,
    McuAccepted: creation.refuse_late,
    McuRefused: _nothing,
    McuLost: _nothing,
    Voided: _nothing,
    PlatformLost: recovery.give_up_creating,
    LocatorCleared: _nothing,
    RestoreBegins: _nothing,
    DeadlinePassed: creation.rms_is_silent,
    ReleaseAsked: ending.release,
    McuEnded: _nothing,
    DelayAsked: changing.refuse_delay,
    StateChanged: _nothing,
    MonitorStarted: _nothing,
    MonitorHeard: _nothing,
    MonitorStopped: _nothing,
    MonitorsDue: _nothing,
}
_ASKING_MCU: dict[type[Event], Rule] = {
    **_ASKING_RMS,
    Listed: sync.listed_while_asked,
    ResourcesGiven: _nothing,
    ResourcesRefused: _nothing,
    McuAccepted: creation.accept,
    McuRefused: creation.next_after_refusal,
    DeadlinePassed: creation.mcu_is_silent,
    McuEnded: ending.ended_while_asked,
}
_ONGOING: dict[type[Event], Rule] = {
    Listed: sync.listed_while_ongoing,
    Absent: sync.absent,
    ResourcesGiven: _nothing,
    ResourcesRefused: _nothing,
    McuAccepted: creation.refuse_late,
    McuRefused: _nothing,
    McuLost: recovery.lose,
    Voided: recovery.void,
    PlatformLost: recovery.leave_platform,
    LocatorCleared: recovery.report_again,
    RestoreBegins: _nothing,
    DeadlinePassed: expiry.due,
    ReleaseAsked: ending.release,
    McuEnded: ending.ended_by_mcu,
    DelayAsked: changing.delay,
    StateChanged: changing.rename,
    MonitorStarted: monitoring.start,
    MonitorHeard: monitoring.hear,
    MonitorStopped: monitoring.stop,
    MonitorsDue: monitoring.expire,
}
_PENDING_RESTORE: dict[type[Event], Rule] = {
    **_ONGOING,
    Listed: sync.listed_while_pending,
    McuLost: _nothing,
    PlatformLost: _nothing,
    LocatorCleared: _nothing,
    RestoreBegins: recovery.begin,
    DeadlinePassed: recovery.due,
    MonitorStarted: _nothing,
    MonitorsDue: _nothing,
}
_RESTORE_ASKING_RMS: dict[type[Event], Rule] = {
    **_PENDING_RESTORE,
    ResourcesGiven: recovery.place,
    ResourcesRefused: recovery.refuse_resources,
    RestoreBegins: _nothing,
    DeadlinePassed: recovery.rms_is_silent,
}
_RESTORE_ASKING_MCU: dict[type[Event], Rule] = {
    **_ONGOING,
    Listed: sync.listed_while_asked,
    LocatorCleared: _nothing,
    Absent: _nothing,
    McuAccepted: recovery.accept,
    McuRefused: recovery.next_after_refusal,
    McuLost: _nothing,
    DeadlinePassed: recovery.mcu_is_silent,
    McuEnded: recovery.ended_while_asked,
    StateChanged: _nothing,
    MonitorStarted: _nothing,
    MonitorsDue: _nothing,
}

TABLE: dict[tuple[Situation, type[Event]], Rule] = {
    (situation, event): rule
    for situation, rules in (
        (Situation.ASKING_RMS, _ASKING_RMS),
        (Situation.ASKING_MCU, _ASKING_MCU),
        (Situation.ONGOING, _ONGOING),
        (Situation.PENDING_RESTORE, _PENDING_RESTORE),
        (Situation.RESTORE_ASKING_RMS, _RESTORE_ASKING_RMS),
        (Situation.RESTORE_ASKING_MCU, _RESTORE_ASKING_MCU),
    )
    for event, rule in rules.items()
}


def decide(conference: Conference | None, event: Event, rules: Rules) -> Decision:
    """What an event makes of a conference. `CreateAsked` has its own door, `creation.begin`."""
    if conference is None:
        return _decide_absent(event)
    return with_notes(conference, TABLE[conference.situation, type(event)](conference, event, rules))


def _decide_absent(event: Event) -> Decision:
    if isinstance(event, McuAccepted):
        return ignore("an ACK for a conference without a record", ReleaseOnMcu(event.ip, event.pid, event.epoch))
    return ignore("there is no such conference")
