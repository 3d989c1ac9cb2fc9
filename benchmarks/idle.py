"""An instance without anything to do: what each of its rounds costs on the stores of several sizes."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import msgspec
from twisted.internet.defer import gatherResults
from twisted.internet.task import LoopingCall, deferLater

from benchmarks.filling import HOSTS, PID, ROOM
from benchmarks.measured import KEY, PLATFORM
from benchmarks.store import server_cpu
from css.adapters.memory.bus import MemoryBroker
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore, connect
from css.config import parse
from css.connections import cipher_of
from css.demo.connector import DemoConnector
from css.handlers.startup import Phase
from css.peers.bmc import BmcPeer
from css.peers.pms import PmsPeer
from css.probe import no_probe
from css.service import CssService

START_LIMIT_SECONDS = 30.0
HEARD_SECONDS = 0.5
SIGNS_OF_LIFE = "signs of life"
JUDGED = ("restores", "deadlines", "lost MCUs", SIGNS_OF_LIFE)
"""Restore, expiry, liveness."""

_CONFIG = """
[platform]
moid = "{platform}"
[instance]
name = "css-1"
[amqp]
url = "memory:"
[sql]
url = "sqlite:///{sqlite}"
[license]
key_file = "{keys}"
[timers]
mcu_timeout_seconds = 3.0
sync_grace_seconds = 3.5
"""


class Cost(msgspec.Struct):
    """Microseconds of CPU a round."""

    css: float = 0.0
    redis: float = 0.0

    @property
    def total(self) -> float:
        """Of both."""
        return self.css + self.redis


class Idle:
    """One instance in this process, with a broker of its own in memory, on a real Redis. Its timers stand still, but
    for that of the signs of life, without which an instance takes itself for stalled."""

    def __init__(self, reactor: Any, redis: tuple[str, int]) -> None:
        self._reactor = reactor
        host, port = redis
        self.store: RedisStore = connect(reactor, RedisSettings(host=host, port=port), PLATFORM)
        broker = MemoryBroker(reactor, Random(1))
        self._bus = broker.bus("peers")
        configs = {
            PLATFORM: {
                "mq": [{"ip": "memory", "port": 1, "vhost": PLATFORM}],
                "redis": [{"ip": host, "port": port, "db": 0, "platformmoid": PLATFORM}],
            }
        }
        self._pms = PmsPeer(self._bus, reactor, Random(2), PLATFORM, configs=configs)
        self._bmc = BmcPeer(self._bus, reactor, Random(3), KEY.encode())
        self._bmc.licences[PLATFORM] = {}
        folder = Path(mkdtemp(prefix="css-bench-"))
        (folder / "keys").write_text(KEY + "\n")
        text = _CONFIG.format(platform=PLATFORM, sqlite=folder / "sql", keys=folder / "keys")
        settings = parse(text, str(folder / "css.toml"))
        connector = DemoConnector(reactor, settings, {PLATFORM: broker})
        self._service = CssService(
            reactor,
            settings,
            connector.make_own_bus(),
            connector,
            cipher_of(settings),
            no_probe,
            Random(4),
            f"idle-{port}",
        )
        self._heard = LoopingCall(self._hear)
        self._heard.clock = reactor

    async def start(self) -> None:
        """Serve, until silent MCUs would be noticed; then stop the timers."""
        self.store.start()
        self._bus.start()
        self._pms.start()
        self._bmc.start()
        self._service.startService()
        await self._until_it_serves()
        _ = self._heard.start(HEARD_SECONDS)
        give_up_at = self._reactor.seconds() + START_LIMIT_SECONDS
        while not self._service.work.liveness.silent_before_ms() and self._reactor.seconds() < give_up_at:
            await deferLater(self._reactor, 0.1)
        stopped = [each.stop() for each in self._service.work.tickers if each.name != SIGNS_OF_LIFE]
        await gatherResults(stopped)

    async def stop(self) -> None:
        """In order."""
        if self._heard.running:
            self._heard.stop()
        await self._service.stopService()
        await gatherResults([self._pms.stop(), self._bmc.stop()])
        await self._bus.stop()
        await self.store.stop()

    @property
    def names(self) -> list[str]:
        """Of its timers."""
        return [ticker.name for ticker in self._service.work.tickers]

    async def cost(self, name: str, rounds: int) -> Cost:
        """@return: what one round of a timer costs."""
        work = next(ticker.work for ticker in self._service.work.tickers if ticker.name == name)
        redis, css = await server_cpu(self.store), time.process_time()
        for _ in range(rounds):
            await work()
        css = time.process_time() - css
        redis = await server_cpu(self.store) - redis
        return Cost(css / rounds * 1e6, redis / rounds * 1e6)

    async def waiting(self) -> int:
        """How many conferences are not simply running: none, else this was not idle."""
        kinds = ("restore", "ready", "pending")
        return sum([await self.store.index_size(f"{kind}/{PLATFORM}") for kind in kinds])

    def _hear(self) -> None:
        for ip in HOSTS:
            self._service.work.liveness.note(ip, PID, ROOM)

    async def _until_it_serves(self) -> None:
        give_up_at = self._reactor.seconds() + START_LIMIT_SECONDS
        while self._service.startup.phase is not Phase.SERVING or not self._service.work.licences.complete:
            if self._reactor.seconds() > give_up_at:
                raise RuntimeError("the instance does not come into service")
            await deferLater(self._reactor, 0.1)
