"""How `IPlatformState.book` chooses among hosts: the rules that its implementations share, or are held to by contract.

A dry run chooses by these functions from what `IPlatformState.standings` says, and so as `book` would.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

LONGEST_FLAP = 32
"""How many times as long as the first time a flapping host is avoided at most."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """All that placing knows of one host. Times in milliseconds of the own store's clock."""

    ip: str
    roommoid: str = ""
    """The room that it last reported; empty: none."""
    seen: dict[str, int] = {}
    """Its processes, the forgotten ones too: pid -> when last heard of, 0: disconnected. Empty: never heard of."""
    load: int = 0
    """Booked conferences, those in flight and those that run included."""
    penalty: int = 0
    """What is left of its penalty, thousandths of a conference."""
    drained: bool = False
    losses: int = 0
    """How often it was lost lately, and when last: `lost_ms`."""
    lost_ms: int = 0


class Terms(msgspec.Struct, frozen=True):
    """What a choice is made by, beside the hosts."""

    default_room: str
    """Of hosts that never reported one."""
    abnormal_rooms: frozenset[str]
    silent_before_ms: int
    flap_ms: int
    now_ms: int


def obstacle(host: Standing, terms: Terms) -> str:
    """Why a host can't be chosen, in words; empty: it can."""
    room = host.roommoid or terms.default_room
    if host.drained:
        return "drained"
    if room in terms.abnormal_rooms:
        return f"room {room} is abnormal"
    if host.seen and not any(time_ms and time_ms >= terms.silent_before_ms for time_ms in host.seen.values()):
        return "no process of it is alive"
    return ""


def does_flap(host: Standing, terms: Terms) -> bool:
    """Whether it is to be avoided: after the second loss, longer with each."""
    if host.losses < 2:
        return False
    avoided_ms: int = terms.flap_ms * min(LONGEST_FLAP, 2 ** (host.losses - 2))
    return terms.now_ms < host.lost_ms + avoided_ms


def choose(hosts: Iterable[Standing], terms: Terms) -> Standing | None:
    """The least loaded host that can be chosen; one that flaps only if there is no other. Ties: the first.

    @return: None if there is none.
    """
    fit = [host for host in hosts if not obstacle(host, terms)]
    return min(fit, key=lambda host: (does_flap(host, terms), host.load * 1000 + host.penalty), default=None)
