"""NPPCLIENT tells NGI what CSS really runs (seed 8)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from css.adapters.memory.running import MemoryRunning
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import connect
from css.messages.pms import RedisAddress
from css.npp.config import parse
from css.npp.service import NppService, real_npp
from css.npp.sources import Connect
from css.peers.npp import DiscoveryPeer, NgiPeer
from css.ports.running import IRunningConferences
from tests.contracts.running import ongoing
from tests.contracts.storecase import together
from tests.npp.httpcase import CONFIG
from tests.npp.world import MemoryLink
from tests.scale import scaled
from tests.scenarios.case import NAME, PLATFORM, USER, OnMemory, OnServers, Scenario
from tests.scenarios.ground import reactor, until
from tests.scenarios.processes import PROJECT, TWISTD
from tests.servers import servers
from tests.servers.process import Child, free_port, new_folder

COUNT = scaled(3_000, 100_000)


class NppCases(Scenario):
    """A platform's CSS, and beside it NPPCLIENT."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.discovery = DiscoveryPeer(reactor)
        self.discovery.redis = [self.redis_of(PLATFORM), self.away("Y")]
        self.file = Path(self.mktemp()).absolute()
        self.file.write_text(self.discovery.start())
        self.discovery_port = int(self.file.read_text().rpartition(":")[2])
        await self._start()

    async def _start(self) -> None:
        self.npp = self.make_npp(CONFIG.format(file=self.file))
        self.npp.startService()
        waiting: Any = self.npp.web._waitingForPort
        listening = await waiting
        self.ngi = NgiPeer(reactor, f"http://127.0.0.1:{listening.getHost().port}")

    async def _begin_anew(self) -> None:
        """Another NPPCLIENT."""
        await self.ngi.close()
        await self.npp.stopService()
        await self._start()

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.ngi.close()
        await self.npp.stopService()
        await self.discovery.stop()
        await super().tearDown()

    def redis_of(self, moid: str) -> tuple[str, int, int, str]:
        """Where discovery says that a platform's Redis is."""
        (redis,) = self.ground.config_of(moid, ())["redis"]
        return (redis["ip"], redis["port"], redis["db"], moid)

    def make_npp(self, config: str) -> NppService:
        """NPPCLIENT on this ground."""
        raise NotImplementedError

    async def _listed(self, limit: int = 2) -> list[str]:
        pages = await self.ngi.pages(PLATFORM, limit)
        return [each["confE164"] for page in pages for each in page]

    async def test_8_what_runs_is_listed(self) -> None:
        """From its first ACK to its end; what is being created or waits to be restored is not."""
        await self.begin(restore_interval_seconds=0.2, request_timeout_seconds=1.5)
        self.assertEqual(await self._listed(), [])
        acks = {e164: await self.created(e164) for e164 in ("3", "1", "2")}
        await self.eventually(self._listed, ["1", "2", "3"])
        (page,) = await self.ngi.pages(PLATFORM, 10)
        conf = await self.key("conf/1")
        begintime = int(conf["begintime"])
        wanted = {"confE164": "1", "confname": NAME, "moid": USER, "platformmoid": PLATFORM}
        self.assertEqual(page[0], {**wanted, "begintime": begintime, "endtime": acks["1"]["endtime"]})
        self.site.peers.rms.silent()
        waiting = self.cm.create("4", NAME, USER)
        host = self.site.peers.hosts[acks["2"]["ip"]]
        gone = [e164 for e164, ack in acks.items() if ack["ip"] == host.ip]
        await host.disconnect()
        await self.eventually(self._listed, [e164 for e164 in ("1", "2", "3") if e164 not in gone])
        self.site.peers.rms.resume()
        await waiting
        await self.eventually(self._listed, [e164 for e164 in "1234" if await self.state_of(e164)])
        for e164 in [e164 for e164 in "1234" if await self.state_of(e164)]:
            await self.release(e164)
        self.assertEqual(await self._listed(), [])
        await self.nothing_left()

    async def test_8_errors(self) -> None:
        """Each says why: a bad question, an unknown platform, a Redis that is away, service discovery that is away."""
        await self.begin()
        await self.created("1")
        self.assertEqual(await self._listed(), ["1"])
        for limit in (0, 1001, -1, "x"):
            await self._fails(400, "limit", platformmoid=PLATFORM, limit=limit)
        await self._fails(400, "cursor", platformmoid=PLATFORM, cursor="x")
        await self._fails(400, "platformmoid", limit=1)
        await self._fails(404, "X", platformmoid="X")
        await self._fails(503, "Y", platformmoid="Y")
        await self.discovery.stop()
        self.assertEqual(await self._listed(), ["1"])
        await self._begin_anew()
        await self._fails(503, "does not answer", platformmoid=PLATFORM)
        self.discovery.start(self.discovery_port)
        await self.eventually(lambda: self._status(PLATFORM), 200)
        self.assertEqual(await self._listed(), ["1"])
        await self.release("1")

    async def _fails(self, wanted: int, word: str, **question: Any) -> None:
        status, body = await self.ngi.get(**question)
        self.assertEqual((status, list(body)), (wanted, ["error"]), body)
        self.assertIn(word, body["error"])

    async def _status(self, moid: str) -> int:
        return (await self.ngi.get(platformmoid=moid))[0]

    def away(self, moid: str) -> tuple[str, int, int, str]:
        """A Redis of a platform that does not answer. @return: as `redis_of`."""
        raise NotImplementedError


class NppOnMemory(NppCases, OnMemory):
    """Redis in memory."""

    def make_npp(self, config: str) -> NppService:
        return NppService(reactor, parse(config, "/npp.toml"), self._connect())

    def away(self, moid: str) -> tuple[str, int, int, str]:
        self.ground.add_platform(moid)
        self.ground.stores[moid].fail()
        return self.redis_of(moid)

    def _connect(self) -> Connect:
        def connect(address: RedisAddress) -> tuple[MemoryLink, IRunningConferences]:
            server = self.ground.stores[address.platformmoid].server
            running: IRunningConferences = MemoryRunning(server, address.platformmoid)
            return MemoryLink(server), running

        return connect


class NppOnServers(NppCases, OnServers):
    """All of it on real servers."""

    def make_npp(self, config: str) -> NppService:
        return real_npp(reactor, parse(config, "/npp.toml"))

    def away(self, moid: str) -> tuple[str, int, int, str]:
        return ("127.0.0.1", free_port(), 0, moid)


class NppAsProcess(TestCase):
    """`twistd npp`, as an operator runs it, on a real Redis with many conferences."""

    timeout = 600

    async def setUp(self) -> None:  # type: ignore[override]
        self.host, self.port = servers().redis_address()
        self.db = servers().new_redis_database()
        self.store = connect(reactor, RedisSettings(host=self.host, port=self.port, db=self.db), "A")
        self.store.start()
        await self.store.link.when_connected()
        self.discovery = DiscoveryPeer(reactor)
        self.discovery.redis = [(self.host, self.port, self.db, "A")]
        self.folder = new_folder("npp")
        (self.folder / "discovery").write_text(self.discovery.start())
        web = free_port()
        config = CONFIG.format(file="discovery").replace("tcp:0", f"tcp:{web}")
        (self.folder / "npp.toml").write_text(config)
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        command = [sys.executable, TWISTD, "-n", "--pidfile=", "npp", "--config", str(self.folder / "npp.toml")]
        self.child = Child(command, self.folder / "npp.log", environment)
        self.ngi = NgiPeer(reactor, f"http://127.0.0.1:{web}")

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.ngi.close()
        self.child.end(signal.SIGTERM)
        await self.discovery.stop()
        await self.store.stop()

    async def test_pages_beside_other_requests(self) -> None:
        """Each conference once; whoever asks for little in between waits for little."""
        numbers = [f"{number:06}" for number in range(COUNT)]
        for start in range(0, COUNT, 500):
            await together(*(self.store.commit(ongoing(e164)) for e164 in numbers[start : start + 500]))
        await until(lambda: self.discovery.asked, 30, "it has started")
        await self.ngi.get(platformmoid="A", limit=1)
        waits: list[float] = []
        pages: list[list[dict[str, Any]]] = []

        async def walk() -> None:
            pages.extend(await self.ngi.pages("A", 1000))

        async def look() -> None:
            while len(pages) == 0:
                began = reactor.seconds()
                status, _ = await self.ngi.get(platformmoid="A", limit=1)
                self.assertEqual(status, 200)
                waits.append(reactor.seconds() - began)

        await together(walk(), walk(), walk(), look())
        found = [each["confE164"] for page in pages for each in page]
        self.assertEqual(sorted(found), sorted(numbers * 3))
        self.assertLess(sorted(waits)[len(waits) // 2], 0.25)
