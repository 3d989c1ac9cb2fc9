"""The record of a conference, as it stands in the Redis of its source platform."""

from __future__ import annotations

import enum

import msgspec

from css.domain.errors import Unreadable

Fields = dict[str, str]

HIGHEST_PRIORITY = 9
PATIENCE_MS = 30_000
"""After so long in vain a conference that waits to be restored counts as one priority less urgent."""


class State(enum.StrEnum):
    """State of a conference (seed: 创建中, 正召开, 待恢复)."""

    CREATING = "creating"
    ONGOING = "ongoing"
    PENDING_RESTORE = "pending_restore"


class Situation(enum.Enum):
    """Where a conference stands in the state machine: its state, and within `creating` whose answer it awaits."""

    ABSENT = "absent"
    ASKING_RMS = "asking_rms"
    ASKING_MCU = "asking_mcu"
    ONGOING = "ongoing"
    PENDING_RESTORE = "pending_restore"
    """Waits for its next attempt to be restored, or, bound to old hardware, for its MCU."""
    RESTORE_ASKING_RMS = "restore_asking_rms"
    """Still `pending_restore`: a list of its MCU may show it after all (seed 1.2)."""
    RESTORE_ASKING_MCU = "restore_asking_mcu"


class Size(enum.StrEnum):
    """Which of a licence's two limits a conference counts under (seed 4.6)."""

    SMALL = "small"
    LARGE = "large"


class Requester(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who asked, so that any instance can answer."""

    mtreqid: str = ""
    reply_to: str = ""
    """Empty: answers go where the CM's notifications go."""
    correlation_id: str = ""
    request_key: str = ""
    """Key under which the answer is kept for repetitions of the request; empty: it can't be recognised."""
    origin: str = ""
    """Moid of the platform on whose broker it is answered; empty: here. Another platform's CSS has forwarded it."""


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A create or restore that is under way: what RMS gave, and which of it is still to be tried."""

    deadline_ms: int
    """When the whole attempt has failed, milliseconds of the store's clock."""
    requester: Requester | None = None
    """None: a restore."""
    roommoid: str = ""
    mcus: tuple[str, ...] | None = None
    """Hosts not tried yet; None: RMS has not answered."""
    vrs: str = ""
    xmpu: bool = False
    delayed: bool = False
    """The end has moved since the host was asked to restore: its process is told once it is known."""


class Missed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first list of its MCU that lacked it. `time`: the MCU's clock; `received_ms`: the store's; `seq`: number."""

    time: int | None
    received_ms: int
    seq: int | None = None


class Monitor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Somebody who monitors a conference (seed 10). Times in milliseconds of the store's clock."""

    monitorid: str
    started_ms: int
    until_ms: int
    """When it expires unless it is heard of."""


class Conference(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One conference. Times in seconds since the epoch where not named otherwise; 0 and empty mean *none yet*."""

    e164: str
    moid: str
    """User domain."""
    source: str
    """Moid of the source platform, in whose Redis the record is."""
    platformmoid: str
    """Moid of the platform where it really runs (or is being placed)."""
    state: State
    epoch: int
    first_epoch: int
    """Epoch that it was created under; with `version` the identity of this state of the record."""
    version: int = 0
    roommoid: str = ""
    ip: str = ""
    pid: str = ""
    createtime: int = 0
    """Start of this placement."""
    endtime: int = 0
    legacy: bool = False
    priority: int = 5
    conftype: int = 1
    size: Size = Size.SMALL
    licensed_under: tuple[str, ...] = ()
    """The moids under whose limits it was counted."""
    due_ms: int = 0
    """When its next deadline falls due, milliseconds of the store's clock; 0: never."""
    attempt: Attempt | None = None
    create: str = ""
    """The create JSON as the CM sent it."""
    confname: str = ""
    password: str = ""
    begintime: int = 0
    """First ACK of an MCU; kept by restores."""
    duration: int = 0
    """Minutes; 0: until released."""
    warned: int = 0
    """Minutes before the end of which was warned last; 0: of none yet (seed 9.3)."""
    lost_ms: int = 0
    """When it last became `pending_restore`, milliseconds of the store's clock."""
    recovery: str = ""
    """Name of the ledger's recovery that it is part of; empty: of none."""
    missed: Missed | None = None
    version_base: int = 0
    """Added to `version` in what leaves the store: a record that was lost and rebuilt counts its versions anew, but
    its rows and messages must not be taken for older ones."""
    acked_time: int | None = None
    """When the MCU started this placement, seconds of the MCU's clock; None: it did not say."""
    monitors: tuple[Monitor, ...] = ()
    """Who monitors this placement, the one that was heard of last at the end."""

    @property
    def situation(self) -> Situation:
        """Where it stands in the state machine."""
        if self.state is State.ONGOING:
            return Situation.ONGOING
        attempt = self.attempt
        if self.state is State.PENDING_RESTORE:
            return Situation.PENDING_RESTORE if attempt is None else Situation.RESTORE_ASKING_RMS
        if attempt is None or attempt.mcus is None:
            return Situation.ASKING_RMS
        return Situation.RESTORE_ASKING_MCU if self.has_run else Situation.ASKING_MCU

    @property
    def has_run(self) -> bool:
        """Whether an MCU has ever started it."""
        return self.begintime > 0

    @property
    def placement(self) -> str:
        """Token of the present placement, as bookings and correlation ids carry it."""
        return placement_token(self.source, self.e164, self.epoch)

    @property
    def licence_member(self) -> str:
        """Its member in the sets of counted conferences."""
        return f"{self.e164}:{self.first_epoch}"


def placement_token(source: str, e164: str, epoch: int) -> str:
    """`<source platform>/<e164>/<epoch>`: names one placement; a correlation id that needs no table."""
    return f"{source}/{e164}/{epoch}"


def parse_placement(token: str) -> tuple[str, str, int] | None:
    """The parts of a placement token, or None if it is none."""
    parts = token.rsplit("/", 2)
    if len(parts) != 3 or not parts[2].isascii() or not parts[2].isdigit():
        return None
    return parts[0], parts[1], int(parts[2])


PASSING_FIELDS = (
    "attempt",
    "asked",
    "missed",
    "warned",
    "lost_ms",
    "acked_time",
    "recovery",
    "version_base",
    "monitors",
)
"""Fields of `confex/<e164>` that a record has only at times. Fields that another version of CSS writes are kept."""

_decode_attempt = msgspec.json.Decoder(Attempt).decode
_decode_missed = msgspec.json.Decoder(Missed).decode
_decode_monitors = msgspec.json.Decoder(tuple[Monitor, ...]).decode
_decode_asked = msgspec.json.Decoder(tuple[str, str, int]).decode
_encode = msgspec.json.Encoder().encode


def to_fields(conference: Conference) -> Fields:
    """Fields of `confex/<e164>`. `version` is left to the store; an attempt that is over has no field."""
    c = conference
    fields = {
        "moid": c.moid,
        "platformmoid": c.platformmoid,
        "srcplatformmoid": c.source,
        "roommoid": c.roommoid,
        "ip": c.ip,
        "pid": c.pid,
        "state": str(c.state),
        "epoch": str(c.epoch),
        "first_epoch": str(c.first_epoch),
        "createtime": str(c.createtime),
        "endtime": str(c.endtime),
        "legacy": "1" if c.legacy else "0",
        "priority": str(c.priority),
        "conftype": str(c.conftype),
        "size": str(c.size),
        "licensed_under": " ".join(c.licensed_under),
        "due_ms": str(c.due_ms),
        "create": c.create,
    }
    if c.attempt is not None:
        fields["attempt"] = _encode(c.attempt).decode()
    if c.warned:
        fields["warned"] = str(c.warned)
    if c.lost_ms:
        fields["lost_ms"] = str(c.lost_ms)
    if c.version_base:
        fields["version_base"] = str(c.version_base)
    if c.recovery:
        fields["recovery"] = c.recovery
    if c.missed is not None:
        fields["missed"] = _encode(c.missed).decode()
    if c.acked_time is not None:
        fields["acked_time"] = str(c.acked_time)
    if c.monitors:
        fields["monitors"] = _encode(c.monitors).decode()
    if not c.has_run:
        # The public hash `conf/` does not exist yet; these are in the create JSON but are needed without parsing it.
        fields["asked"] = _encode((c.confname, c.password, c.duration)).decode()
    return fields


def to_conf_fields(conference: Conference) -> Fields:
    """Fields of `conf/<e164>`."""
    return {
        "confname": conference.confname,
        "password": conference.password,
        "begintime": str(conference.begintime),
        "duration": str(conference.duration),
    }


def from_fields(e164: str, record: Fields, conf: Fields) -> Conference:
    """The conference that two hashes hold.

    @raise Unreadable: a field is missing or is not what this version writes.
    """
    try:
        return _from_fields(e164, record, conf)
    except (KeyError, ValueError, msgspec.MsgspecError) as error:
        raise Unreadable(f"confex/{e164} can't be read: {error!r}") from error


def _from_fields(e164: str, record: Fields, conf: Fields) -> Conference:
    attempt, missed, acked_time = record.get("attempt"), record.get("missed"), record.get("acked_time")
    if conf:
        confname, password, duration = conf.get("confname", ""), conf.get("password", ""), int(conf["duration"])
    else:
        confname, password, duration = _decode_asked(record.get("asked", '["","",0]'))
    return Conference(
        e164=e164,
        moid=record["moid"],
        source=record["srcplatformmoid"],
        platformmoid=record["platformmoid"],
        state=State(record["state"]),
        epoch=int(record["epoch"]),
        first_epoch=int(record["first_epoch"]),
        version=int(record["version"]),
        roommoid=record["roommoid"],
        ip=record["ip"],
        pid=record["pid"],
        createtime=int(record["createtime"]),
        endtime=int(record["endtime"]),
        legacy=record["legacy"] == "1",
        priority=int(record["priority"]),
        conftype=int(record["conftype"]),
        size=Size(record["size"]),
        licensed_under=tuple(record["licensed_under"].split()),
        due_ms=int(record["due_ms"]),
        warned=int(record.get("warned", 0)),
        lost_ms=int(record.get("lost_ms", 0)),
        recovery=record.get("recovery", ""),
        version_base=int(record.get("version_base", 0)),
        missed=_decode_missed(missed) if missed else None,
        acked_time=int(acked_time) if acked_time else None,
        attempt=_decode_attempt(attempt) if attempt else None,
        monitors=_decode_monitors(record["monitors"]) if "monitors" in record else (),
        create=record["create"],
        confname=confname,
        password=password,
        begintime=int(conf["begintime"]) if conf else 0,
        duration=duration,
    )


def urgency(conference: Conference) -> int:
    """The lower the sooner it is restored: higher priority first, then the one that began earlier.

    One that could not be restored for a while counts as less urgent, more and more: those behind it get their turn,
    however many there are that fail again and again.
    """
    c = conference
    tried_for_ms = max(0, c.due_ms - c.lost_ms) if c.lost_ms else 0
    levels = min(HIGHEST_PRIORITY - c.priority + tried_for_ms // PATIENCE_MS, 2**12)
    return (levels << 40) + c.begintime


def indexes(conference: Conference) -> dict[str, int]:
    """Every index that the record is in, with its score. The indexes are derived from the record, and only so."""
    c = conference
    found = {platform_index(c.platformmoid): c.createtime}
    if c.state is State.ONGOING:
        found[running_index(c.source)] = 0
        if c.monitors:
            found[monitor_index(c.platformmoid)] = min(each.until_ms for each in c.monitors)
    if c.state is State.PENDING_RESTORE:
        found |= _indexes_of_pending(c)
    elif c.due_ms:
        found[due_index(c.platformmoid)] = c.due_ms
    if c.ip and c.pid:
        found[f"mcu/{c.platformmoid}/{c.ip}/{c.pid}"] = c.createtime
    if c.roommoid:
        found[f"room/{c.platformmoid}/{c.roommoid}"] = c.createtime
    if c.legacy:
        found[legacy_index(c.platformmoid)] = c.createtime
    if c.state is not State.PENDING_RESTORE and not (c.legacy and c.has_run):
        found[live_index(c.platformmoid)] = c.createtime
    return found


def running_index(source: str) -> str:
    """The index of a source platform's ongoing conferences. All scores in it are 0: Redis orders it by number then, so
    that a reader who goes on after the last number that it saw misses nothing, and sees nothing twice (seed 8)."""
    return f"running/{source}"


def _indexes_of_pending(c: Conference) -> dict[str, int]:
    """What waits to be restored is everybody's who serves the source platform. Its next attempt is one thing; what is
    due of it otherwise (an answer of RMS, its end, the end of the wait for old hardware) must not queue behind that."""
    if c.legacy or c.attempt is not None:
        return {pending_index(c.source): c.due_ms}
    found = {restore_index(c.source): c.due_ms, urgency_index(c.source): urgency(c)}
    return found | ({pending_index(c.source): c.endtime * 1000} if c.endtime else {})


def due_index(platform: str) -> str:
    """By when the next deadline of what runs, or is being placed, on a platform falls due."""
    return f"due/{platform}"


def monitor_index(platform: str) -> str:
    """Of what runs on a platform and is monitored, by when the first of its monitors expires."""
    return f"monitor/{platform}"


def platform_index(platform: str) -> str:
    """All that runs on a platform, or is to run there."""
    return f"platform/{platform}"


def legacy_index(platform: str) -> str:
    """What is bound to a platform's old hardware."""
    return f"legacy/{platform}"


def live_index(platform: str) -> str:
    """What is lost when a platform is: all that runs there, or is being placed there, but what is bound to it."""
    return f"live/{platform}"


def restore_index(source: str) -> str:
    """By when the next attempt is due."""
    return f"restore/{source}"


def urgency_index(source: str) -> str:
    """The same conferences by `urgency`."""
    return f"urgency/{source}"


def ready_index(source: str) -> str:
    """By `urgency`, those whose attempt is due. A store moves them here from `restore_index`, and back when they are
    claimed: no record says which of the two it is in, so each commit puts it back."""
    return f"ready/{source}"


def pending_index(source: str) -> str:
    """Of those that wait to be restored, by what is due of them and is no attempt."""
    return f"pending/{source}"


__all__ = [
    "PASSING_FIELDS",
    "Attempt",
    "Conference",
    "Monitor",
    "Requester",
    "Situation",
    "Size",
    "State",
    "from_fields",
    "indexes",
    "monitor_index",
    "parse_placement",
    "pending_index",
    "placement_token",
    "ready_index",
    "restore_index",
    "to_conf_fields",
    "to_fields",
    "urgency",
    "urgency_index",
]
