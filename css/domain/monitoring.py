"""Who monitors a conference (seed 10): noted with its start, kept alive by heartbeats, forgotten by any restore."""

from __future__ import annotations

from msgspec.structs import replace

from css.domain.conference import Conference, Monitor
from css.domain.decision import Decision, ignore
from css.domain.effects import Effect, StopMonitorOnMcu, TellMonitorStopped
from css.domain.errors import ErrCode
from css.domain.events import MonitorHeard, MonitorsDue, MonitorStarted, MonitorStopped, Rules

MOST_MONITORS = 128
"""Of one conference at a time: each is part of its record."""


def refusal(c: Conference, monitorid: str) -> ErrCode | None:
    """Why a conference can't have a monitor more; None: it can. One that it has already takes no further place."""
    is_full = len(c.monitors) >= MOST_MONITORS and find(c, monitorid) is None
    return ErrCode.NO_RESOURCE if is_full else None


def start(c: Conference, event: MonitorStarted, rules: Rules) -> Decision:
    """Note a monitor before its MCU is asked: if the answer is lost, it expires all the same."""
    if (event.epoch, event.platform) != (c.epoch, c.platformmoid):
        return ignore("the monitor was meant for another placement")
    if refusal(c, event.monitorid):
        return ignore("it has as many monitors as it can have")
    until_ms = event.now_ms + rules.monitor_timeout_ms
    return _with(c, Monitor(event.monitorid, event.now_ms, until_ms), "a monitor starts")


def hear(c: Conference, event: MonitorHeard, rules: Rules) -> Decision:
    """A monitor is still wanted. Also while the conference waits to be restored: its MCU may have it after all."""
    known, until_ms = find(c, event.monitorid), event.now_ms + rules.monitor_timeout_ms
    if known is None:
        return ignore("a heartbeat of a monitor that is not known, or not any more")
    if known.until_ms >= until_ms:
        return ignore("a heartbeat older than the last one")
    return _with(c, replace(known, until_ms=until_ms), "a monitor is still wanted")


def stop(c: Conference, event: MonitorStopped, rules: Rules) -> Decision:
    """The MCU has stopped a monitor as it was asked to. One that was started anew since is another."""
    known = find(c, event.monitorid)
    if known is None or known.started_ms != event.started_ms:
        return ignore("the monitor is not known, or has been started anew")
    left = tuple(each for each in c.monitors if each is not known)
    return Decision(because="a monitor has stopped", record=replace(c, monitors=left))


def expire(c: Conference, event: MonitorsDue, rules: Rules) -> Decision:
    """What has not been heard of for too long is stopped, by the platform where the conference runs."""
    if event.platform != c.platformmoid:
        return ignore("it runs on another platform")
    over = [each for each in c.monitors if each.until_ms <= event.now_ms]
    if not over:
        return ignore("no monitor has expired")
    left = tuple(each for each in c.monitors if each.until_ms > event.now_ms)
    effects = tuple(StopMonitorOnMcu(each.monitorid) for each in over)
    return Decision(because=f"{len(over)} monitors have expired", record=replace(c, monitors=left), effects=effects)


def stopped_by_restore(c: Conference) -> tuple[Effect, ...]:
    """What the CM is told when a conference has another placement, whose MCU knows of no monitor."""
    return tuple(TellMonitorStopped(each.monitorid) for each in c.monitors)


def find(c: Conference, monitorid: str) -> Monitor | None:
    """The monitor of a conference with this id."""
    return next((each for each in c.monitors if each.monitorid == monitorid), None)


def _with(c: Conference, monitor: Monitor, because: str) -> Decision:
    others = tuple(each for each in c.monitors if each.monitorid != monitor.monitorid)
    return Decision(because=because, record=replace(c, monitors=(*others, monitor)))
