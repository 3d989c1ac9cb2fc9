"""Public templates, put together for one instance."""

from __future__ import annotations

from css.core import Core
from css.handlers.templates import Templates


def make_templates(core: Core) -> Templates:
    """The family of one instance; it also takes its lane of the outbox."""
    world = core.world
    return Templates(
        core.own,
        world.platforms,
        world.stores,
        world.database,
        world.domains,
        core.clocks,
        core.epochs,
        core.answers,
        core.following,
        core.outbox,
        core.tracker,
        core.tally,
        world.probe,
    )
