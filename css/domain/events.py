"""What can happen to a conference. Each event is a fact with all that its decision needs; none carries I/O."""

from __future__ import annotations

import msgspec

from css.domain.conference import Requester
from css.domain.errors import ErrCode


class Placement(msgspec.Struct, frozen=True, gc=False):
    """A place on a host, booked for the epoch."""

    ip: str
    roommoid: str
    epoch: int
    platform: str
    """Moid of the platform whose host it is: the one that books."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that has happened. `now_ms` is the clock of the record's store, milliseconds since the epoch.

    `platform` in events of MCUs: moid of the MCU's platform, this one; hosts of two may have the same address.
    """

    now_ms: int


class CreateAsked(Event, frozen=True, kw_only=True):
    """A create request that passed its checks (seed 1.1)."""

    e164: str
    moid: str
    source: str
    served_by: str
    """Moid of the platform that places it: this one."""
    confname: str
    password: str
    conftype: int
    duration: int
    terminals: int
    """Most terminals that may join; decides which limit it counts under."""
    legacy: bool
    priority: int
    create: str
    requester: Requester
    epoch: int


class ResourcesGiven(Event, frozen=True, kw_only=True):
    """RMS named hosts for the placement `epoch` (seed 1.1)."""

    epoch: int
    roommoid: str
    mcus: tuple[str, ...]
    vrs: str
    xmpu: bool
    placement: Placement | None
    """The booked one of them; None: all are excluded."""
    served: bool = True
    """Whether its source platform is served here now: looked at just before the commit (seed 2.3.2)."""


class ResourcesRefused(Event, frozen=True, kw_only=True):
    """RMS refused."""

    epoch: int


class McuAccepted(Event, frozen=True, kw_only=True):
    """An MCU process has started the conference. `epoch` None: it does not know epochs."""

    platform: str
    ip: str
    pid: str
    epoch: int | None
    time: int | None = None
    """The MCU's clock, seconds since the epoch."""


class McuRefused(Event, frozen=True, kw_only=True):
    """A host refused, or was found not to be there (`silent`). `placement`: the next host, booked already.

    `served`: as of `ResourcesGiven`.
    """

    ip: str
    epoch: int | None
    silent: bool
    placement: Placement | None
    served: bool = True


class DeadlinePassed(Event, frozen=True, kw_only=True):
    """What was awaited did not come in time. `placement`: the next host, booked already.

    `served`: as of `ResourcesGiven`.
    """

    placement: Placement | None
    served: bool = True


class RestoreBegins(Event, frozen=True, kw_only=True):
    """Its turn to be restored has come, and a place in the restore rate was drawn for it (seed 9.1)."""


class McuLost(Event, frozen=True, kw_only=True):
    """An MCU process has gone: its link was lost, it is silent, or another process has replaced it (seed 1.2, 9.4).

    `recovery`: the ledger's name of what is done about it.
    """

    platform: str
    ip: str
    pid: str
    recovery: str = ""


class Voided(Event, frozen=True, kw_only=True):
    """Its placement must not be used any more: the room or the platform is abnormal (seed 1.2, 2.3.1).

    `epoch`: a fresh one, so that nothing that still speaks of the old placement matches.
    """

    epoch: int
    recovery: str = ""


class PlatformLost(Event, frozen=True, kw_only=True):
    """The platform that it runs on, or is being placed on, is abnormal, and its source platform is served here (seed
    2.3.1). `epoch`, `recovery` as of `Voided`."""

    platform: str
    epoch: int
    recovery: str = ""


class LocatorCleared(Event, frozen=True, kw_only=True):
    """The locator has forgotten all that `platform`, this one, reported (seed 7.2)."""

    platform: str


class Listed(Event, frozen=True, kw_only=True):
    """An MCU process lists the conference. `createtime`: start of that placement; `epoch` None: it knows no epochs."""

    ip: str
    pid: str
    epoch: int | None
    createtime: int
    roommoid: str
    platform: str
    """Moid of the MCU's platform: this one."""
    fresh_epoch: int


class Absent(Event, frozen=True, kw_only=True):
    """An MCU process that should run the conference does not list it. `time`: when the list was taken, its clock;
    `seq`: the list's number, if it has one."""

    platform: str
    ip: str
    pid: str
    time: int | None
    seq: int | None = None


class ReleaseAsked(Event, frozen=True, kw_only=True):
    """A CM wants the conference ended, whatever its state."""

    requester: Requester


class McuEnded(Event, frozen=True, kw_only=True):
    """An MCU process says that the conference is over there."""

    platform: str
    ip: str
    pid: str
    epoch: int | None


class McuProcess(msgspec.Struct, frozen=True, gc=False):
    """The MCU process that says something. `platform`: moid of its platform: this one."""

    platform: str
    ip: str
    pid: str


class DelayAsked(Event, frozen=True, kw_only=True):
    """A CM, or the MCU process that runs it, wants its end moved by `minutes`, at least 1 (seed 5.3)."""

    requester: Requester
    minutes: int
    mcu: McuProcess | None = None
    """None: a CM asks."""


class StateChanged(Event, frozen=True, kw_only=True):
    """The MCU process that runs it says what it is called now, and its password (seed 5.1, 5.2); None: as before."""

    mcu: McuProcess
    confname: str | None
    password: str | None


class MonitorStarted(Event, frozen=True, kw_only=True):
    """A CM monitors what runs on `platform`, this one, under `epoch`; its MCU is about to be asked (seed 10)."""

    monitorid: str
    platform: str
    epoch: int


class MonitorHeard(Event, frozen=True, kw_only=True):
    """The CM that monitors it still does (seed 10)."""

    monitorid: str


class MonitorStopped(Event, frozen=True, kw_only=True):
    """The MCU has acknowledged that a monitor is to stop. `started_ms`: which one of this id, as it was then."""

    monitorid: str
    started_ms: int


class MonitorsDue(Event, frozen=True, kw_only=True):
    """The time of one of its monitors may have run out, as seen on `platform`, this one (seed 10)."""

    platform: str


class Rules(msgspec.Struct, frozen=True):
    """The settings that decisions depend on."""

    request_timeout_ms: int = 5_000
    creating_timeout_ms: int = 30_000
    small_terminals: int = 8
    restore_interval_ms: int = 5_000
    legacy_wait_ms: int = 300_000
    monitor_timeout_ms: int = 60_000


REFUSED_AS = {True: ErrCode.MCU_TIMEOUT, False: ErrCode.MCU_REJECTED}
"""Errcode of a create that fails with this host, by `McuRefused.silent`."""
