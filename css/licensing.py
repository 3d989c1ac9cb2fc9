"""What belongs to licences, put together: what the BMC sends, and what MS and PAS are told."""

from __future__ import annotations

from css.core import Core
from css.handlers.dispatch import Routes, merge
from css.handlers.licences import Licences
from css.handlers.licensing import LicenceUsers


class Licensing:
    """The two families of one instance."""

    def __init__(self, core: Core) -> None:
        world = core.world
        self.users = LicenceUsers(
            core.own,
            world.platforms,
            world.stores,
            world.cipher,
            core.clocks,
            core.outbox,
            core.post,
            core.tally,
            world.session,
        )
        self.licences = Licences(
            core.own,
            world.platforms,
            world.stores,
            world.domains.platform_of,
            world.own_bus,
            world.cipher,
            core.tally,
            world.session,
            self.users.changed,
            core.doubtful.keep_newest,
        )

    @property
    def routes(self) -> Routes:
        """What they handle."""
        return merge(self.licences.routes, self.users.routes)
