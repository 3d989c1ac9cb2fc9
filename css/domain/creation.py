"""Decisions of the create flow (seed 1.1, 2.3.2, 4.6)."""

from __future__ import annotations

from msgspec.structs import replace

from css.domain.adoption import adopt
from css.domain.conference import Attempt, Conference, Size, State
from css.domain.decision import Decision, end, ignore
from css.domain.effects import (
    AnswerCreated,
    AnswerRefused,
    AskMcuToCreate,
    AskResources,
    Effect,
    EndReason,
    ReleaseOnMcu,
    ReportRunning,
    SaveRow,
    free_load,
)
from css.domain.errors import ErrCode
from css.domain.events import (
    REFUSED_AS,
    CreateAsked,
    DeadlinePassed,
    McuAccepted,
    McuEnded,
    McuRefused,
    Placement,
    ResourcesGiven,
    ResourcesRefused,
    Rules,
)
from css.domain.expiry import schedule


def begin(event: CreateAsked, rules: Rules) -> Decision:
    """Record the conference as `creating` and ask RMS."""
    deadline_ms = event.now_ms + rules.creating_timeout_ms
    size = Size.SMALL if event.terminals <= rules.small_terminals else Size.LARGE
    record = Conference(
        e164=event.e164,
        moid=event.moid,
        source=event.source,
        platformmoid=event.served_by,
        state=State.CREATING,
        epoch=event.epoch,
        first_epoch=event.epoch,
        createtime=event.now_ms // 1000,
        legacy=event.legacy,
        priority=event.priority,
        conftype=event.conftype,
        size=size,
        licensed_under=(event.moid, event.source),
        due_ms=min(event.now_ms + rules.request_timeout_ms, deadline_ms),
        attempt=Attempt(deadline_ms=deadline_ms, requester=event.requester),
        create=event.create,
        confname=event.confname,
        password=event.password,
        duration=event.duration,
    )
    return Decision(because="create accepted, RMS is asked", record=record, effects=(AskResources(),))


def place(c: Conference, event: ResourcesGiven, rules: Rules) -> Decision:
    """RMS has answered: go to the host that was booked."""
    attempt = c.attempt
    if event.epoch != c.epoch or attempt is None:
        return ignore("RMS answered for another placement")
    if not event.served:
        return give_up(c, ErrCode.PLATFORM_NOT_SERVED, event.now_ms, "its platform is no longer served here")
    if event.placement is None:
        return give_up(c, ErrCode.NO_RESOURCE, event.now_ms, "no usable MCU among those that RMS gave")
    given = replace(attempt, roommoid=event.roommoid, mcus=event.mcus, vrs=event.vrs, xmpu=event.xmpu)
    return _try_host(replace(c, attempt=given), event.placement, event.now_ms, rules, "RMS answered")


def refuse_resources(c: Conference, event: ResourcesRefused, rules: Rules) -> Decision:
    """RMS has refused."""
    if event.epoch != c.epoch:
        return ignore("RMS refused another placement")
    return give_up(c, ErrCode.RMS_NACK, event.now_ms, "RMS refused")


def rms_is_silent(c: Conference, event: DeadlinePassed, rules: Rules) -> Decision:
    """RMS has not answered in time."""
    if event.now_ms < c.due_ms:
        return ignore("not due yet")
    return give_up(c, ErrCode.RMS_TIMEOUT, event.now_ms, "RMS did not answer in time")


def accept(c: Conference, event: McuAccepted, rules: Rules) -> Decision:
    """The host that was asked has started it: `ongoing`."""
    if not is_asked(c, event):
        return refuse_late(c, event, rules)
    begintime = event.now_ms // 1000
    record = replace(
        c,
        state=State.ONGOING,
        pid=event.pid,
        createtime=event.now_ms // 1000,
        begintime=begintime,
        endtime=begintime + 60 * c.duration if c.duration else 0,
        attempt=None,
        missed=None,
        acked_time=event.time,
    )
    record = schedule(record, event.now_ms)
    effects: list[Effect] = [ReportRunning(), SaveRow()]
    requester = c.attempt.requester if c.attempt else None
    if requester is not None:
        effects.insert(0, AnswerCreated(requester))
    return Decision(because=f"ongoing on {event.ip} process {event.pid}", record=record, effects=tuple(effects))


def refuse_late(c: Conference, event: McuAccepted, rules: Rules) -> Decision:
    """An ACK while none is awaited. One of a newer placement, whose record was lost, is adopted; any other is over.

    The host is told to end what is over; but never the (ip, pid) of the present placement unless that MCU echoes
    epochs: a release without an epoch would end what runs there now.
    """
    if event.epoch is not None and (event.epoch, event.platform) > (c.epoch, c.platformmoid):
        started = event.now_ms // 1000
        return adopt(
            c,
            event.now_ms,
            ip=event.ip,
            pid=event.pid,
            epoch=event.epoch,
            createtime=started,
            acked_time=event.time,
            platform=event.platform,
        )
    is_its_platform = event.platform == c.platformmoid
    if event.epoch == c.epoch and is_its_platform:
        return ignore("the MCU's ACK was handled before")
    if (event.ip, event.pid) == (c.ip, c.pid) and event.epoch is None and is_its_platform:
        return ignore("an ACK of the present MCU process, without an epoch")
    return ignore("an ACK of an older placement", ReleaseOnMcu(event.ip, event.pid, event.epoch))


def next_after_refusal(c: Conference, event: McuRefused, rules: Rules) -> Decision:
    """The host that was asked refused, or is not there: the next one, or the end."""
    if not names_placement(c, event.ip, event.epoch):
        return ignore("a refusal of an older placement")
    return _next_host(c, event.ip, event, rules, REFUSED_AS[event.silent])


def mcu_is_silent(c: Conference, event: DeadlinePassed, rules: Rules) -> Decision:
    """The host that was asked has not answered in time: the next one, or the end."""
    if event.now_ms < c.due_ms:
        return ignore("not due yet")
    return _next_host(c, c.ip, event, rules, ErrCode.MCU_TIMEOUT)


def hosts_to_try(c: Conference, now_ms: int) -> tuple[str, ...]:
    """Hosts that may still be booked for it: none once its deadline has passed."""
    attempt = c.attempt
    if attempt is None or attempt.mcus is None or now_ms >= attempt.deadline_ms:
        return ()
    return attempt.mcus


def is_asked(c: Conference, event: McuAccepted | McuEnded) -> bool:
    """Whether a host speaks of the very placement that it was asked for. One without epochs is matched by its ip."""
    return (event.platform, event.ip) == (c.platformmoid, c.ip) and event.epoch in (None, c.epoch)


def names_placement(c: Conference, ip: str, epoch: int | None) -> bool:
    """Whether a host speaks of the record's present placement, or of a newer one whose record was lost.

    A host that knows no epochs is matched by its ip.
    """
    if epoch is None:
        return ip == c.ip
    return epoch > c.epoch or (epoch == c.epoch and ip == c.ip)


def give_up(c: Conference, errcode: ErrCode, now_ms: int, because: str, *more: Effect, penalise: str = "") -> Decision:
    """The create has failed: nothing of it stays, and the CM that asked is told why."""
    requester = c.attempt.requester if c.attempt else None
    answer: tuple[Effect, ...] = (AnswerRefused(requester, errcode),) if requester is not None else ()
    return end(c, EndReason.FAILED, now_ms, because, *answer, *more, penalise=penalise)


def _next_host(
    c: Conference, failed: str, event: McuRefused | DeadlinePassed, rules: Rules, error: ErrCode
) -> Decision:
    """After `failed`: the record's host, or that of a newer placement whose record was lost."""
    because, now_ms = f"{failed} failed ({error})", event.now_ms
    if not event.served and hosts_to_try(c, now_ms):
        because = f"{because}, its platform is no longer served here"
        return give_up(c, ErrCode.PLATFORM_NOT_SERVED, now_ms, because, penalise=failed)
    if event.placement is None:
        return give_up(c, error, now_ms, f"{because}, none is left to try", penalise=failed)
    step = _try_host(c, event.placement, now_ms, rules, because)
    return replace(step, effects=(*step.effects, free_load(c)), penalise=failed)


def _try_host(c: Conference, placement: Placement, now_ms: int, rules: Rules, because: str) -> Decision:
    attempt = c.attempt
    assert attempt is not None and attempt.mcus is not None  # `hosts_to_try` gave the host from it
    left = replace(attempt, mcus=tuple(ip for ip in attempt.mcus if ip != placement.ip))
    wait_ms = max(1, min(rules.request_timeout_ms, attempt.deadline_ms - now_ms))
    record = replace(
        c,
        ip=placement.ip,
        pid="",
        roommoid=placement.roommoid or attempt.roommoid,
        epoch=placement.epoch,
        due_ms=now_ms + wait_ms,
        attempt=left,
    )
    return Decision(because=f"{because}; {placement.ip} is asked", record=record, effects=(AskMcuToCreate(wait_ms),))
