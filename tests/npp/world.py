"""NPPCLIENT over memory: a clock, Redis servers in memory, and discovery that a test answers by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.running import MemoryRunning
from css.adapters.memory.server import MemoryServer
from css.adapters.memory.store import MemoryStore
from css.messages.pms import RedisAddress
from css.npp.discovery import DiscoveryError
from css.npp.resource import Root
from css.npp.sources import Sources
from css.ports.running import IRunningConferences
from tests.contracts.running import ongoing

NOW = 1_800_000_000


class MemoryLink:
    """Stands for the connection to a server in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self.started = False
        self.stopped = False

    def start(self) -> None:
        """See `Link.start`."""
        self.started = True

    def stop(self) -> Deferred[None]:
        """See `Link.stop`."""
        self.stopped = True
        return succeed(None)

    def on_state_change(self, listener: Callable[[bool], None]) -> None:
        """See `Link.on_state_change`."""
        self._server.on_state_change(listener)


class NppCase(SynchronousTestCase):
    """Sources A and B, each on its server; discovery answers at once unless `pending` or `error` is set."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.addresses = [RedisAddress("10.0.0.1", 6379, 0, "A"), RedisAddress("10.0.0.2", 6379, 1, "B")]
        self.servers = {ip: MemoryServer(self.clock) for ip in ("10.0.0.1", "10.0.0.2", "10.0.0.3")}
        self.error = ""
        self.asked = 0
        self.pending: Deferred[None] | None = None
        self.links: list[tuple[RedisAddress, MemoryLink]] = []
        self.sources = Sources(self.clock, self.ask, self.connect)
        self.http: Any = StubTreq(Root(self.sources))

    async def ask(self) -> list[RedisAddress]:
        """What discovery says."""
        self.asked += 1
        if self.pending is not None:
            await self.pending
        if self.error:
            raise DiscoveryError(self.error)
        return list(self.addresses)

    def connect(self, address: RedisAddress) -> tuple[MemoryLink, IRunningConferences]:
        """A link to the server at the address."""
        link = MemoryLink(self.servers[address.ip])
        self.links.append((address, link))
        running: IRunningConferences = MemoryRunning(self.servers[address.ip], address.platformmoid)
        return link, running

    def fill(self, *numbers: str, ip: str = "10.0.0.1", **more: Any) -> None:
        """Ongoing conferences of source A."""
        store = MemoryStore("A", self.clock, self.servers[ip])
        for e164 in numbers:
            self.successResultOf(Deferred.fromCoroutine(store.commit(ongoing(e164, **more))))

    def get(self, query: str = "", method: str = "GET", path: str = "/v1/conferences") -> Any:
        """@return: the response to a request, once it is there."""
        return self.successResultOf(self.begin(query, method, path))

    def begin(self, query: str = "", method: str = "GET", path: str = "/v1/conferences") -> Deferred[Any]:
        """Send a request."""
        asked: Deferred[Any] = self.http.request(method, f"http://npp{path}{'?' + query if query else ''}")
        self.http.flush()
        return asked

    def json(self, query: str = "", **more: str) -> tuple[int, Any]:
        """@return: status and body."""
        response = self.get(query, **more)
        return response.code, self.successResultOf(response.json())

    def pass_seconds(self, seconds: float) -> None:
        """Time goes by."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
        self.http.flush()

    def stop(self) -> None:
        """End it; nothing may be left in the clock."""
        self.successResultOf(Deferred.fromCoroutine(self.sources.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
