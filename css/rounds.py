"""What becomes of conferences by time: each round is made again and again while the own platform is normal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from css.core import Core, milliseconds
from css.domain.conference import due_index
from css.handlers.due import DueWork
from css.handlers.rebuilding import Rebuilding
from css.handlers.restoring import Restoring
from css.handlers.takeover import Takeover
from css.ports.store import IConferenceStore
from css.timers.restore import RestoreTimer
from css.timers.watch import McuWatch, RoomWatch

DUE_SECONDS = 0.25
ROOM_SECONDS = 1.0
RESTORE_SECONDS = 0.25
"""How often it is looked what is due; a failed restore is due again after `restore_interval_seconds`."""
LIVENESS_SECONDS = 0.5
OTHERS_SECONDS = 1.0

Round = tuple[str, float, Callable[[], Awaitable[object]]]
"""Name, seconds between two beginnings, and the work."""


def conference_rounds(
    core: Core,
    overdue: Callable[[IConferenceStore, str], Awaitable[None]],
    restoring: Restoring,
    rebuilding: Rebuilding,
) -> list[Round]:
    """All of them. @param overdue: takes a conference whose deadline has come."""
    world, settings = core.world, core.settings
    rate = settings.restore.rate_per_second
    timeout_ms = milliseconds(settings.timers.mcu_timeout_seconds)
    restores = RestoreTimer(world.platforms, world.stores, world.state, restoring, rate)
    takeover = Takeover(
        core.own,
        world.platforms,
        world.stores,
        world.ledger,
        core.clocks,
        core.steps,
        restoring,
        restores.tick,
        core.tally,
    )
    return [
        ("deadlines", DUE_SECONDS, DueWork(due_index(core.own), world.stores.values, overdue, core.tally).tick),
        ("takeover", RESTORE_SECONDS, takeover.tick),
        ("restores", RESTORE_SECONDS, restores.tick),
        ("others' placements", OTHERS_SECONDS, takeover.watch_others),
        ("lost MCUs", LIVENESS_SECONDS, McuWatch(world.state, core.liveness, restoring, core.tally, timeout_ms).tick),
        ("abnormal rooms", ROOM_SECONDS, RoomWatch(world.state, restoring).tick),
        ("emptied stores", ROOM_SECONDS, rebuilding.tick),
    ]
