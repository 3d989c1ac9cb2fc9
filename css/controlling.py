"""What belongs to the control of running conferences, put together."""

from __future__ import annotations

from css.core import Core, milliseconds
from css.handlers.control import Control
from css.handlers.dispatch import Routes, merge
from css.handlers.monitoring import Monitoring
from css.handlers.passing import PassedRequests
from css.ports.store import IConferenceStore
from css.timers.monitors import MonitorWatch


class Controlling:
    """The family of one instance."""

    def __init__(self, core: Core) -> None:
        own, world = core.own, core.world
        self._core = core
        self.passed = self._make_passed()
        core.post.on_silence.append(self.passed.silent_at_once)
        self.control = self._make_control()
        self.monitoring = Monitoring(own, world.platforms, core.lookup, core.steps, core.forwarding, core.tally)
        self.control.before_passing.append(self.monitoring.before_passing)
        self.passed.stopped = self.monitoring.stopped
        self.monitors = MonitorWatch(
            world.reactor,
            own,
            world.own_bus,
            world.stores,
            self.monitoring.overdue,
            core.tally,
            core.settings.timers.monitor_timeout_seconds,
        )

    def _own_store(self) -> IConferenceStore | None:
        return self._core.world.stores.get(self._core.own)

    def _make_passed(self) -> PassedRequests:
        core = self._core
        return PassedRequests(
            core.own,
            self._own_store,
            core.clocks,
            core.outbox,
            core.answers,
            core.tracker,
            core.tally,
            milliseconds(core.settings.timers.request_timeout_seconds),
            core.world.session,
            core.world.probe,
        )

    def _make_control(self) -> Control:
        core = self._core
        return Control(
            core.own,
            core.world.platforms,
            self._own_store,
            core.clocks,
            core.lookup,
            core.answers,
            self.passed,
            core.forwarding,
            core.following,
            core.outbox,
            core.post,
            core.tally,
            core.world.session,
        )

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return merge(self.control.routes, self.monitoring.routes)
