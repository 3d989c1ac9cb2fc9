"""What belongs to reports, put together: what UPU and network management are told, and when (seed 7, 11)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from css.core import Core
from css.handlers.locator import LocatorReports
from css.handlers.planned import PlannedReports
from css.handlers.status import StatusReports
from css.handlers.turns import Turns
from css.timers.ticker import Ticker

ROUND_SECONDS = 1.0
PLANNED_SECONDS = 3.0
"""Service begins first: what is planned is compared from so long after it on, for that reads the names of all keys."""


class Reporting:
    """The family of one instance. It works in both states of the own platform: `start` it in either."""

    def __init__(self, core: Core) -> None:
        self._core = core
        world, settings = core.world, core.settings
        turns = Turns(core.own, world.stores, core.clocks, world.session)
        self.locator = LocatorReports(
            core.own, world.stores, core.clocks, core.steps, core.post, core.duty, turns, core.tally, world.session
        )
        self.planned = self._make_planned(turns)
        self.status = StatusReports(
            core.own,
            settings.instance.name,
            world.platforms,
            world.stores,
            core.clocks,
            core.post,
            world.session,
        )
        core.duty.on_suspended(self._suspended)
        interval = settings.timers.status_interval_seconds
        self._status_ticker = Ticker(world.reactor, "status reports", interval, self.status.report)
        self._tickers = [
            Ticker(world.reactor, "locator", ROUND_SECONDS, self.locator.tick),
            Ticker(world.reactor, "planned conferences", ROUND_SECONDS, self.planned.tick),
            Ticker(world.reactor, "status reports that wait", ROUND_SECONDS, self.status.send),
        ]

    def _make_planned(self, turns: Turns) -> PlannedReports:
        core, world = self._core, self._core.world
        return PlannedReports(
            world.reactor,
            PLANNED_SECONDS,
            core.own,
            world.platforms,
            world.stores,
            world.planned,
            world.book,
            world.domains.users_of,
            core.clocks,
            core.outbox,
            core.duty,
            self.locator.cleared_ms,
            turns,
            core.tracker,
            core.tally,
            world.session,
        )

    def start(self) -> None:
        """Begin; nothing happens if it has begun."""
        for ticker in self._tickers:
            ticker.start(at_once=True)
        self._status_ticker.start(at_once=True)

    def stop(self) -> Deferred[Any]:
        """End. @return: fires when no round is under way."""
        return DeferredList([each.stop() for each in (*self._tickers, self._status_ticker)], consumeErrors=True)

    def _suspended(self) -> None:
        """The own platform is abnormal: nothing can be reached here."""
        self.locator.suspended()
        self._core.tracker.run(self.locator.tick(), "clearing the locator")
