"""One valid example of every message, written from the wire contract and not from the structs."""

from __future__ import annotations

from typing import Any

import msgspec

from css.messages import control, create, domains, licences, mcu, pms, reports, templates, upu
from css.messages.base import Message

NUMBER = "0660175"
NAME = "第一会议室 例会"
HOST = {"ip": "172.16.186.32"}
PROCESS = {"ip": "172.16.186.32", "pid": "26603"}
EPOCH = 1835008000126469
TIME = 1_700_000_000
CREATE_REQUIRED = {"confE164": NUMBER, "confname": NAME, "moid": "user-1"}
CREATE_OPTIONAL = {
    "conftype": 2,
    "duration": 60,
    "record": 1,
    "password": "秘密12",
    "maxjoinmt": 192,
    "legacy": 1,
    "priority": 9,
}
PLACED = {**CREATE_REQUIRED, **HOST, "roommoid": "room-1", "epoch": EPOCH, "xmpu": 1}
ACKED = {"confE164": NUMBER, **PROCESS}
TEMPLATE = {"e164": NUMBER, "moid": "user-1", "name": NAME, "content": {"layout": {"rows": [1, 2]}, "name": NAME}}
UPU_ENTRY = {
    "confE164": NUMBER,
    "confname": NAME,
    "conftype": 4,
    "moid": "user-1",
    "platformmoid": "A",
    "running": 1,
}
NUMBERS = {
    "smallconfnum": 10,
    "largeconfnum": 2,
    "softwarenumlimit": 3,
    "hardwarenumlimit": 4,
    "monitornumlimit": 5,
    "mediaportnumlimit": 6,
    "currentcallnumlimit": 7,
}
PLATFORM_LICENCE = {"moid": "A", "license": "gAAAA-token", "platforms": [{"moid": "A", **NUMBERS}, {"moid": "B"}]}
STATES = [{"moid": "B", "state": "abnormal"}]
MTREQID = {"mtreqid": "r-1"}
NACK = {"confE164": NUMBER, **MTREQID, "errcode": "INTERNAL"}
TEMPLATE_ACK = {"e164": NUMBER, **MTREQID}


class Example(msgspec.Struct, frozen=True):
    """A message's type, its struct, and its fields on the wire."""

    name: str
    struct: type[Message]
    required: dict[str, Any]
    optional: dict[str, Any] = {}

    def object(self, **changes: Any) -> dict[str, Any]:
        """All fields, some replaced."""
        return {"type": self.name, **self.required, **self.optional, **changes}

    def without(self, *names: str) -> dict[str, Any]:
        """All fields but some."""
        return {name: value for name, value in self.object().items() if name not in names}


EXAMPLES = [
    Example("CM_MAU_CREATECONF_REQ", create.CreateRequest, CREATE_REQUIRED, {**MTREQID, **CREATE_OPTIONAL}),
    Example("GET_RES_REQ", create.ResourceRequest, {"moid": "user-1"}),
    Example("GET_RES_ACK", create.ResourceAck, {"roommoid": "r", "mcu": [HOST, HOST]}, {"vrs": [HOST], "mps": [HOST]}),
    Example("GET_RES_NACK", create.ResourceNack, {"errcode": "NO_MCU"}),
    Example("MAU_MCU_CREATECONF_REQ", create.McuCreateRequest, PLACED, {"vrs": HOST, **CREATE_OPTIONAL}),
    Example("MCU_MAU_CREATECONF_ACK", create.McuCreateAck, ACKED, {"epoch": EPOCH, "time": TIME}),
    Example(
        "MCU_MAU_CREATECONF_NACK",
        create.McuCreateNack,
        {"confE164": NUMBER, **HOST, "errcode": "FULL"},
        {"epoch": EPOCH},
    ),
    Example(
        "MAU_CM_CREATECONF_ACK",
        create.CreateAck,
        {**ACKED, **MTREQID, "confname": NAME, "roommoid": "room-1", "platformmoid": "A", "endtime": 0},
    ),
    Example("MAU_CM_CREATECONF_NACK", create.CreateNack, NACK),
    Example("CM_MAU_RELEASECONF_REQ", create.ReleaseRequest, {"confE164": NUMBER}, MTREQID),
    Example("MAU_CM_RELEASECONF_ACK", create.ReleaseAck, {"confE164": NUMBER, **MTREQID}),
    Example("MAU_CM_RELEASECONF_NACK", create.ReleaseNack, NACK),
    Example("MAU_MCU_RELEASECONF_CMD", create.McuReleaseCommand, ACKED, {"epoch": EPOCH}),
    Example("MCU_MAU_RELEASECONF_NTF", create.McuReleaseNotice, ACKED, {"epoch": EPOCH}),
    Example("MAU_CM_RELEASECONF_NTF", create.ReleaseNotice, {"confE164": NUMBER, "reason": "expired"}),
    Example(
        "MCU_MAU_CONFLIST_NTF",
        mcu.ConfListNotice,
        {
            **PROCESS,
            "confdatainfo": [
                {"confE164": NUMBER, "createtime": TIME, "epoch": EPOCH},
                {"confE164": "1", "createtime": 0},
            ],
        },
        {"roommoid": "room-1", "time": TIME, "seq": 7, "restarted": 1},
    ),
    Example("MCU_MAU_HEARTBEAT_NTF", mcu.HeartbeatNotice, PROCESS, {"roommoid": "room-1"}),
    Example("MCU_MAU_DISCONNECT_NTF", mcu.DisconnectNotice, PROCESS),
    Example(
        "MAU_CMU_RESTORECONF_REQ",
        mcu.McuRestoreRequest,
        {**PLACED, "endtime": TIME},
        {"vrs": HOST, **CREATE_OPTIONAL},
    ),
    Example("CMU_MAU_RESTORECONF_ACK", mcu.RestoreAck, ACKED, {"epoch": EPOCH, "time": TIME}),
    Example(
        "CMU_MAU_RESTORECONF_NACK", mcu.RestoreNack, {"confE164": NUMBER, **HOST, "errcode": "FULL"}, {"epoch": EPOCH}
    ),
    Example("MAU_CM_RESTORECONF_NTF", mcu.RestoreNotice, {**ACKED, "roommoid": "room-1", "platformmoid": "A"}),
    Example("MCU_MAU_CONFSTATECHANGE_NTF", mcu.StateChangeNotice, ACKED, {"confname": NAME, "password": "12"}),
    Example("PLATFORM_STATE_REQ", pms.PlatformStateRequest, {"moid": "A"}),
    Example(
        "PLATFORM_STATE_NOTIFY",
        pms.PlatformStateNotice,
        {"moid": "A", "state": "normal"},
        {"main": STATES, "backup": STATES, "rooms": STATES, "seq": 3},
    ),
    Example("PLATFORM_CONFIG_REQ", pms.PlatformConfigRequest, {"moid": "B"}),
    Example(
        "PLATFORM_CONFIG_NOTIFY",
        pms.PlatformConfigNotice,
        {"moid": "A", "mq": [{"ip": "10.0.0.1", "port": 5672, "vhost": "/a"}]},
        {
            "redis": [{"ip": "10.0.0.2", "port": 6379, "db": 0, "platformmoid": "A"}],
            "mysql": {"ip": "10.0.0.3", "port": 3306, "db": "css"},
        },
    ),
    Example("SERVER_ROOM_STATE_NOTIFY", pms.RoomStateNotice, {"roommoid": "room-1", "state": "abnormal"}, {"seq": 1}),
    Example("CMU_CM_MODIFYCONFNAME_REQ", control.ModifyNameRequest, {**ACKED, "confname": NAME}, MTREQID),
    Example(
        "CM_CMU_MODIFYCONFNAME_ACK",
        control.ModifyNameAck,
        {"confE164": NUMBER},
        {"confname": NAME, **PROCESS, **MTREQID},
    ),
    Example(
        "CM_CMU_MODIFYCONFNAME_NACK",
        control.ModifyNameNack,
        {"confE164": NUMBER, "errcode": "NO"},
        {"confname": NAME, **PROCESS, **MTREQID},
    ),
    Example("CM_MAU_DELAYCONF_REQ", control.DelayRequest, {"confE164": NUMBER, "delay": 30}, MTREQID),
    Example("CM_MAU_DELAYCONF_ACK", control.DelayAck, {"confE164": NUMBER, **MTREQID, "endtime": TIME}),
    Example("CM_MAU_DELAYCONF_NACK", control.DelayNack, NACK),
    Example("MCU_MAU_DELAYCONF_REQ", control.McuDelayRequest, {**ACKED, "delay": 30}, MTREQID),
    Example("MAU_MCU_DELAYCONF_ACK", control.McuDelayAck, {"confE164": NUMBER, **MTREQID, "endtime": TIME}),
    Example("MAU_MCU_DELAYCONF_NACK", control.McuDelayNack, NACK),
    Example("CM_MAU_CONFDURATION_NTF", control.DurationNotice, {"confE164": NUMBER, "endtime": TIME, "duration": 90}),
    Example(
        "MAU_CMU_CONFDURATION_NTF", control.McuDurationNotice, {"confE164": NUMBER, "endtime": TIME, "duration": 90}
    ),
    Example("MAU_CM_CONFTIMEOUT_NTF", control.TimeoutNotice, {"confE164": NUMBER, "minutes": 5}),
    Example("MAU_CMU_CONFTIMEOUT_NTF", control.McuTimeoutNotice, {"confE164": NUMBER, "minutes": 1}),
    Example("CM_CMU_STARTMONITOR_REQ", control.StartMonitorRequest, {"confE164": NUMBER, "monitorid": "m-1"}, MTREQID),
    Example("CM_CMU_STOPMONITOR_REQ", control.StopMonitorRequest, {"confE164": NUMBER, "monitorid": "m-1"}, MTREQID),
    Example("CM_CMU_MONITORHEARTBEAT_NTF", control.MonitorHeartbeatNotice, {"confE164": NUMBER, "monitorid": "m-1"}),
    Example("MAU_CMU_STOPMONITOR_CMD", control.McuStopMonitorCommand, {"confE164": NUMBER, "monitorid": "m-1"}),
    Example("MAU_CM_STOPMONITOR_NTF", control.StopMonitorNotice, {"confE164": NUMBER, "monitorid": "m-1"}),
    Example("CM_CMU_LOCKCONF_REQ", control.CmControl, {"confE164": NUMBER}, {**MTREQID}),
    Example("CMU_CM_LOCKCONF_ACK", control.McuControl, {}, {"confE164": NUMBER, **PROCESS, **MTREQID}),
    Example("ADD_TEMPLATE_REQ", templates.AddTemplateRequest, TEMPLATE, MTREQID),
    Example("ADD_TEMPLATE_ACK", templates.AddTemplateAck, TEMPLATE_ACK),
    Example("ADD_TEMPLATE_NACK", templates.AddTemplateNack, {**TEMPLATE_ACK, "errcode": "INTERNAL"}),
    Example("MOD_TEMPLATE_REQ", templates.ModTemplateRequest, TEMPLATE, MTREQID),
    Example("MOD_TEMPLATE_ACK", templates.ModTemplateAck, TEMPLATE_ACK),
    Example("MOD_TEMPLATE_NACK", templates.ModTemplateNack, {**TEMPLATE_ACK, "errcode": "INTERNAL"}),
    Example("DEL_TEMPLATE_REQ", templates.DelTemplateRequest, {"e164": NUMBER, "moid": "user-1"}, MTREQID),
    Example("DEL_TEMPLATE_ACK", templates.DelTemplateAck, TEMPLATE_ACK),
    Example("DEL_TEMPLATE_NACK", templates.DelTemplateNack, {**TEMPLATE_ACK, "errcode": "INTERNAL"}),
    Example(
        "DOMAIN_ADD_NTF",
        domains.DomainAddNotice,
        {"moid": "user-1", "level": 0},
        {"uplevelmoid": "A", "name": NAME, "used": 0, "enableh265": 1, "enablehdmeeting": 1},
    ),
    Example(
        "DOMAIN_MOD_NTF",
        domains.DomainModNotice,
        {"moid": "user-1"},
        {"level": 2, "uplevelmoid": "A", "name": NAME, "used": 0, "enableh265": 1, "enablehdmeeting": 1},
    ),
    Example("DOMAIN_DEL_NTF", domains.DomainDelNotice, {"moid": "user-1"}),
    Example("GET_LICENSE_REQ", licences.LicenseRequest, {"moid": "A"}),
    Example("LICENSE_NTF", licences.LicenseNotice, {"moid": "A", "license": "gAAAA-token"}),
    Example("GET_LICENSE_ACK", licences.LicenseAck, PLATFORM_LICENCE, NUMBERS),
    Example("GET_LICENSE_NACK", licences.LicenseNack, {"errcode": "UNKNOWN_DOMAIN"}, {"moid": "A"}),
    Example("PLATFORM_LICENSE_NTF", licences.PlatformLicenseNotice, PLATFORM_LICENCE, NUMBERS),
    Example("UPU_ADD_CONF_REQ", upu.UpuAdd, UPU_ENTRY),
    Example("UPU_MOD_CONF_REQ", upu.UpuModify, UPU_ENTRY),
    Example("UPU_DEL_CONF_REQ", upu.UpuDelete, {"confE164": NUMBER, "running": 0}),
    Example("UPU_DEL_DOMAIN_REQ", upu.UpuDeleteDomain, {"moid": "user-1"}),
    Example("UPU_CLEAR_REQ", upu.UpuClear, {"platformmoid": "A"}),
    Example(
        "CONF_BILL_NTF",
        reports.BillNotice,
        {
            "confE164": NUMBER,
            "confname": NAME,
            "moid": "user-1",
            "srcplatformmoid": "A",
            "platformmoid": "B",
            "begintime": TIME,
            "endtime": TIME + 60,
            "reason": "lost",
        },
    ),
    Example(
        "CSS_STATUS_NTF",
        reports.StatusNotice,
        {"moid": "A", "instance": "css-1", "state": "normal", "conferences": 5, "nu": 0},
    ),
]

SPELLINGS = {
    "CM_MAU_MODIFYCONFNAME_ACK": "CM_CMU_MODIFYCONFNAME_ACK",
    "CM_MAU_MODIFYCONFNAME_NACK": "CM_CMU_MODIFYCONFNAME_NACK",
    "CMU_MAU_CREATECONF_ACK": "MCU_MAU_CREATECONF_ACK",
    "CMU_MAU_CREATECONF_NACK": "MCU_MAU_CREATECONF_NACK",
    "CMU_MAU_RELEASECONF_NTF": "MCU_MAU_RELEASECONF_NTF",
    "CMU_MAU_CONFLIST_NTF": "MCU_MAU_CONFLIST_NTF",
    "CMU_MAU_HEARTBEAT_NTF": "MCU_MAU_HEARTBEAT_NTF",
    "CMU_MAU_DISCONNECT_NTF": "MCU_MAU_DISCONNECT_NTF",
    "CMU_MAU_CONFSTATECHANGE_NTF": "MCU_MAU_CONFSTATECHANGE_NTF",
    "CMU_MAU_DELAYCONF_REQ": "MCU_MAU_DELAYCONF_REQ",
    "MCU_MAU_RESTORECONF_ACK": "CMU_MAU_RESTORECONF_ACK",
    "MCU_MAU_RESTORECONF_NACK": "CMU_MAU_RESTORECONF_NACK",
}
"""Other types under which a message is accepted, and what it then is."""

# For each field: values at its limits, and values just beyond them.
_MOID = (["a", "~!-.0A@", "m" * 128], ["", "a b", "a/b", "域", "m" * 129, "a\n"])
_FLAG = ([0, 1], [-1, 2])
_TIME = ([0, 2**53 - 1], [-1, 2**53])
_MINUTES = ([0, 10_000_000], [-1, 10_000_001])
LIMITS: dict[str, tuple[list[Any], list[Any]]] = {
    "confE164": (["0", "0" * 32], ["", "1" * 33, "12a", "12 ", "１２", "12\n", "-1"]),
    "e164": (["0", "0" * 32], ["", "1" * 33, "12a", "１２"]),
    "confname": (["", "会" * 256, 'a"b\\c\u0001'], ["会" * 257]),
    "name": (["", "会" * 256], ["会" * 257]),
    "moid": _MOID,
    "platformmoid": _MOID,
    "srcplatformmoid": _MOID,
    "mtreqid": (["", "x" * 128, "请求"], ["x" * 129]),
    "conftype": ([1, 4], [0, 5]),
    "duration": _MINUTES,
    "minutes": _MINUTES,
    "delay": ([1, 10_000_000], [0, -1, 10_000_001]),
    "record": _FLAG,
    "legacy": _FLAG,
    "xmpu": _FLAG,
    "restarted": _FLAG,
    "used": _FLAG,
    "enableh265": _FLAG,
    "enablehdmeeting": _FLAG,
    "running": _FLAG,
    "password": (["", "密" * 128], ["x" * 129]),
    "maxjoinmt": ([0, 1_000_000], [-1, 1_000_001]),
    "priority": ([0, 9], [-1, 10]),
    "ip": (["::1", "10.0.0.1", "h" * 64], ["", "a b", "a/b", "h" * 65, "主机"]),
    "pid": (["0", "p" * 64, "a-1"], ["", "a:b", "a b", "p" * 65]),
    "roommoid": (["r", "r" * 128], ["a b", "a/b", "r" * 129]),
    "uplevelmoid": (["", "A"], ["a b", "a" * 129]),
    "epoch": (_TIME[0], [-1, 2**53, 2**64, 10**40]),
    "time": _TIME,
    "seq": _TIME,
    "endtime": _TIME,
    "begintime": _TIME,
    "conferences": _TIME,
    "nu": _TIME,
    "level": ([0, 2], [-1, 3]),
    "errcode": (["E", "E" * 64], ["", "E" * 65]),
    "reason": (["released"], ["", "E" * 65]),
    "monitorid": (["m", "m" * 128], ["", "m" * 129]),
    "instance": (["i", "i" * 255], ["", "i" * 256]),
    "state": (["normal", "abnormal"], ["", "NORMAL", "down"]),
    "license": (["x", "x" * 65536], ["x" * 65537]),
    **dict.fromkeys(NUMBERS, _TIME),
    "mcu": ([[]], [[{}], [{"ip": ""}], [{"ip": 5}], [[]], ["10.0.0.1"]]),
    "mps": ([[]], [[{}], ["10.0.0.1"]]),
    "confdatainfo": (
        [[]],
        [[{}], [{"confE164": "1"}], [{"createtime": 1}], [{"confE164": "x", "createtime": 1}], [NUMBER]],
    ),
    "main": ([[]], [[{}], [{"moid": "B"}], [{"moid": "B", "state": "x"}]]),
    "backup": ([[]], [[{}], [{"moid": "", "state": "normal"}]]),
    "rooms": ([[]], [[{}], ["room"]]),
    "mq": (
        [[], [{"ip": "h", "port": 1}, {"ip": "h", "port": 65535}]],
        [[{}], [{"ip": "h", "port": 0}], [{"ip": "h", "port": 65536}], [{"ip": "h", "port": 1, "vhost": ""}]],
    ),
    "redis": ([[]], [[{}], [{"ip": "h", "port": 1, "db": -1, "platformmoid": "A"}], [{"ip": "h", "port": 1, "db": 0}]]),
    "mysql": ([{"ip": "h", "port": 1, "db": "x"}], [{}, {"ip": "h", "port": 1, "db": ""}]),
    "platforms": ([[]], [[{}], [{"moid": "A", "smallconfnum": -1}]]),
    "content": ([{}, {"深": {"a": [1, 2.5, None, 10**30]}}], []),
    "vrs": ([], []),
}
