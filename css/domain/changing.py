"""Decisions that change what a conference is: its end (seed 5.3), its name and its password (seed 5.1, 5.2)."""

from __future__ import annotations

from msgspec.structs import replace

from css.domain.conference import Conference, State
from css.domain.decision import Decision, ignore
from css.domain.effects import (
    AnswerDelayed,
    AnswerNotDelayed,
    Effect,
    ReportRenamed,
    SaveRow,
    TellDelayed,
    TellMcuDelayed,
)
from css.domain.errors import ErrCode
from css.domain.events import DelayAsked, McuProcess, Rules, StateChanged
from css.domain.expiry import schedule

LONGEST_MINUTES = 10_000_000
"""19 years: the longest duration of a conference that is taken for meant."""


def delay(c: Conference, event: DelayAsked, rules: Rules) -> Decision:
    """Move the end of a conference that has run, wherever it runs, also while it waits to be restored.

    An MCU may move the end of what it runs only. Both notices before the end are due again.
    """
    if event.mcu is not None and not _runs_on(c, event.mcu):
        return _refused(event, ErrCode.CONF_NOT_RUNNING, "another MCU process wants its end moved")
    if not c.endtime:
        return _refused(event, ErrCode.BAD_REQUEST, "it has no end that could be moved")
    if c.duration + event.minutes > LONGEST_MINUTES:
        return _refused(event, ErrCode.BAD_REQUEST, "its end would be too far away")
    effects: list[Effect] = [AnswerDelayed(event.requester, event.mcu is not None), TellDelayed()]
    if event.mcu is None and c.ip and c.pid:
        effects.append(TellMcuDelayed())
    effects.append(SaveRow())
    because = f"its end is moved by {event.minutes} minutes"
    return Decision(because=because, record=_moved(c, event, rules), effects=tuple(effects))


def refuse_delay(c: Conference, event: DelayAsked, rules: Rules) -> Decision:
    """One that has never run has no end yet."""
    return _refused(event, ErrCode.CONF_NOT_RUNNING, "it does not run yet")


def rename(c: Conference, event: StateChanged, rules: Rules) -> Decision:
    """The MCU process that runs it has given it another name or password: a restored one gets these, too."""
    if not _runs_on(c, event.mcu):
        return ignore("another MCU process speaks of its name or password")
    confname = c.confname if event.confname is None else event.confname
    password = c.password if event.password is None else event.password
    if (confname, password) == (c.confname, c.password):
        return ignore("its name and password are known")
    # UPU is told of what can be reached: one that waits to be restored is reported again when it runs.
    renamed = confname != c.confname and c.state is State.ONGOING
    effects: tuple[Effect, ...] = (SaveRow(), ReportRenamed()) if renamed else (SaveRow(),)
    record = replace(c, confname=confname, password=password)
    return Decision(because="it has another name or password", record=record, effects=effects)


def _refused(event: DelayAsked, errcode: ErrCode, because: str) -> Decision:
    return ignore(because, AnswerNotDelayed(event.requester, event.mcu is not None, errcode))


def _runs_on(c: Conference, mcu: McuProcess) -> bool:
    return (c.platformmoid, c.ip, c.pid) == (mcu.platform, mcu.ip, mcu.pid)


def _moved(c: Conference, event: DelayAsked, rules: Rules) -> Conference:
    """The record with its later end, and with the deadline that follows from it."""
    moved = replace(c, endtime=c.endtime + 60 * event.minutes, duration=c.duration + event.minutes, warned=0)
    if c.state is State.ONGOING:
        return schedule(moved, event.now_ms)
    if c.attempt is not None:
        # A host that is being asked knows the earlier end only; RMS does not care.
        return replace(moved, attempt=replace(c.attempt, delayed=c.state is State.CREATING))
    if c.legacy:
        return replace(moved, due_ms=min(c.lost_ms + rules.legacy_wait_ms, moved.endtime * 1000))
    # Its next attempt stays; if it was to be ended then, it is restored then.
    return moved
