"""What a decision wants done once it is committed, as data: no addresses, no wire names.

`css/handlers/effects.py` turns each into bytes and an address. An effect speaks of the conference of its decision:
the record after the step, or, where the step ended it, the record before.
"""

from __future__ import annotations

import enum

import msgspec

from css.domain.conference import Conference, Requester
from css.domain.errors import ErrCode


class EndReason(enum.StrEnum):
    """Why a conference ended."""

    RELEASED = "released"
    EXPIRED = "expired"
    LOST = "lost"
    FAILED = "failed"
    """It never ran: its create was refused or given up."""


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Something to do after the commit."""


class AskResources(Effect, frozen=True):
    """Ask RMS which hosts the user domain may use now."""


class AskMcuToCreate(Effect, frozen=True):
    """Ask the record's host to start the conference."""

    ttl_ms: int
    """The host must not act on it later than this."""


class AskMcuToRestore(Effect, frozen=True):
    """Ask the record's host to start the conference again."""

    ttl_ms: int
    """The host must not act on it later than this."""
    minutes_left: int
    """Rounded up; 0: no end."""


class ReleaseOnMcu(Effect, frozen=True):
    """Tell an MCU process to end one placement.

    `platform`: moid of the process's platform, which publishes it; empty: this one.
    """

    ip: str
    pid: str
    epoch: int | None
    platform: str = ""


class AnswerCreated(Effect, frozen=True):
    """ACK to the CM that asked for the create."""

    requester: Requester


class AnswerRefused(Effect, frozen=True):
    """NACK to the CM that asked for the create."""

    requester: Requester
    errcode: ErrCode


class AnswerReleased(Effect, frozen=True):
    """ACK to the CM that asked for the release."""

    requester: Requester


class AnswerDelayed(Effect, frozen=True):
    """ACK to whoever wanted the end moved: a CM, or an MCU process (`to_mcu`)."""

    requester: Requester
    to_mcu: bool


class AnswerNotDelayed(Effect, frozen=True):
    """NACK to whoever wanted the end moved: a CM, or an MCU process (`to_mcu`)."""

    requester: Requester
    to_mcu: bool
    errcode: ErrCode


class TellDelayed(Effect, frozen=True):
    """Notify the CM of the source platform that the end has moved (seed 5.3)."""


class TellMcuDelayed(Effect, frozen=True):
    """Tell the MCU process that runs the conference, on whatever platform, that the end has moved (seed 5.3)."""


class TellReleased(Effect, frozen=True):
    """Notify the CM of the source platform that the conference is over."""

    reason: EndReason


class TellRestored(Effect, frozen=True):
    """Notify the CM of the source platform that the conference runs again, and where."""


class WarnOfEnd(Effect, frozen=True):
    """Tell the MCU and the CM of the source platform that the conference is about to end (seed 9.3)."""

    minutes: int


class StopMonitorOnMcu(Effect, frozen=True):
    """Tell the MCU process that runs the conference that a monitor has expired (seed 10)."""

    monitorid: str


class TellMonitorStopped(Effect, frozen=True):
    """Notify the CM of the source platform that a monitor was lost with the placement (seed 10)."""

    monitorid: str


class ReportRunning(Effect, frozen=True):
    """Tell the locator that the conference can be reached here (seed 7)."""


class ReportRenamed(Effect, frozen=True):
    """Tell the locator what the conference that can be reached here is called now (seed 7)."""


class ReportGone(Effect, frozen=True):
    """Tell a platform's locator that it can't be reached there any more (seed 7). `platform`: whose; empty: of the
    platform that the record names."""

    platform: str = ""


class SaveRow(Effect, frozen=True):
    """Write the conference's row in SQL (seed 2.3.2)."""


class DeleteRow(Effect, frozen=True):
    """Delete the conference's row in SQL."""


class FreeLoad(Effect, frozen=True):
    """Give a booked place on a host back. `platform`: moid of the host's platform, which counts it; empty: this one."""

    ip: str
    token: str
    platform: str = ""


def free_load(c: Conference) -> FreeLoad:
    """Give the place of a conference's present placement back."""
    return FreeLoad(c.ip, c.placement, c.platformmoid)


def take_load(c: Conference) -> TakeLoad:
    """Count a conference's present placement, which was not booked."""
    return TakeLoad(c.ip, c.placement, c.platformmoid)


def release_on_mcu(c: Conference) -> ReleaseOnMcu:
    """End a conference's present placement on its MCU."""
    return ReleaseOnMcu(c.ip, c.pid, c.epoch, c.platformmoid)


class Note(Effect, frozen=True):
    """Enter a step into a recovery of the ledger."""

    recovery: str
    text: str
    joins: bool = False
    """The conference is part of the recovery from now on."""
    settled: bool = False
    """It is not any more: restored, or ended."""


class TakeLoad(Effect, frozen=True):
    """Count a placement that was not booked, since the MCU has it. `platform` as of `FreeLoad`."""

    ip: str
    token: str
    platform: str = ""


class Bill(Effect, frozen=True):
    """Send the bill of a conference that ran (seed 12)."""

    reason: EndReason
    endtime: int
    """Seconds since the epoch."""
