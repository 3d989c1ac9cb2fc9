"""NPPCLIENT on real HTTP: a discovery on a port, the service on another, and NGI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from css.adapters.memory.running import MemoryRunning
from css.adapters.memory.server import MemoryServer
from css.adapters.memory.store import MemoryStore
from css.messages.pms import RedisAddress
from css.npp.config import NppSettings, parse
from css.npp.service import NppService
from css.npp.sources import Connect
from css.peers.npp import DiscoveryPeer, NgiPeer
from css.ports.running import IRunningConferences
from tests.contracts.running import ongoing
from tests.npp.world import MemoryLink

REACTOR: Any = global_reactor

CONFIG = """
[platform]
moid = "own"
[npp]
discovery_file = "{file}"
[web]
endpoint = "tcp:0:interface=127.0.0.1"
"""


def settings(file: str) -> NppSettings:
    """A configuration for tests."""
    return parse(CONFIG.format(file=file), "/npp.toml")


class HttpCase(TestCase):
    """Source A, in memory; everything else is real."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        self.server = MemoryServer(REACTOR)
        self.discovery = DiscoveryPeer(REACTOR)
        self.discovery.redis = [("10.0.0.1", 6379, 0, "A")]
        self.file = Path(self.mktemp()).absolute()
        self.file.write_text(self.discovery.start() + "\n")
        self.service = NppService(REACTOR, settings(str(self.file)), self.connect())
        self.service.startService()
        waiting: Any = self.service.web._waitingForPort
        listening = await waiting
        self.base = f"http://127.0.0.1:{listening.getHost().port}"
        self.ngi = NgiPeer(REACTOR, self.base)

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.ngi.close()
        await self.service.stopService()
        await self.discovery.stop()

    def connect(self) -> Connect:
        """How the service reaches a Redis."""

        def connect(address: RedisAddress) -> tuple[MemoryLink, IRunningConferences]:
            running: IRunningConferences = MemoryRunning(self.server, address.platformmoid)
            return MemoryLink(self.server), running

        return connect

    async def fill(self, *numbers: str) -> None:
        """Ongoing conferences of source A."""
        store = MemoryStore("A", REACTOR, self.server)
        for e164 in numbers:
            await Deferred.fromCoroutine(store.commit(ongoing(e164)))
