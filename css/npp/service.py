"""The service tree of NPPCLIENT."""

from __future__ import annotations

from typing import Any

from twisted.application import strports
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.web.server import Site

from css.adapters.redis.link import Link
from css.adapters.redis.running import RedisRunning
from css.connections import redis_settings
from css.messages.pms import RedisAddress
from css.npp.config import NppSettings
from css.npp.discovery import Discovery
from css.npp.resource import Root
from css.npp.sources import Connect, Sources
from css.ports.running import IRunningConferences


class NppService(MultiService):
    """Finds the Redis of every source platform, and answers NGI.

    @param reactor: provides what an HTTP server and client need.
    @param connect: makes the link to a Redis; see `Sources`.
    """

    def __init__(self, reactor: Any, settings: NppSettings, connect: Connect) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.setName("npp")  # type: ignore[no-untyped-call]
        self._discovery = Discovery(reactor, settings.npp.discovery_file, settings.platform.moid)
        self.sources = Sources(reactor, self._discovery.ask, connect)
        self.root = Root(self.sources)
        site = Site(self.root, reactor=reactor)
        self.web = strports.service(settings.web.endpoint, site, reactor)
        self.web.setServiceParent(self)

    def startService(self) -> None:
        """Listen, and look for the Redis."""
        super().startService()  # type: ignore[no-untyped-call]
        self.sources.start()

    def stopService(self) -> Deferred[None]:
        """@return: fires when nothing is open any more."""
        listening = super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop(listening))

    async def _stop(self, listening: Deferred[Any]) -> None:
        await listening
        await self.sources.stop()
        await self.root.conferences.drained()
        await self._discovery.close()


def real_npp(reactor: Any, settings: NppSettings) -> NppService:
    """On real Redis.

    @raise ValueError: the endpoint is none.
    """

    def connect(address: RedisAddress) -> tuple[Link, IRunningConferences]:
        link = Link(reactor, redis_settings(settings.redis, address))
        running: IRunningConferences = RedisRunning(link, address.platformmoid)
        return link, running

    return NppService(reactor, settings, connect)
