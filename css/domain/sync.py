"""Sync with an MCU's list of conferences (seed 9.2): what a listed, or a missing, conference means for its record.

A list is the truth about what runs on one MCU process at one moment; the record is the truth about what should. Every
rule here may be applied twice, late, or by two instances at once: the record's version decides which one counts.
"""

from __future__ import annotations

from msgspec.structs import replace

from css.domain.adoption import adopt
from css.domain.conference import Conference, Missed, State
from css.domain.creation import accept as accept_create
from css.domain.decision import Decision, end, ignore
from css.domain.effects import EndReason, ReleaseOnMcu, ReportRunning, SaveRow
from css.domain.events import Absent, Listed, McuAccepted, Rules
from css.domain.expiry import schedule
from css.domain.recovery import accept as accept_restore

NEAR_SECONDS = 5
"""Without epochs the later start wins; within this the record does."""
APART_MS = 5_000
"""Without the MCU's clock two lists count as two if they came this far apart."""


def listed_while_ongoing(c: Conference, event: Listed, rules: Rules) -> Decision:
    """It runs where the record says: fine. It runs elsewhere: the newer placement wins, the other is released."""
    if _is_present(c, event):
        if c.missed is None:
            return ignore("listed where it runs")
        return Decision(because="listed again", record=replace(c, missed=None))
    return _settle(c, event)


def listed_while_pending(c: Conference, event: Listed, rules: Rules) -> Decision:
    """Its MCU has it after all: `ongoing` again, nothing was lost (seed 1.2)."""
    if not (c.ip and _is_present(c, event)):
        return _settle(c, event)
    record = schedule(replace(c, state=State.ONGOING, attempt=None, missed=None, lost_ms=0), event.now_ms)
    because = f"{c.ip} process {c.pid} has it after all"
    return Decision(because=because, record=record, effects=(ReportRunning(), SaveRow()))


def listed_while_asked(c: Conference, event: Listed, rules: Rules) -> Decision:
    """An MCU is being asked. The list confirms it only with the record's epoch: then the ACK was lost."""
    is_asked = (event.platform, event.ip) == (c.platformmoid, c.ip)
    confirms = event.epoch == c.epoch and is_asked
    if event.epoch is None and c.attempt is not None:
        asked_since = (c.attempt.deadline_ms - rules.creating_timeout_ms) // 1000
        confirms = is_asked and event.createtime >= asked_since
    if not confirms:
        return _settle(c, event)
    # The list's entry says what the ACK would have said: when it started, by the MCU's clock.
    accepted = McuAccepted(
        now_ms=event.now_ms,
        platform=event.platform,
        ip=event.ip,
        pid=event.pid,
        epoch=event.epoch,
        time=event.createtime,
    )
    return (accept_restore if c.has_run else accept_create)(c, accepted, rules)


def listed_while_rms_is_asked(c: Conference, event: Listed, rules: Rules) -> Decision:
    """A create that has not chosen an MCU: what runs is of another time."""
    return _settle(c, event)


def absent(c: Conference, event: Absent, rules: Rules) -> Decision:
    """Its MCU no longer lists it: ended, once two lists have said so that were taken after its start."""
    if not _is_its_process(c, event):
        return ignore("missing from the list of another MCU process")
    if event.time is not None and c.acked_time is not None and event.time <= c.acked_time:
        return ignore("the list is older than the placement")
    missed = c.missed
    if missed is None:
        missed = Missed(event.time, event.now_ms, event.seq)
        return Decision(because="missing from a list", record=replace(c, missed=missed))
    if not _are_two(c, missed, event):
        return ignore("missing from the same list, or from one just after it")
    return end(c, EndReason.LOST, event.now_ms, f"missing from two lists of {c.ip} process {c.pid}")


def _are_two(c: Conference, missed: Missed, event: Absent) -> bool:
    if (missed.time is not None and missed.time == event.time) or (missed.seq is not None and missed.seq == event.seq):
        return False  # the same list, delivered again
    if missed.time is not None and event.time is not None and c.acked_time is not None:
        return True
    return event.now_ms - missed.received_ms >= APART_MS


def _is_present(c: Conference, event: Listed) -> bool:
    """Whether the entry is the record's own placement. Hosts of two platforms may have the same address."""
    return _is_its_process(c, event) and event.epoch in (None, c.epoch)


def _is_its_process(c: Conference, event: Listed | Absent) -> bool:
    return (event.platform, event.ip, event.pid) == (c.platformmoid, c.ip, c.pid)


def _settle(c: Conference, event: Listed) -> Decision:
    """Two placements: the one of the list, and the record's. The newer wins; the other is released where it runs."""
    if _wins(c, event):
        return adopt(
            c,
            event.now_ms,
            ip=event.ip,
            pid=event.pid,
            epoch=event.fresh_epoch if event.epoch is None else event.epoch,
            createtime=event.createtime,
            acked_time=event.createtime,
            roommoid=event.roommoid,
            platform=event.platform,
        )
    on_its_host = (event.platform, event.ip) == (c.platformmoid, c.ip)
    if event.epoch is None and on_its_host and c.pid in ("", event.pid):
        return ignore("the present MCU knows no epochs: a release might end what it has just been asked for")
    return ignore("an older placement", ReleaseOnMcu(event.ip, event.pid, event.epoch))


def _wins(c: Conference, event: Listed) -> bool:
    if event.epoch is not None:
        # Equal ones on two platforms: the greater moid wins (contract, section 1).
        return (event.epoch, event.platform) > (c.epoch, c.platformmoid)
    return c.state is State.ONGOING and event.createtime > c.createtime + NEAR_SECONDS
