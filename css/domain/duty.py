"""What the time in which a platform was abnormal leaves in doubt (seed 2.3.1)."""

from __future__ import annotations

from css.domain.conference import Conference, State
from css.domain.epochs import INSTANCE_SLOTS


def doubted_below(resumed_ms: int, since_ms: int, grace_ms: int, now_ms: int) -> int:
    """The epoch below which placements are in doubt; 0: none is.

    A platform that is abnormal has its MCUs end what they list. For a while after it is normal again, neither an end
    notice nor a list that lacks a conference says that anybody wanted that one ended.

    @param resumed_ms: when the platform became normal again; 0: it always was. @param since_ms: how long ago that is.
    @param grace_ms: how long the doubt lasts: in that time every MCU has sent a list.
    @param now_ms: the clock of the store whose epochs are asked about.
    """
    if not resumed_ms or since_ms > grace_ms:
        return 0
    return (now_ms - since_ms) * INSTANCE_SLOTS


def is_doubted(c: Conference, own: str, below: int) -> bool:
    """Whether the end of a conference on an MCU here is to be taken for the loss of its placement.

    One that is bound to old hardware was not ended by the platform.
    """
    waits_or_runs = c.state is not State.CREATING and bool(c.ip)
    return waits_or_runs and c.platformmoid == own and c.epoch < below and not c.legacy
