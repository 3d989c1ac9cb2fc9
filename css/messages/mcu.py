"""The state of MCUs: lists, heartbeats, restores (seed 1.2, 9.2, 9.4)."""
# ruff: noqa: N815  (fields are spelled as on the wire)

from __future__ import annotations

import msgspec

from css.messages.base import (
    E164,
    Epoch,
    Flag,
    Ip,
    Moid,
    Name,
    Named,
    Natural,
    OptionalMoid,
    Password,
    Pid,
    Time,
)
from css.messages.create import Placed, PlacedAck, PlacedNack


class ConfListEntry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A conference that runs on the MCU; `createtime`: when this placement began, by the MCU's clock."""

    confE164: E164
    createtime: Time
    epoch: Epoch | None = None


class ConfListNotice(Named, tag="MCU_MAU_CONFLIST_NTF", frozen=True):
    """Everything that runs in one process of an MCU.

    `time`: when it was taken, by the MCU's clock; `seq` grows with each list of a pid; `restarted` 1: this process
    replaces all others of the host.
    """

    ip: Ip
    pid: Pid
    confdatainfo: list[ConfListEntry]
    roommoid: OptionalMoid = ""
    time: Time | None = None
    seq: Natural | None = None
    restarted: Flag = 0


class HeartbeatNotice(Named, tag="MCU_MAU_HEARTBEAT_NTF", frozen=True):
    """A process of an MCU is alive."""

    ip: Ip
    pid: Pid
    roommoid: OptionalMoid = ""


class DisconnectNotice(Named, tag="MCU_MAU_DISCONNECT_NTF", frozen=True):
    """The link to a process of an MCU is lost."""

    ip: Ip
    pid: Pid


class McuRestoreRequest(
    Placed, tag_field="type", tag="MAU_CMU_RESTORECONF_REQ", frozen=True, omit_defaults=True, kw_only=True
):
    """The new MCU host is asked to begin it with today's data; build it with `create.mcu_restore_body`."""

    endtime: Time


class RestoreAck(PlacedAck, tag="CMU_MAU_RESTORECONF_ACK", frozen=True):
    """The restored conference runs."""


class RestoreNack(PlacedNack, tag="CMU_MAU_RESTORECONF_NACK", frozen=True):
    """The restored conference is not taken."""


class RestoreNotice(Named, tag="MAU_CM_RESTORECONF_NTF", frozen=True):
    """A conference runs again, here."""

    confE164: E164
    ip: Ip
    pid: Pid
    roommoid: OptionalMoid
    platformmoid: Moid


class StateChangeNotice(Named, tag="MCU_MAU_CONFSTATECHANGE_NTF", frozen=True):
    """A running conference has a new name or password; None: unchanged."""

    confE164: E164
    ip: Ip
    pid: Pid
    confname: Name | None = None
    password: Password | None = None


MESSAGES = (
    ConfListNotice,
    HeartbeatNotice,
    DisconnectNotice,
    McuRestoreRequest,
    RestoreAck,
    RestoreNack,
    RestoreNotice,
    StateChangeNotice,
)
