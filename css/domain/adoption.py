"""A placement newer than the record's: the writes that made it were lost, and what runs is the truth."""

from __future__ import annotations

from msgspec.structs import replace

from css.domain.conference import Conference, State
from css.domain.decision import Decision
from css.domain.effects import (
    AnswerCreated,
    Effect,
    ReportGone,
    ReportRunning,
    SaveRow,
    TellRestored,
    free_load,
    release_on_mcu,
    take_load,
)
from css.domain.expiry import schedule
from css.domain.monitoring import stopped_by_restore


def adopt(
    c: Conference,
    now_ms: int,
    *,
    ip: str,
    pid: str,
    epoch: int,
    createtime: int,
    acked_time: int | None,
    roommoid: str = "",
    platform: str = "",
) -> Decision:
    """The conference runs on `ip`, process `pid`, under a newer epoch: the record follows, the old placement ends.

    @param createtime: start of the placement. @param acked_time: the same by the MCU's clock, if it is known.
    @param roommoid, platform: where the MCU is; empty: as the record has it.
    """
    begintime = c.begintime or now_ms // 1000
    record = replace(
        c,
        state=State.ONGOING,
        platformmoid=platform or c.platformmoid,
        ip=ip,
        pid=pid,
        roommoid=roommoid or c.roommoid,
        epoch=epoch,
        createtime=createtime,
        begintime=begintime,
        endtime=c.endtime or (begintime + 60 * c.duration if c.duration else 0),
        attempt=None,
        missed=None,
        lost_ms=0,
        acked_time=acked_time,
        monitors=(),
    )
    record = schedule(record, now_ms)
    requester = c.attempt.requester if c.attempt else None
    told: Effect = TellRestored() if requester is None else AnswerCreated(requester)
    effects = (told, ReportRunning(), SaveRow(), take_load(record), *_leave(c, record))
    effects = (*effects, *stopped_by_restore(c))
    if c.has_run and c.platformmoid != record.platformmoid:
        effects = (*effects, ReportGone(c.platformmoid))
    return Decision(because=f"{ip} process {pid} has a newer placement", record=record, effects=effects)


def _leave(c: Conference, record: Conference) -> list[Effect]:
    """Give the old placement up: its place, and, if it is in another process than the new one, what runs there."""
    left: list[Effect] = [free_load(c)] if c.ip else []
    new = (record.platformmoid, record.ip, record.pid)
    if c.ip and c.pid and (c.platformmoid, c.ip, c.pid) != new:
        left.append(release_on_mcu(c))
    return left
