"""The `[web]` endpoint of an instance: where it listens, and what it tells of the instance's dependencies."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Site

from css.service import CssService
from css.web.health import Health, health_resource


def health_of(reactor: Any, service: CssService) -> Health:
    """How ready an instance is."""
    return Health(reactor, service.dependencies, service.phase)


def web_service(reactor: Any, endpoint: str, service: CssService) -> IService:
    """Listens while it runs; what keeps it from listening is logged, and keeps nobody from serving.

    @raise ValueError: the endpoint is none that Twisted knows.
    """
    site = Site(health_resource(health_of(reactor, service)))
    site.displayTracebacks = False
    web: IService = StreamServerEndpointService(serverFromString(reactor, endpoint), site)
    return web
