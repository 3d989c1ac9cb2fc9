"""A reactor's time that runs on evenly when the machine's clock is set: Twisted's own goes by that clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Seconds = Callable[[], float]


def steady_seconds(wall: Seconds = time.time, monotonic: Seconds = time.monotonic) -> Seconds:
    """Seconds since the epoch as the clock says now, and from now on at an even pace, however the clock is set."""
    start = wall() - monotonic()
    return lambda: start + monotonic()


def keep_steady(reactor: Any, wall: Seconds = time.time, monotonic: Seconds = time.monotonic) -> None:
    """Have a reactor's timers go by an even time.

    By Twisted's own `seconds` a clock that is set back by an hour puts every timer off by an hour: time-outs, leases,
    sweeps, heartbeats. What time it is for conferences comes from each store's clock, measured again and again.
    """
    reactor.seconds = steady_seconds(wall, monotonic)
