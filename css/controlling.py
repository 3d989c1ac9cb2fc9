"""What belongs to the control of running conferences, put together."""

from __future__ import annotations

from css.core import Core, milliseconds
from css.handlers.control import Control
from css.handlers.dispatch import Routes
from css.handlers.passing import PassedRequests
from css.ports.store import IConferenceStore


class Controlling:
    """The family of one instance."""

    def __init__(self, core: Core) -> None:
        own, world = core.own, core.world

        def store() -> IConferenceStore | None:
            return world.stores.get(own)

        self.passed = PassedRequests(
            own,
            store,
            core.clocks,
            core.outbox,
            core.answers,
            core.tracker,
            core.tally,
            milliseconds(core.settings.timers.request_timeout_seconds),
            world.session,
            world.probe,
        )
        core.post.on_silence.append(self.passed.silent_at_once)
        self.control = Control(
            own,
            world.platforms,
            store,
            core.clocks,
            core.lookup,
            core.answers,
            self.passed,
            core.forwarding,
            core.outbox,
            core.post,
            core.tally,
            world.session,
        )

    @property
    def routes(self) -> Routes:
        """What it handles."""
        return self.control.routes
