"""Create and release (seed 1.1, 2.3.2, 4.6)."""
# ruff: noqa: N815  (fields are spelled as on the wire)

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from css.messages.base import (
    E164,
    ConfType,
    Epoch,
    ErrorText,
    Flag,
    Ip,
    Kept,
    Minutes,
    Moid,
    Name,
    Named,
    OptionalMoid,
    Password,
    Pid,
    RequestId,
    Time,
)

Priority = Annotated[int, msgspec.Meta(ge=0, le=9)]
Terminals = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Server(msgspec.Struct, frozen=True, gc=False):
    """A server that RMS names."""

    ip: Ip


class Wanted(Kept, frozen=True, omit_defaults=True):
    """What a create JSON says, whoever passes it on. `duration` in minutes, 0 until released."""

    confE164: E164
    confname: Name
    moid: Moid
    conftype: ConfType = 1
    duration: Minutes = 0
    record: Flag = 0
    password: Password = ""
    maxjoinmt: Terminals = 8
    legacy: Flag = 0
    priority: Priority = 5


class CreateRequest(Wanted, tag_field="type", tag="CM_MAU_CREATECONF_REQ", frozen=True, omit_defaults=True):
    """A CM asks for a conference. A higher `priority` is restored first."""

    mtreqid: RequestId = ""


class ResourceRequest(Named, tag="GET_RES_REQ", frozen=True):
    """Which servers may this user domain use now?"""

    moid: Moid


class ResourceAck(Named, tag="GET_RES_ACK", frozen=True):
    """The servers that a user domain may use now, and the room that they are in."""

    roommoid: OptionalMoid
    mcu: list[Server]
    vrs: list[Server] = msgspec.field(default_factory=list)
    mps: list[Server] = msgspec.field(default_factory=list)


class ResourceNack(Named, tag="GET_RES_NACK", frozen=True):
    """RMS has nothing for the user domain."""

    errcode: ErrorText


class Placed(Wanted, frozen=True, omit_defaults=True, kw_only=True):
    """The create JSON with a placement in it, as an MCU host gets it."""

    ip: Ip
    roommoid: OptionalMoid
    epoch: Epoch
    xmpu: Flag
    vrs: Server | None = None


class McuCreateRequest(Placed, tag_field="type", tag="MAU_MCU_CREATECONF_REQ", frozen=True, omit_defaults=True):
    """An MCU host is asked to begin a conference; build it with `mcu_create_body`."""


class PlacedAck(Named, frozen=True):
    """The conference runs in process `pid`. `time`: the MCU's clock."""

    confE164: E164
    ip: Ip
    pid: Pid
    epoch: Epoch | None = None
    time: Time | None = None


class PlacedNack(Named, frozen=True):
    """The MCU host does not take the conference."""

    confE164: E164
    ip: Ip
    errcode: ErrorText
    epoch: Epoch | None = None


class McuCreateAck(PlacedAck, tag="MCU_MAU_CREATECONF_ACK", frozen=True):
    """A new conference runs."""


class McuCreateNack(PlacedNack, tag="MCU_MAU_CREATECONF_NACK", frozen=True):
    """A new conference is not taken."""


class CreateAck(Named, tag="MAU_CM_CREATECONF_ACK", frozen=True):
    """The conference runs; `endtime` 0: until released."""

    confE164: E164
    confname: Name
    mtreqid: RequestId
    ip: Ip
    pid: Pid
    roommoid: OptionalMoid
    platformmoid: Moid
    endtime: Time


class CreateNack(Named, tag="MAU_CM_CREATECONF_NACK", frozen=True):
    """The conference is not created."""

    confE164: E164
    mtreqid: RequestId
    errcode: ErrorText


class ReleaseRequest(Named, tag="CM_MAU_RELEASECONF_REQ", frozen=True):
    """A CM ends a conference."""

    confE164: E164
    mtreqid: RequestId = ""


class ReleaseAck(Named, tag="MAU_CM_RELEASECONF_ACK", frozen=True):
    """The conference has been ended."""

    confE164: E164
    mtreqid: RequestId


class ReleaseNack(Named, tag="MAU_CM_RELEASECONF_NACK", frozen=True):
    """There is no such conference, or it can't be reached."""

    confE164: E164
    mtreqid: RequestId
    errcode: ErrorText


class McuReleaseCommand(Named, tag="MAU_MCU_RELEASECONF_CMD", frozen=True):
    """End the placement `epoch` of a conference (absent: whatever runs there)."""

    confE164: E164
    ip: Ip
    pid: Pid
    epoch: Epoch | None = None


class McuReleaseNotice(Named, tag="MCU_MAU_RELEASECONF_NTF", frozen=True):
    """A placement has ended on its MCU."""

    confE164: E164
    ip: Ip
    pid: Pid
    epoch: Epoch | None = None


class ReleaseNotice(Named, tag="MAU_CM_RELEASECONF_NTF", frozen=True):
    """A conference has ended; `reason`: `released`, `expired` or `lost`."""

    confE164: E164
    reason: ErrorText


def mcu_create_body(original: bytes, *, ip: str, roommoid: str, epoch: int, xmpu: int, vrs: str) -> bytes:
    """The body of `MAU_MCU_CREATECONF_REQ`: the CM's own JSON with the placement in it.

    @param original: `CreateRequest.original`; every field that is not overwritten is copied byte for byte.
    @param vrs: address of the recorder; empty for none.
    """
    changes = {"type": McuCreateRequest.__struct_config__.tag, **_placement(ip, roommoid, epoch, xmpu)}
    return with_fields(original, changes, vrs)


def mcu_restore_body(
    original: bytes,
    *,
    confname: str,
    password: str,
    duration: int,
    endtime: int,
    ip: str,
    roommoid: str,
    epoch: int,
    xmpu: int,
    vrs: str,
) -> bytes:
    """The body of `MAU_CMU_RESTORECONF_REQ`: the CM's own JSON with today's name, password, end and placement.

    @param duration: minutes left, rounded up; 0 for no end.
    @param endtime: seconds since the epoch; 0 for no end.
    """
    changes: dict[str, Any] = {"type": "MAU_CMU_RESTORECONF_REQ", "confname": confname, "password": password}
    changes |= {"duration": duration, "endtime": endtime, **_placement(ip, roommoid, epoch, xmpu)}
    return with_fields(original, changes, vrs)


def _placement(ip: str, roommoid: str, epoch: int, xmpu: int) -> dict[str, Any]:
    return {"ip": ip, "roommoid": roommoid, "epoch": epoch, "xmpu": xmpu}


def with_fields(original: bytes, changes: dict[str, Any], vrs: str) -> bytes:
    """A JSON object with some fields replaced, `vrs` replaced or dropped, and all others copied byte for byte."""
    fields: dict[str, Any] = _raw_fields.decode(original)
    fields.update(changes)
    if vrs:
        fields["vrs"] = {"ip": vrs}
    else:
        fields.pop("vrs", None)
    return _encoder.encode(fields)


_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()

MESSAGES = (
    CreateRequest,
    ResourceRequest,
    ResourceAck,
    ResourceNack,
    McuCreateRequest,
    McuCreateAck,
    McuCreateNack,
    CreateAck,
    CreateNack,
    ReleaseRequest,
    ReleaseAck,
    ReleaseNack,
    McuReleaseCommand,
    McuReleaseNotice,
    ReleaseNotice,
)
