"""Conferences in each situation and one event of each kind, for tests of the rules."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from css.domain.conference import Attempt, Conference, Monitor, Requester, Situation, State
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
    McuProcess,
    McuRefused,
    MonitorHeard,
    MonitorsDue,
    MonitorStarted,
    MonitorStopped,
    Placement,
    PlatformLost,
    ReleaseAsked,
    ResourcesGiven,
    ResourcesRefused,
    RestoreBegins,
    Rules,
    StateChanged,
    Voided,
)

NOW_MS = 1_700_000_000_500
NOW = NOW_MS // 1000
EPOCH = 7_000
NEXT_EPOCH = 7_100
FRESH_EPOCH = 7_900
RULES = Rules(request_timeout_ms=5_000, creating_timeout_ms=30_000, small_terminals=8)

CM = Requester("m-1", "cm.reply.q", "c-1", "create-key")
RELEASER = Requester("m-2", "cm.other.q", "c-2", "release-key")
DELAYER = Requester("m-3", "cm.other.q", "c-3", "delay-key")
MCU = McuProcess("pA", "10.0.0.1", "11")
MONITOR = Monitor("w1", NOW_MS - 30_000, NOW_MS + 50_000)
"""Of everything in `IN_SITUATION` that has run: started half a minute ago, heard of ten seconds ago."""


def create_asked(**changes: Any) -> CreateAsked:
    """An accepted create of 0755001 by user domain `u1` of platform `pA`."""
    asked = CreateAsked(
        now_ms=NOW_MS,
        e164="0755001",
        moid="u1",
        source="pA",
        served_by="pA",
        confname="晨会",
        password="123",
        conftype=1,
        duration=60,
        terminals=8,
        legacy=False,
        priority=5,
        create='{"confE164":"0755001"}',
        requester=CM,
        epoch=EPOCH,
    )
    return replace(asked, **changes)


def asking_rms(**changes: Any) -> Conference:
    """RMS has been asked and must answer by `NOW_MS` + 5 s."""
    conference = Conference(
        e164="0755001",
        moid="u1",
        source="pA",
        platformmoid="pA",
        state=State.CREATING,
        epoch=EPOCH,
        first_epoch=EPOCH,
        version=1,
        createtime=NOW,
        licensed_under=("u1", "pA"),
        due_ms=NOW_MS + 5_000,
        attempt=Attempt(deadline_ms=NOW_MS + 30_000, requester=CM),
        create='{"confE164":"0755001"}',
        confname="晨会",
        password="123",
        duration=60,
    )
    return replace(conference, **changes)


def asking_mcu(*, left: tuple[str, ...] = ("10.0.0.2", "10.0.0.3"), **changes: Any) -> Conference:
    """Host 10.0.0.1 has been asked; the hosts in `left` have not."""
    conference = asking_rms(
        version=2,
        ip="10.0.0.1",
        roommoid="room-1",
        attempt=Attempt(NOW_MS + 30_000, CM, "room-0", left, "10.9.9.9", True),
    )
    return replace(conference, **changes)


def ongoing(**changes: Any) -> Conference:
    """It runs in process 11 of 10.0.0.1 since a minute ago."""
    conference = asking_mcu(
        version=3,
        state=State.ONGOING,
        pid="11",
        attempt=None,
        due_ms=(NOW - 60 + 3_300) * 1000,
        createtime=NOW - 60,
        begintime=NOW - 60,
        endtime=NOW - 60 + 3_600,
    )
    return replace(conference, **changes)


def restoring(**changes: Any) -> Conference:
    """It ran; now its third placement is being asked for at 10.0.0.1."""
    conference = asking_mcu(
        version=9,
        epoch=EPOCH + 50,
        begintime=NOW - 600,
        endtime=NOW - 600 + 3_600,
        attempt=Attempt(NOW_MS + 30_000, None, "room-0", (), "", False),
    )
    return replace(conference, **changes)


def pending_restore(**changes: Any) -> Conference:
    """Its MCU process has gone half a second ago; the placement is kept, a list of the process may yet show it."""
    conference = ongoing(state=State.PENDING_RESTORE, version=4, lost_ms=NOW_MS - 500, due_ms=NOW_MS - 500)
    return replace(conference, **changes)


def voided(**changes: Any) -> Conference:
    """Its room has become abnormal: it has no placement any more."""
    return pending_restore(epoch=EPOCH + 60, ip="", pid="", roommoid="", **changes)


def restore_asking_rms(**changes: Any) -> Conference:
    """RMS has been asked where it can go on, and must answer by `NOW_MS` + 5 s."""
    conference = pending_restore(attempt=Attempt(deadline_ms=NOW_MS + 30_000), due_ms=NOW_MS + 5_000, version=5)
    return replace(conference, **changes)


IN_SITUATION = {
    Situation.ASKING_RMS: asking_rms(),
    Situation.ASKING_MCU: asking_mcu(),
    Situation.ONGOING: ongoing(monitors=(MONITOR,)),
    Situation.PENDING_RESTORE: pending_restore(monitors=(MONITOR,)),
    Situation.RESTORE_ASKING_RMS: restore_asking_rms(monitors=(MONITOR,)),
    Situation.RESTORE_ASKING_MCU: restoring(epoch=EPOCH, monitors=(MONITOR,)),
}

BOOKED = Placement("10.0.0.2", "room-2", NEXT_EPOCH, "pA")


def given(**changes: Any) -> ResourcesGiven:
    """RMS named three hosts; 10.0.0.2 is booked."""
    event = ResourcesGiven(
        now_ms=NOW_MS,
        epoch=EPOCH,
        roommoid="room-0",
        mcus=("10.0.0.1", "10.0.0.2", "10.0.0.3"),
        vrs="10.9.9.9",
        xmpu=True,
        placement=BOOKED,
    )
    return replace(event, **changes)


def accepted(**changes: Any) -> McuAccepted:
    """Process 11 of 10.0.0.1 has started the present placement."""
    return replace(McuAccepted(now_ms=NOW_MS, platform="pA", ip="10.0.0.1", pid="11", epoch=EPOCH), **changes)


def refused(**changes: Any) -> McuRefused:
    """10.0.0.1 refuses the present placement; 10.0.0.2 is booked."""
    event = McuRefused(now_ms=NOW_MS, ip="10.0.0.1", epoch=EPOCH, silent=False, placement=BOOKED)
    return replace(event, **changes)


def overdue(**changes: Any) -> DeadlinePassed:
    """Five seconds have passed; 10.0.0.2 is booked."""
    return replace(DeadlinePassed(now_ms=NOW_MS + 5_000, placement=BOOKED), **changes)


def ended(**changes: Any) -> McuEnded:
    """The present placement is over in process 11 of 10.0.0.1."""
    return replace(McuEnded(now_ms=NOW_MS, platform="pA", ip="10.0.0.1", pid="11", epoch=EPOCH), **changes)


def lost(**changes: Any) -> McuLost:
    """Process 11 of 10.0.0.1 has gone."""
    return replace(McuLost(now_ms=NOW_MS, platform="pA", ip="10.0.0.1", pid="11", recovery="mcu:1"), **changes)


def void(**changes: Any) -> Voided:
    """The room is abnormal."""
    return replace(Voided(now_ms=NOW_MS, epoch=FRESH_EPOCH, recovery="room:1"), **changes)


def platform_lost(**changes: Any) -> PlatformLost:
    """Platform pA is abnormal."""
    event = PlatformLost(now_ms=NOW_MS, platform="pA", epoch=FRESH_EPOCH, recovery="platform:1")
    return replace(event, **changes)


def listed(**changes: Any) -> Listed:
    """Process 11 of 10.0.0.1 lists the present placement."""
    event = Listed(
        now_ms=NOW_MS,
        ip="10.0.0.1",
        pid="11",
        epoch=EPOCH,
        createtime=NOW - 60,
        roommoid="room-1",
        platform="pA",
        fresh_epoch=FRESH_EPOCH,
    )
    return replace(event, **changes)


def absent(**changes: Any) -> Absent:
    """Process 11 of 10.0.0.1 does not list it."""
    return replace(Absent(now_ms=NOW_MS, platform="pA", ip="10.0.0.1", pid="11", time=NOW), **changes)


def release_asked(**changes: Any) -> ReleaseAsked:
    """Another request wants it ended."""
    return replace(ReleaseAsked(now_ms=NOW_MS, requester=RELEASER), **changes)


def delay_asked(**changes: Any) -> DelayAsked:
    """A CM wants half an hour more."""
    return replace(DelayAsked(now_ms=NOW_MS, requester=DELAYER, minutes=30), **changes)


def state_changed(**changes: Any) -> StateChanged:
    """Process 11 of 10.0.0.1 says that it is called something else."""
    return replace(StateChanged(now_ms=NOW_MS, mcu=MCU, confname="晚会", password=None), **changes)


EVENTS: dict[type[Event], Event] = {
    ResourcesGiven: given(),
    ResourcesRefused: ResourcesRefused(now_ms=NOW_MS, epoch=EPOCH),
    McuAccepted: accepted(),
    McuRefused: refused(),
    DeadlinePassed: overdue(),
    ReleaseAsked: release_asked(),
    McuEnded: ended(),
    RestoreBegins: RestoreBegins(now_ms=NOW_MS),
    McuLost: lost(),
    Voided: void(),
    PlatformLost: platform_lost(),
    LocatorCleared: LocatorCleared(now_ms=NOW_MS, platform="pA"),
    Listed: listed(),
    Absent: absent(),
    DelayAsked: delay_asked(),
    StateChanged: state_changed(),
    MonitorStarted: MonitorStarted(now_ms=NOW_MS, monitorid="w2", platform="pA", epoch=EPOCH),
    MonitorHeard: MonitorHeard(now_ms=NOW_MS, monitorid="w1"),
    MonitorStopped: MonitorStopped(now_ms=NOW_MS, monitorid="w1", started_ms=MONITOR.started_ms),
    MonitorsDue: MonitorsDue(now_ms=NOW_MS + 60_000, platform="pA"),
}
