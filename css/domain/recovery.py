"""Decisions that lose a placement and find another (seed 1.2, 9.1, 9.4)."""

from __future__ import annotations

from msgspec.structs import replace

from css.domain import expiry
from css.domain.conference import Attempt, Conference, State, placement_token
from css.domain.creation import give_up, is_asked, names_placement, refuse_late
from css.domain.decision import Decision, end, ignore
from css.domain.effects import (
    AskMcuToRestore,
    AskResources,
    Effect,
    EndReason,
    FreeLoad,
    ReportGone,
    ReportRunning,
    SaveRow,
    TellMcuDelayed,
    TellRestored,
    free_load,
    release_on_mcu,
)
from css.domain.errors import ErrCode
from css.domain.events import (
    DeadlinePassed,
    LocatorCleared,
    McuAccepted,
    McuEnded,
    McuLost,
    McuRefused,
    Placement,
    PlatformLost,
    ResourcesGiven,
    ResourcesRefused,
    RestoreBegins,
    Rules,
    Voided,
)
from css.domain.monitoring import stopped_by_restore

NOT_SERVED = "its platform restores it now"
"""What the ledger says when the source platform has come back in the middle of an attempt."""


def lose(c: Conference, event: McuLost, rules: Rules) -> Decision:
    """Its MCU process has gone: to be restored. The placement is kept: a list of the process may yet show it.

    One that is bound to old hardware (seed 12) is not restored elsewhere: it waits for its MCU.
    """
    if (event.platform, event.ip, event.pid) != (c.platformmoid, c.ip, c.pid):
        return ignore("another MCU process has gone")
    wait_ms = rules.legacy_wait_ms if c.legacy else 0
    record = replace(
        c,
        state=State.PENDING_RESTORE,
        attempt=None,
        lost_ms=event.now_ms,
        due_ms=_next(c, event.now_ms + wait_ms),
        recovery=event.recovery,
    )
    # Its place on the host stays booked until it is placed elsewhere: nothing new goes to a host that has gone.
    return Decision(because=f"{c.ip} process {c.pid} has gone", record=record, effects=_reported_abroad(c))


def void(c: Conference, event: Voided, rules: Rules) -> Decision:
    """Its room or platform is abnormal: released there, the epoch raised, ip and pid cleared, to be restored.

    One that is bound to old hardware is left alone: elsewhere it can't run (seed 12).
    """
    if c.legacy:
        return ignore("bound to old hardware: it stays where it is")
    step = _without_placement(c, event, "its placement is void")
    released = (release_on_mcu(c),) if c.ip and c.pid else ()
    return replace(step, effects=(*step.effects, *released, *_reported_abroad(c)))


def leave_platform(c: Conference, event: PlatformLost, rules: Rules) -> Decision:
    """Its platform is abnormal: as for a room, but that platform itself releases what its MCUs run."""
    if c.legacy or event.platform != c.platformmoid:
        return ignore("bound to old hardware, or on another platform: it stays where it is")
    return _without_placement(c, event, f"platform {event.platform} is abnormal")


def give_up_creating(c: Conference, event: PlatformLost, rules: Rules) -> Decision:
    """Its platform has become abnormal before it ran: nothing of it stays, the CM that asked is told (seed 2.3.1)."""
    if event.platform != c.platformmoid:
        return ignore("it is being placed on another platform")
    return give_up(c, ErrCode.PLATFORM_ABNORMAL, event.now_ms, f"platform {event.platform} is abnormal")


def _without_placement(c: Conference, event: Voided | PlatformLost, because: str) -> Decision:
    effects: tuple[Effect, ...] = (free_load(c),) if c.ip else ()
    record = replace(
        c,
        state=State.PENDING_RESTORE,
        epoch=event.epoch,
        ip="",
        pid="",
        roommoid="",
        attempt=None,
        missed=None,
        lost_ms=event.now_ms,
        due_ms=_next(c, event.now_ms),
        recovery=event.recovery,
    )
    return Decision(because=because, record=record, effects=effects)


def report_again(c: Conference, event: LocatorCleared, rules: Rules) -> Decision:
    """What runs here can be reached here. Legacy conferences, too: they were spared.

    The record counts the step, so that an end that is decided at the same moment can't be told before this.
    """
    if event.platform != c.platformmoid:
        return ignore("it can't be reached here")
    return Decision(because="reported again", record=c, effects=(ReportRunning(),))


def _reported_abroad(c: Conference) -> tuple[Effect, ...]:
    """What to tell the locator here when a conference of another source platform is lost: that one may restore it."""
    return (ReportGone(),) if c.platformmoid != c.source else ()


def is_abandoned(c: Conference, now_ms: int, rules: Rules) -> bool:
    """Whether whoever places it should have finished long ago: another platform's business, unless that is cut off."""
    attempt = c.attempt
    if c.state is not State.CREATING or attempt is None:
        return False
    return now_ms >= attempt.deadline_ms + rules.creating_timeout_ms


def due(c: Conference, event: DeadlinePassed, rules: Rules) -> Decision:
    """Pending, and something has come due that needs no place in the restore rate: its end, or the end of a wait."""
    if expiry.is_over(c, event.now_ms):
        return expiry.expire(c, event.now_ms)
    if c.legacy and event.now_ms >= c.lost_ms + rules.legacy_wait_ms:
        return end(c, EndReason.LOST, event.now_ms, "bound to old hardware, which did not come back")
    return ignore("its turn to be restored comes with the restore rate")


def begin(c: Conference, event: RestoreBegins, rules: Rules) -> Decision:
    """Its turn: ask RMS. It stays `pending_restore` until RMS has answered, since a list may show it meanwhile."""
    if expiry.is_over(c, event.now_ms):
        return expiry.expire(c, event.now_ms)
    if c.legacy:
        return ignore("bound to old hardware: it waits for its MCU")
    deadline_ms = event.now_ms + rules.creating_timeout_ms
    record = replace(
        c,
        attempt=Attempt(deadline_ms=deadline_ms),
        due_ms=min(event.now_ms + rules.request_timeout_ms, deadline_ms),
    )
    return Decision(because="restore begins, RMS is asked", record=record, effects=(AskResources(),))


def place(c: Conference, event: ResourcesGiven, rules: Rules) -> Decision:
    """RMS has answered: go to the host that was booked, or wait for the next attempt."""
    attempt = c.attempt
    if event.epoch != c.epoch or attempt is None:
        return ignore("RMS answered for another placement")
    if not event.served:
        return fail(c, event.now_ms, rules, NOT_SERVED, at_once=True)
    if event.placement is None:
        return fail(c, event.now_ms, rules, "no usable MCU among those that RMS gave")
    if expiry.is_over(c, event.now_ms):
        placed = event.placement
        unused = FreeLoad(placed.ip, placement_token(c.source, c.e164, placed.epoch), placed.platform)
        step = expiry.expire(c, event.now_ms)
        return replace(step, effects=(*step.effects, unused))
    given = replace(attempt, roommoid=event.roommoid, mcus=event.mcus, vrs=event.vrs, xmpu=event.xmpu)
    step = _try_host(replace(c, attempt=given), event.placement, event.now_ms, rules, "RMS answered")
    left = (free_load(c),) if c.ip else ()
    return replace(step, effects=(*step.effects, *left))


def refuse_resources(c: Conference, event: ResourcesRefused, rules: Rules) -> Decision:
    """RMS has refused: wait for the next attempt."""
    if event.epoch != c.epoch:
        return ignore("RMS refused another placement")
    return fail(c, event.now_ms, rules, "RMS refused")


def rms_is_silent(c: Conference, event: DeadlinePassed, rules: Rules) -> Decision:
    """RMS has not answered in time: wait for the next attempt."""
    if event.now_ms < c.due_ms:
        return ignore("not due yet")
    return fail(c, event.now_ms, rules, "RMS did not answer in time")


def next_after_refusal(c: Conference, event: McuRefused, rules: Rules) -> Decision:
    """The host refused, or is not there: the next one, or the next attempt."""
    if not names_placement(c, event.ip, event.epoch):
        return ignore("a refusal of an older placement")
    return _next_host(c, event, rules)


def mcu_is_silent(c: Conference, event: DeadlinePassed, rules: Rules) -> Decision:
    """The host has not answered in time: the next one, or the next attempt."""
    if event.now_ms < c.due_ms:
        return ignore("not due yet")
    return _next_host(c, event, rules)


def accept(c: Conference, event: McuAccepted, rules: Rules) -> Decision:
    """The host has started it again: `ongoing`, with its begin and its end as they were."""
    if not is_asked(c, event):
        return refuse_late(c, event, rules)
    record = expiry.schedule(
        replace(
            c,
            state=State.ONGOING,
            pid=event.pid,
            createtime=event.now_ms // 1000,
            attempt=None,
            lost_ms=0,
            missed=None,
            acked_time=event.time,
            monitors=(),
        ),
        event.now_ms,
    )
    effects: tuple[Effect, ...] = (TellRestored(), ReportRunning(), SaveRow(), *stopped_by_restore(c))
    if c.attempt is not None and c.attempt.delayed:
        effects = (*effects, TellMcuDelayed())
    return Decision(because=f"restored on {event.ip} process {event.pid}", record=record, effects=effects)


def ended_while_asked(c: Conference, event: McuEnded, rules: Rules) -> Decision:
    """An end notice while the MCU is being asked: if it names this very placement, the attempt has failed."""
    if event.epoch is None or not is_asked(c, event):
        return ignore("an end notice of another placement")
    return fail(c, event.now_ms, rules, "ended on its MCU before the ACK was handled")


def fail(
    c: Conference, now_ms: int, rules: Rules, because: str, penalise: str = "", *, at_once: bool = False
) -> Decision:
    """The attempt has failed; the next one comes with the restore timer, without a pause if `at_once`.

    If RMS could not help, the old placement stays: its MCU may list it. If MCUs were asked, nothing of it stays but a
    higher epoch, which no placement will ever have: an ACK or a list that comes late speaks of something older.
    """
    record = replace(c, attempt=None, due_ms=_next(c, now_ms + (0 if at_once else rules.restore_interval_ms)))
    effects: tuple[Effect, ...] = ()
    if c.state is State.CREATING:
        effects = (free_load(c),)
        state = State.PENDING_RESTORE
        record = replace(record, state=state, ip="", pid="", roommoid="", epoch=c.epoch + 1, missed=None)
    return Decision(because=f"{because}; tried again later", record=record, effects=effects, penalise=penalise)


def _next_host(c: Conference, event: McuRefused | DeadlinePassed, rules: Rules) -> Decision:
    now_ms = event.now_ms
    if not event.served:
        return fail(c, now_ms, rules, f"{c.ip} failed; {NOT_SERVED}", penalise=c.ip, at_once=True)
    if event.placement is None or expiry.is_over(c, now_ms):
        return fail(c, now_ms, rules, f"{c.ip} failed, none is left to try", penalise=c.ip)
    step = _try_host(c, event.placement, now_ms, rules, f"{c.ip} failed")
    return replace(step, effects=(*step.effects, free_load(c)), penalise=c.ip)


def _try_host(c: Conference, placement: Placement, now_ms: int, rules: Rules, because: str) -> Decision:
    attempt = c.attempt
    assert attempt is not None and attempt.mcus is not None  # the booked host is one of them
    # The host is asked with the end time as it is now.
    left = replace(attempt, mcus=tuple(ip for ip in attempt.mcus if ip != placement.ip), delayed=False)
    wait_ms = max(1, min(rules.request_timeout_ms, attempt.deadline_ms - now_ms))
    record = replace(
        c,
        state=State.CREATING,
        platformmoid=placement.platform,
        ip=placement.ip,
        pid="",
        roommoid=placement.roommoid or attempt.roommoid,
        epoch=placement.epoch,
        due_ms=now_ms + wait_ms,
        attempt=left,
    )
    effects: tuple[Effect, ...] = (AskMcuToRestore(wait_ms, expiry.minutes_left(c, now_ms)),)
    if placement.platform != c.platformmoid:
        effects = (*effects, ReportGone(c.platformmoid))
    return Decision(because=f"{because}; {placement.ip} is asked to restore", record=record, effects=effects)


def _next(c: Conference, at_ms: int) -> int:
    """When to look at a pending conference next: at the given time, or at its end if that is sooner."""
    return min(at_ms, c.endtime * 1000) if c.endtime else at_ms
