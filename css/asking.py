"""What CMs ask for conferences, put together: creates, releases, delays."""

from __future__ import annotations

from css.core import Core
from css.handlers.create import Creating
from css.handlers.delay import Delaying
from css.handlers.dispatch import Routes, merge
from css.handlers.release import Releasing


def requests_of_cms(core: Core) -> Routes:
    """Their handlers, of one instance."""
    own, world, following = core.own, core.world, core.following
    creating = Creating(
        own,
        world.platforms,
        world.stores,
        world.domains,
        core.clocks,
        core.epochs,
        core.steps,
        core.answers,
        following,
        core.placing,
        core.tally,
    )
    asked = (world.platforms, world.stores, core.lookup, core.steps, core.answers)
    releasing = Releasing(own, *asked, core.forwarding, following)
    return merge(creating.routes, releasing.routes, Delaying(own, *asked, following).routes)
