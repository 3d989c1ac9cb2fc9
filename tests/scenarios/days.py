"""What peers do in a scenario with a known end, and the end state by which two runs are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from css.peers.cmu import CmuHost
from css.peers.cmu_process import CmuProcess
from css.peers.inbox import Received
from css.peers.rms import Resources
from tests.scenarios.ground import finished
from tests.scenarios.processes import PLATFORM, Scene

HOSTS = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.9"]
GOOD, BUSY, BAD = HOSTS[:2], HOSTS[2], HOSTS[3]
USERS = ["u-good", "u-busy", "u-next", "u-bad", "u-none"]
LATE_USER = "u-late"

Day = Callable[[Scene], Awaitable[None]]


def prepare(scene: Scene) -> None:
    """Tell RMS whom it grants what, and make one host refuse everything."""
    rms, room = scene.peers.rms, scene.peers.roommoid
    for user, hosts in (("u-good", GOOD), ("u-busy", [BUSY]), ("u-next", [BAD, BUSY]), ("u-bad", [BAD])):
        rms.answer(user, Resources(room, hosts))
    rms.answer(LATE_USER, Resources(room, GOOD))
    rms.refuse("u-none", "NO_RESOURCE")
    scene.peers.hosts[BAD].mood.reject("MCU_FULL")


async def ordinary(scene: Scene) -> None:
    """Creates that succeed at once, at the second host, or not at all; a new domain; releases."""
    cm, bmc = scene.peers.cm, scene.peers.bmc
    await finished([cm.create(f"00{n}", f"会议 {n}", "u-good", mtreqid="1", maxjoinmt=8 + n % 2) for n in range(4)])
    await finished([cm.create("010", "busy", "u-busy", mtreqid="1"), cm.create("011", "refused", "u-none")])
    await finished([cm.create("012", "second host", "u-next"), cm.create("013", "no host", "u-bad")])
    await scene.write_domains({LATE_USER: 0})
    bmc.send_domain("add", LATE_USER, level=0, uplevelmoid=PLATFORM, used=1)
    await scene.ready(LATE_USER)
    unknown = cm.create("014", "unknown domain", "u-nobody")
    again = cm.request("CM_MAU_CREATECONF_REQ", confE164="015", confname="late", moid=LATE_USER, mtreqid="1")
    await finished([unknown, again.answer])
    released = [cm.release(e164) for e164 in ("000", "001", "012", "099")]
    await finished(released)
    await cm.repeat(again)


async def silence(scene: Scene) -> None:
    """Creates that fail because RMS, then the only host, says nothing."""
    cm, rms = scene.peers.cm, scene.peers.rms
    rms.silent()
    await cm.create("020", "silent RMS", "u-good")
    rms.resume()
    scene.peers.hosts[BAD].mood.silent()
    await cm.create("021", "silent MCU", "u-bad")


async def controls(scene: Scene) -> None:
    """A conference is controlled; its MCU says things to the CM, of its own accord, too."""
    cm = scene.peers.cm
    await cm.create("030", "会控", "u-good", mtreqid="1")
    await finished([cm.control("CM_CMU_MUTE_REQ", "030", n=n) for n in range(3)])
    process = _process_of(scene, "030")
    cm.tell("CM_CMU_LAYOUT_NTF", "030")
    await process.inbox.wait_for("CM_CMU_LAYOUT_NTF")
    process.tell_cm("CMU_CM_STATE_NTF", "030")
    process.tell_cm("CMU_CM_INVITE_REQ", "030")
    await finished([cm.wait_for_notice("CMU_CM_STATE_NTF"), cm.wait_for_notice("CMU_CM_INVITE_REQ")])
    await cm.control("CM_CMU_MUTE_REQ", "099")


async def silent_controls(scene: Scene) -> None:
    """Control requests that the MCU does not answer, and one that finds no queue."""
    cm = scene.peers.cm
    await cm.create("031", "无应答", "u-good", mtreqid="1")
    process = _process_of(scene, "031")
    process.controls.silent()
    await finished([cm.control("CM_CMU_MUTE_REQ", "031", n=n) for n in range(2)])


async def monitors(scene: Scene) -> None:
    """Three monitors of a conference: one is stopped, one is heard of once more; in the end none is wanted."""
    cm = scene.peers.cm
    await cm.create("032", "监控", "u-good", mtreqid="1")
    await finished([cm.start_monitor("032", f"w{n}") for n in range(3)])
    cm.heartbeat("032", "w1")
    await cm.stop_monitor("032", "w2")
    await _process_of(scene, "032").inbox.wait_for("MAU_CMU_STOPMONITOR_CMD", "032", 2)


def _process_of(scene: Scene, e164: str) -> CmuProcess:
    hosts: list[CmuHost] = list(scene.peers.hosts.values())
    (found,) = [host.process_of(e164) for host in hosts if e164 in host.conferences]
    return found


async def changes(scene: Scene) -> None:
    """What changes conferences that run, and public templates (seed 5, 6): each waits for the one before."""
    cm, upu = scene.peers.cm, scene.peers.upu
    await finished([cm.create(f"03{n}", f"会议 {n}", "u-good", duration=60, mtreqid="1") for n in range(2)])
    await cm.delay("030", 30)
    await cm.delay("039", 30)
    process = _process_of(scene, "031")
    process.ask_for_delay("031", 15)
    await process.inbox.wait_for("MAU_MCU_DELAYCONF_ACK", "031")
    process.change("031", confname="新名", password="9")
    await upu.inbox.wait_for("UPU_MOD_CONF_REQ", "031")
    for number in ("0500", "0501"):
        await cm.template("ADD", number, "u-good", name="模板", content={"duration": 60})
    await cm.template("MOD", "0500", "u-good", name="新模板", content={"duration": 90})
    await cm.template("DEL", "0501", "u-good")
    await cm.template("DEL", "0501", "u-good")


async def end_state(scene: Scene) -> dict[str, Any]:
    """All that is left of a day, without what may differ between two runs: MCU choice, epochs, times, ids."""
    dump = await scene.ground.dump(PLATFORM)
    rows = await scene.ground.database.confinfo_page(PLATFORM, "", 100_000)
    hosts = scene.peers.hosts.values()
    return {
        "told CM": _counted(scene.peers.cm.inbox.all()),
        "placed twice or nowhere": _misplaced(scene, dump),
        "records": {key[7:]: _record(fields) for key, fields in dump.items() if key.startswith("confex/")},
        "conf": {key[5:]: _without(fields, "begintime") for key, fields in dump.items() if key.startswith("conf/")},
        "licences": {
            key[8:]: sorted(_e164(member) for member in members)
            for key, members in dump.items()
            if key.startswith("css/set/licence/")
        },
        "indexes": {
            _index(key): sorted(_text(member) for member in members[::2])
            for key, members in dump.items()
            if key.startswith("css/index/") and "/mcu/" not in key
        },
        "booked": sorted(_booked(dump)),
        "ended": {key[10:]: _text_of(fields, "reason") for key, fields in dump.items() if key.startswith("css/ended/")},
        "pending requests": sum(not value for key, value in dump.items() if key.startswith("css/req/")),
        "answered requests": sum(bool(value) for key, value in dump.items() if key.startswith("css/req/")),
        "outbox": sorted(key for key in dump if key.startswith(("css/out/", "css/outdue/", "css/outlanes/"))),
        "domains": sorted(key for key in dump if key.startswith("domain/")),
        "templates": {key[12:]: _texts(fields) for key, fields in dump.items() if key.startswith("pubtemplate/")},
        "template rows": {
            row.e164: (row.moid, row.name, row.content)
            for row in await scene.ground.database.templates_page(PLATFORM, "", 100)
        },
        "template writes": sorted(key for key in dump if key.startswith("css/template/")),
        "rows": {
            row.e164: (row.confname, row.password, row.moid, row.srcplatformmoid, row.platformmoid) for row in rows
        },
        "running": Counter(e164 for host in hosts for e164 in host.conferences),
        "upu": {key: entry.confname for key, entry in scene.peers.upu.table().items()},
        "upu was told": _counted(scene.peers.upu.inbox.all()),
        "bills": _counted(scene.peers.bmc.bills()),
        "faults": [fault.reason for fault in scene.peers.faults()],
    }


def _counted(received: list[Received]) -> Counter[tuple[str, ...]]:
    """How often a peer was told what; repeats of a message id count once, as its inbox does."""
    return Counter(
        (each.type, each.e164, str(each.fields.get("errcode", "")), str(each.fields.get("reason", "")))
        for each in received
    )


def _misplaced(scene: Scene, dump: dict[str, Any]) -> list[str]:
    """Conferences that do not run exactly where their record says, under the epoch that it says."""
    wrong = []
    for key, record in dump.items():
        if key.startswith("confex/") and _text_of(record, "state") == "ongoing":
            e164 = key[7:]
            told = (_text_of(record, "ip"), _text_of(record, "pid"), int(_text_of(record, "epoch")))
            found = [
                (host.ip, pid, process.conferences[e164].epoch)
                for host in scene.peers.hosts.values()
                for pid, process in host.processes.items()
                if e164 in process.conferences
            ]
            if found != [told]:
                wrong.append(f"{e164}: record {told}, MCUs {found}")
    return wrong


def _booked(dump: dict[str, Any]) -> list[str]:
    """Numbers that count as load, once for each place that they have."""
    return [
        _text(token).split("/")[1] for key, tokens in dump.items() if key.startswith("css/load/") for token in tokens
    ]


def _record(fields: list[bytes]) -> dict[str, str]:
    times = ("createtime", "endtime", "due_ms", "acked_time")
    return _without(fields, "ip", "pid", "epoch", "first_epoch", "version", "attempt", *times)


def _without(fields: list[bytes], *names: str) -> dict[str, str]:
    return {name: value for name, value in _texts(fields).items() if name not in names}


def _texts(fields: list[bytes]) -> dict[str, str]:
    texts = [_text(each) for each in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _text_of(fields: list[bytes], name: str) -> str:
    return _texts(fields).get(name, "")


def _text(value: bytes) -> str:
    return value.decode()


def _e164(member: bytes) -> str:
    return _text(member).partition(":")[0]


def _index(key: str) -> str:
    return key[len("css/index/") :]
