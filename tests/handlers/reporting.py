"""What reports to the locator, on a site's instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from css.adapters.memory.planned import MemoryPlanned
from css.handlers.locator import LocatorReports
from css.handlers.planned import PlannedReports
from css.handlers.turns import Turns

if TYPE_CHECKING:
    from tests.handlers.site import Instance


def make_reports(css: Instance, session: str) -> tuple[LocatorReports, PlannedReports]:
    """Those of running conferences and of planned ones."""
    site = css.site
    turns = Turns("pA", site.stores, css.clocks, session)
    locator = LocatorReports("pA", site.stores, css.clocks, css.steps, css.post, css.duty, turns, css.tally, session)
    planned = PlannedReports(
        site.clock,
        0.0,
        "pA",
        lambda: site.platforms,
        site.stores,
        {"pA": MemoryPlanned(site.store.server), "pB": MemoryPlanned(site.other.server)},
        lambda: site.book,
        lambda moid: [user for user, platform in site.domains.current.items() if platform == moid],
        css.clocks,
        css.outbox,
        css.duty,
        locator.cleared_ms,
        turns,
        css.tracker,
        css.tally,
        session,
    )
    return locator, planned
