"""What is lost with an MCU process, a room or a platform: where it is found, and what happens to each conference.

The recoveries and their dry run are made of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import msgspec

from css.domain.conference import Conference, Situation, State, live_index
from css.domain.events import Event, McuLost, PlatformLost, Voided

Fresh = Callable[[], int]
"""Makes an epoch above the conference's."""


class Loss(Protocol):
    """Something that has gone.

    `kind`, `subject`: as in the ledger; `step`: what a step of it is called; `index`: names its conferences.
    """

    kind: ClassVar[str]
    step: ClassVar[str]

    @property
    def subject(self) -> str: ...

    @property
    def index(self) -> str: ...

    def event(self, c: Conference, now_ms: int, fresh: Fresh, recovery: str) -> Event | None:
        """What happens to a conference; None: it is not concerned. `now_ms`: its store's clock."""
        ...


class LostProcess(msgspec.Struct, frozen=True):
    """An MCU process of a platform has gone (seed 1.2, 9.4)."""

    kind: ClassVar[str] = "mcu"
    step: ClassVar[str] = "lose"

    platform: str
    ip: str
    pid: str

    @property
    def subject(self) -> str:
        return f"{self.ip}:{self.pid}"

    @property
    def index(self) -> str:
        return f"mcu/{self.platform}/{self.ip}/{self.pid}"

    def event(self, c: Conference, now_ms: int, fresh: Fresh, recovery: str) -> Event | None:
        """See `Loss`: what runs there."""
        if c.situation is not Situation.ONGOING or (c.ip, c.pid) != (self.ip, self.pid):
            return None
        return McuLost(now_ms=now_ms, platform=self.platform, ip=self.ip, pid=self.pid, recovery=recovery)


class AbnormalRoom(msgspec.Struct, frozen=True):
    """A room of a platform is abnormal (seed 1.2)."""

    kind: ClassVar[str] = "room"
    step: ClassVar[str] = "void"

    platform: str
    roommoid: str

    @property
    def subject(self) -> str:
        return self.roommoid

    @property
    def index(self) -> str:
        return f"room/{self.platform}/{self.roommoid}"

    def event(self, c: Conference, now_ms: int, fresh: Fresh, recovery: str) -> Event | None:
        """See `Loss`: what has ever run, and is or is being placed there."""
        if (c.platformmoid, c.roommoid) != (self.platform, self.roommoid):
            return None
        return _voided(c, now_ms, fresh, recovery)


class AbnormalProcess(msgspec.Struct, frozen=True):
    """An MCU process of a platform says that it is in an abnormal room."""

    kind: ClassVar[str] = "room"
    step: ClassVar[str] = "void"

    platform: str
    ip: str
    pid: str
    roommoid: str

    @property
    def subject(self) -> str:
        return self.roommoid

    @property
    def index(self) -> str:
        return f"mcu/{self.platform}/{self.ip}/{self.pid}"

    def event(self, c: Conference, now_ms: int, fresh: Fresh, recovery: str) -> Event | None:
        """See `Loss`: what has ever run, and is there."""
        if (c.platformmoid, c.ip, c.pid) != (self.platform, self.ip, self.pid):
            return None
        return _voided(c, now_ms, fresh, recovery)


class AbnormalPlatform(msgspec.Struct, frozen=True):
    """A platform is abnormal, and this one serves the store in which it is looked for (seed 2.3.1)."""

    kind: ClassVar[str] = "platform"
    step: ClassVar[str] = "take_over"

    platform: str

    @property
    def subject(self) -> str:
        return self.platform

    @property
    def index(self) -> str:
        return live_index(self.platform)

    def event(self, c: Conference, now_ms: int, fresh: Fresh, recovery: str) -> Event | None:
        """See `Loss`: what runs there or is being placed there. What never ran is part of no recovery."""
        if c.platformmoid != self.platform or c.state is State.PENDING_RESTORE:
            return None
        name = recovery if c.has_run else ""
        return PlatformLost(now_ms=now_ms, platform=self.platform, epoch=fresh(), recovery=name)


def _voided(c: Conference, now_ms: int, fresh: Fresh, recovery: str) -> Event | None:
    if not c.has_run or c.legacy:
        return None
    return Voided(now_ms=now_ms, epoch=fresh(), recovery=recovery)
