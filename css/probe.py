"""Kill points: named places at which a process can be made to die, so that tests can show that it does no harm.

Set `CSS_KILL_AT=<step>.<point>` (or `<step>.<point>:<n>` for the n-th time) in the environment of a CSS process, and it
kills itself there with SIGKILL. Without the variable a probe costs one call of an empty function.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from css.handlers.probes import Probe, no_probe

VARIABLE = "CSS_KILL_AT"

__all__ = ["VARIABLE", "no_probe", "probe_from"]


def probe_from(environment: Mapping[str, str]) -> Probe:
    """The probe that an environment asks for.

    @raise ValueError: the variable is set and is not `<step>.<point>` or `<step>.<point>:<n>`.
    """
    wanted = environment.get(VARIABLE, "")
    if not wanted:
        return no_probe
    place, _, count = wanted.partition(":")
    step, dot, point = place.partition(".")
    if not (step and dot and point) or (count and not count.isdigit()):
        raise ValueError(f"{VARIABLE}={wanted!r}: write <step>.<point> or <step>.<point>:<n>")
    return _KillAt(step, point, int(count or 1))


class _KillAt:
    def __init__(self, step: str, point: str, count: int) -> None:
        self._place = (step, point)
        self._left = count

    def __call__(self, step: str, point: str) -> None:
        if (step, point) == self._place:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
