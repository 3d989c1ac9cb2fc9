"""What the demo is made of: two platforms, their MCU hosts, their instances of CSS, and their user domains."""

from __future__ import annotations

from collections.abc import Collection

import msgspec


class Layout(msgspec.Struct, frozen=True):
    """One platform. `domains`: user domains, moid and name."""

    moid: str
    database: int
    """Its database in Valkey."""
    hosts: tuple[str, ...]
    rooms: tuple[str, ...]
    """Of each host."""
    instances: tuple[str, ...]
    domains: tuple[tuple[str, str], ...]


PLATFORMS = (
    Layout(
        "platform-a",
        0,
        ("10.1.0.1", "10.1.0.2", "10.1.0.3"),
        ("room-a1", "room-a1", "room-a2"),
        ("css-a-1", "css-a-2"),
        (("a-sales", "销售部"), ("a-research", "研发部")),
    ),
    Layout(
        "platform-b",
        1,
        ("10.2.0.1", "10.2.0.2", "10.2.0.3"),
        ("room-b1", "room-b1", "room-b2"),
        ("css-b-1",),
        (("b-finance", "财务部"), ("b-support", "客服部")),
    ),
)
"""Each is the other's backup; any instance may continue any step, so one platform has two."""


def serving(home: str, away: Collection[str]) -> str:
    """Moid of the platform whose CM asks for what is at home on a platform: itself, or while it is away another one."""
    return next((moid for moid in (home, *(each.moid for each in PLATFORMS)) if moid not in away), home)


CONFERENCE_NAMES = (
    "周会",
    "产品评审",
    "Board meeting",
    "客户演示",
    "Stand-up",
    "新员工培训",
    "Quarterly review",
    "应急会商",
)

DURATION_MINUTES = 60
"""How long a conference of the demo lasts, unless it is released before or delayed."""
PACE_SECONDS = 0.7
"""From one thing that happens by itself to the next."""
CEILING = 24
"""With that many running, only as many begin as end."""
RELEASE_SHARE = 0.25
"""How often a conference ends where one could begin."""

TIMERS = {
    "request_timeout_seconds": 2.0,
    "creating_timeout_seconds": 8.0,
    "state_poll_seconds": 1.0,
    "outbox_lease_seconds": 3.0,
}
"""Where the demo differs from the defaults: everything is near."""
