"""The end time of conferences, and the notices before it (seed 9.3)."""

from __future__ import annotations

from msgspec.structs import replace

from css.domain.conference import Conference
from css.domain.decision import Decision, end, ignore
from css.domain.effects import Effect, EndReason, WarnOfEnd, release_on_mcu
from css.domain.events import DeadlinePassed, Rules

NOTICES = (5, 1)
"""Minutes before the end at which the MCU and the CM are told, the earliest first."""


def schedule(c: Conference, now_ms: int) -> Conference:
    """An ongoing conference with the next thing that its end time asks for as its deadline.

    A notice whose time is already past is skipped. After a delay, call it with `warned` 0 to arm both again.
    """
    if not c.endtime:
        return replace(c, warned=0, due_ms=0)
    for minutes in NOTICES:
        at_ms = (c.endtime - 60 * minutes) * 1000
        if at_ms > now_ms and (not c.warned or minutes < c.warned):
            return replace(c, due_ms=at_ms)
    return replace(c, due_ms=c.endtime * 1000)


def due(c: Conference, event: DeadlinePassed, rules: Rules) -> Decision:
    """A deadline of an ongoing conference has come: a notice, or its end."""
    if not c.endtime or event.now_ms < c.due_ms:
        return ignore("not due yet")
    if event.now_ms >= c.endtime * 1000:
        return expire(c, event.now_ms)
    minutes = _reached(c, event.now_ms)
    if not minutes:
        return Decision(because="its end has moved", record=schedule(c, event.now_ms))
    record = schedule(replace(c, warned=minutes), event.now_ms)
    return Decision(because=f"ends in {minutes} minutes", record=record, effects=(WarnOfEnd(minutes),))


def expire(c: Conference, now_ms: int) -> Decision:
    """Its end time has come, in whatever state it is: released where it runs, cleaned up, reported."""
    first: list[Effect] = [release_on_mcu(c)] if c.ip and c.pid else []
    return end(c, EndReason.EXPIRED, now_ms, "its end time has come", *first)


def is_over(c: Conference, now_ms: int) -> bool:
    """Whether its end time has passed."""
    return bool(c.endtime) and now_ms >= c.endtime * 1000


def minutes_left(c: Conference, now_ms: int) -> int:
    """Minutes to its end, rounded up; 0: it has no end. Asked of one that is not over."""
    return max(1, -(-(c.endtime * 1000 - now_ms) // 60_000)) if c.endtime else 0


def _reached(c: Conference, now_ms: int) -> int:
    """The last notice whose time has come; 0: none has. One that was held up for long gives way to the next."""
    return min((minutes for minutes in NOTICES if (c.endtime - 60 * minutes) * 1000 <= now_ms), default=0)
