"""Control of running conferences: passed through, renamed, delayed, monitored (seed 2.3.3, 5, 10)."""
# ruff: noqa: N815  (fields are spelled as on the wire)

from __future__ import annotations

from typing import Annotated

import msgspec

from css.messages.base import (
    E164,
    MAX_MINUTES,
    ErrorText,
    Ip,
    Kept,
    Minutes,
    MonitorId,
    Name,
    Named,
    Pid,
    RequestId,
    Time,
    keep,
)

Delay = Annotated[int, msgspec.Meta(ge=1, le=MAX_MINUTES)]
OptionalE164 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{0,32}\Z")]


class Control(Kept, frozen=True, omit_defaults=True):
    """Any `CM_CMU_*` that CSS only passes on; `original` is what is passed on."""

    type: str
    confE164: OptionalE164
    mtreqid: RequestId = ""


class CmControl(Control, frozen=True, omit_defaults=True):
    """Any `CM_CMU_*` without a struct of its own: from a CM to the MCU of its conference."""

    confE164: E164


class McuControl(Control, frozen=True, omit_defaults=True):
    """Any `CMU_CM_*` without a struct of its own: from an MCU to a CM. An answer may do without the number."""

    confE164: OptionalE164 = ""
    ip: Ip | None = None
    pid: Pid | None = None


class ModifyNameRequest(Kept, tag_field="type", tag="CMU_CM_MODIFYCONFNAME_REQ", frozen=True, omit_defaults=True):
    """An MCU asks the CM for a new name of a conference."""

    confE164: E164
    confname: Name
    ip: Ip
    pid: Pid
    mtreqid: RequestId = ""


class ModifyNameAck(Kept, tag_field="type", tag="CM_CMU_MODIFYCONFNAME_ACK", frozen=True, omit_defaults=True):
    """The CM agrees; also spelled `CM_MAU_MODIFYCONFNAME_ACK`."""

    confE164: E164
    confname: Name = ""
    ip: Ip | None = None
    pid: Pid | None = None
    mtreqid: RequestId = ""


class ModifyNameNack(Kept, tag_field="type", tag="CM_CMU_MODIFYCONFNAME_NACK", frozen=True, omit_defaults=True):
    """The CM refuses; also spelled `CM_MAU_MODIFYCONFNAME_NACK`."""

    confE164: E164
    errcode: ErrorText
    confname: Name = ""
    ip: Ip | None = None
    pid: Pid | None = None
    mtreqid: RequestId = ""


class DelayRequest(Named, tag="CM_MAU_DELAYCONF_REQ", frozen=True):
    """A CM moves a conference's end by `delay` minutes."""

    confE164: E164
    delay: Delay
    mtreqid: RequestId = ""


class DelayAck(Named, tag="CM_MAU_DELAYCONF_ACK", frozen=True):
    """The CM's delay is done; `endtime` is the new one."""

    confE164: E164
    mtreqid: RequestId
    endtime: Time


class DelayNack(Named, tag="CM_MAU_DELAYCONF_NACK", frozen=True):
    """The CM's delay is refused."""

    confE164: E164
    mtreqid: RequestId
    errcode: ErrorText


class McuDelayRequest(Named, tag="MCU_MAU_DELAYCONF_REQ", frozen=True):
    """An MCU moves its conference's end by `delay` minutes."""

    confE164: E164
    ip: Ip
    pid: Pid
    delay: Delay
    mtreqid: RequestId = ""


class McuDelayAck(Named, tag="MAU_MCU_DELAYCONF_ACK", frozen=True):
    """The MCU's delay is done; `endtime` is the new one."""

    confE164: E164
    mtreqid: RequestId
    endtime: Time


class McuDelayNack(Named, tag="MAU_MCU_DELAYCONF_NACK", frozen=True):
    """The MCU's delay is refused."""

    confE164: E164
    mtreqid: RequestId
    errcode: ErrorText


class DurationNotice(Named, tag="CM_MAU_CONFDURATION_NTF", frozen=True):
    """To the CM: the end has moved; `duration` is the new total in minutes."""

    confE164: E164
    endtime: Time
    duration: Minutes


class McuDurationNotice(Named, tag="MAU_CMU_CONFDURATION_NTF", frozen=True):
    """To the MCU: the end has moved; `duration` is the new total in minutes."""

    confE164: E164
    endtime: Time
    duration: Minutes


class TimeoutNotice(Named, tag="MAU_CM_CONFTIMEOUT_NTF", frozen=True):
    """To the CM: the conference ends in `minutes`."""

    confE164: E164
    minutes: Minutes


class McuTimeoutNotice(Named, tag="MAU_CMU_CONFTIMEOUT_NTF", frozen=True):
    """To the MCU: the conference ends in `minutes`."""

    confE164: E164
    minutes: Minutes


class StartMonitorRequest(Kept, tag_field="type", tag="CM_CMU_STARTMONITOR_REQ", frozen=True, omit_defaults=True):
    """A CM starts to monitor a conference: passed through, and noted."""

    confE164: E164
    monitorid: MonitorId
    mtreqid: RequestId = ""


class StopMonitorRequest(Kept, tag_field="type", tag="CM_CMU_STOPMONITOR_REQ", frozen=True, omit_defaults=True):
    """A CM stops a monitor: passed through, and noted."""

    confE164: E164
    monitorid: MonitorId
    mtreqid: RequestId = ""


class MonitorHeartbeatNotice(Named, tag="CM_CMU_MONITORHEARTBEAT_NTF", frozen=True):
    """A monitor is still wanted; never passed to the MCU."""

    confE164: E164
    monitorid: MonitorId


class McuStopMonitorCommand(Named, tag="MAU_CMU_STOPMONITOR_CMD", frozen=True):
    """To the MCU: a monitor has expired."""

    confE164: E164
    monitorid: MonitorId


class StopMonitorNotice(Named, tag="MAU_CM_STOPMONITOR_NTF", frozen=True):
    """To the CM: a monitor was lost when its conference was restored."""

    confE164: E164
    monitorid: MonitorId


CmRequest = CmControl | StartMonitorRequest | StopMonitorRequest
"""What a CM asks of an MCU, or tells it, and CSS passes on."""


def refusal(nack: str, e164: str, mtreqid: str, errcode: str) -> McuControl:
    """The NACK of CSS to a control request that does not reach its MCU. @param nack: its type."""
    answer = McuControl(type=nack, confE164=e164, mtreqid=mtreqid)
    fields = {"type": nack, "confE164": e164, "mtreqid": mtreqid, "errcode": errcode}
    keep(answer, msgspec.json.encode(fields))
    return answer


MESSAGES = (
    ModifyNameRequest,
    ModifyNameAck,
    ModifyNameNack,
    DelayRequest,
    DelayAck,
    DelayNack,
    McuDelayRequest,
    McuDelayAck,
    McuDelayNack,
    DurationNotice,
    McuDurationNotice,
    TimeoutNotice,
    McuTimeoutNotice,
    StartMonitorRequest,
    StopMonitorRequest,
    MonitorHeartbeatNotice,
    McuStopMonitorCommand,
    StopMonitorNotice,
)
