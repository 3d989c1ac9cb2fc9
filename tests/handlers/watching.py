"""The monitors' part of an instance of `tests.handlers.site`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from css.handlers.monitoring import Monitoring
from css.timers.monitors import MonitorWatch

if TYPE_CHECKING:
    from tests.handlers.site import Instance


def make_monitoring(css: Instance) -> tuple[Monitoring, MonitorWatch]:
    """As the service does; a time-out is a minute."""
    site = css.site
    monitoring = Monitoring("pA", lambda: site.platforms, css.lookup, css.steps, css.forwarding, css.tally)
    css.control.before_passing.append(monitoring.before_passing)
    css.passed.stopped = monitoring.stopped
    return monitoring, MonitorWatch(site.clock, "pA", css.bus, site.stores, monitoring.overdue, css.tally, 60.0)
