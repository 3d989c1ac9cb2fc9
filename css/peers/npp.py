"""Simulated surroundings of NPPCLIENT: service discovery, and NGI, which asks it. They speak HTTP, not AMQP."""

from __future__ import annotations

from typing import Any

import msgspec
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class DiscoveryPeer(Resource):
    """Service discovery on a port of its own.

    @ivar redis: what it answers, as (ip, port, db, source platform).
    @ivar asked: the platforms that it was asked about.
    @ivar status: of its answers. @ivar body: answered instead of `redis`, if given.
    """

    isLeaf = True

    def __init__(self, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.redis: list[tuple[str, int, int, str]] = []
        self.asked: list[str] = []
        self.status = 200
        self.body: bytes | None = None
        self._reactor = reactor
        self._port: IListeningPort | None = None

    def start(self, port: int = 0) -> str:
        """Listen. @return: its `host:port`."""
        self._port = self._reactor.listenTCP(port, Site(self, reactor=self._reactor), interface="127.0.0.1")
        assert self._port is not None
        host: Any = self._port.getHost()
        return f"127.0.0.1:{host.port}"

    async def stop(self) -> None:
        """Listen no more."""
        if self._port is not None:
            stopped, self._port = self._port.stopListening(), None
            if stopped is not None:
                await stopped

    def render_GET(self, request: Request) -> bytes:  # noqa: N802
        """Answer."""
        args: dict[bytes, list[bytes]] = request.args or {}
        if request.path != b"/redis":
            request.setResponseCode(404)
            return b""
        self.asked += [value.decode() for value in args.get(b"platformmoid", [])]
        request.setResponseCode(self.status)
        if self.body is not None:
            return self.body
        names = ("ip", "port", "db", "platformmoid")
        return msgspec.json.encode({"redis": [dict(zip(names, each, strict=True)) for each in self.redis]})


class NgiPeer:
    """NGI: asks NPPCLIENT at a base URL."""

    def __init__(self, reactor: Any, base: str) -> None:
        self.base = base
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = 100
        self._client = HTTPClient(Agent(reactor, pool=self._pool))

    async def get(self, path: str = "/v1/conferences", **parameters: str | int) -> tuple[int, Any]:
        """@return: the status, and the body as JSON."""
        given = {name: str(value) for name, value in parameters.items()}
        response = await self._client.get(f"{self.base}{path}", params=given)
        return int(response.code), msgspec.json.decode(await response.content())

    async def pages(self, platformmoid: str, limit: int) -> list[list[dict[str, Any]]]:
        """All pages. Fails with `AssertionError` if one is refused."""
        pages: list[list[dict[str, Any]]] = []
        cursor: str | None = ""
        while cursor is not None:
            more = {"cursor": cursor} if cursor else {}
            status, body = await self.get(platformmoid=platformmoid, limit=limit, **more)
            assert status == 200, body
            pages.append(body["conferences"])
            cursor = body["cursor"]
        return pages

    def close(self) -> Deferred[Any]:
        """Close its connections."""
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed
