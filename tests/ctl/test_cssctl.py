"""`cssctl` as an operator has it: a process of its own, on real servers."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.adapters.redis.settings import RedisSettings
from css.peers.pms import PmsPeer
from tests.adapters.redis.fixture import RedisFixture
from tests.servers import servers

REACTOR: Any = reactor


class CssctlTests(RedisFixture):
    """One run a test or two: each starts an interpreter."""

    timeout = 60

    def settings(self) -> RedisSettings:
        self.host, self.port = servers().redis_address()
        self.database = servers().new_redis_database()
        return RedisSettings(host=self.host, port=self.port, db=self.database)

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.store.link.command("SET", "css/incarnation", "1")

    async def run_it(self, *words: str) -> tuple[str, str, int]:
        """What it prints, on standard output and error, and its status."""
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-m", "css.ctl", *words], env=None, reactor=REACTOR
        )
        return out.decode(), err.decode(), status

    def here(self) -> list[str]:
        """Options that name the own Redis."""
        return ["--redis", f"{self.host}:{self.port}/{self.database}", "--platform", "A"]

    async def test_drain(self) -> None:
        """Options may stand before and after the verb."""
        out, err, status = await self.run_it(*self.here(), "drain", "10.0.0.1", "--who", "li", "--reason", "风扇")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("10.0.0.1 gets no new conferences", out)
        self.assertIsNone(await self.state.book("t", ["10.0.0.1"], "", 0, 1_000))
        noted = (await self.ledger.recent(1))[0]
        self.assertEqual((noted.kind, noted.subject, noted.detected), ("operator", "drain 10.0.0.1", "li: 风扇"))

    async def test_no_command(self) -> None:
        """A word about the use, and status 2."""
        for words in ((), ("mcus",), ("mcus", "--redis", "x:1"), (*self.here(), "recoveries", "--limit", "0")):
            out, err, status = await self.run_it(*words)
            self.assertEqual((out, status), ("", 2))
            self.assertIn("usage: cssctl", err)

    async def test_what_can_not_be_reached(self) -> None:
        """One sentence, and status 1: a wrong address, a database that is none of CSS's, an unknown conference."""
        empty = ["--redis", f"{self.host}:{self.port}/{servers().new_redis_database()}", "--platform", "A"]
        cases = {
            "is not host:port": ["--redis", "nowhere", "--platform", "A", "mcus"],
            "is it the right database": [*empty, "pause"],
            "there is no conference 7": [*self.here(), "conferences", "7"],
            "does not answer": ["--redis", "127.0.0.1:9", "--platform", "A", "mcus"],
        }
        for expected, words in cases.items():
            out, err, status = await self.run_it(*words)
            self.assertEqual((out, status), ("", 1))
            self.assertIn(expected, err)
            self.assertNotIn("Traceback", err)

    async def test_configuration(self) -> None:
        """The PMS is asked where the own Redis is."""
        broker = servers().rabbitmq()
        vhost = broker.new_vhost()
        bus = AmqpBus(REACTOR, [AmqpAddress(broker.host, broker.port, vhost)], name="pms")
        bus.start()
        self.addCleanup(bus.stop)
        own = {"ip": self.host, "port": self.port, "db": self.database, "platformmoid": "A"}
        other = {"ip": "127.0.0.1", "port": 9, "db": 0, "platformmoid": "B"}
        mq = [{"ip": broker.host, "port": broker.port, "vhost": vhost}]
        pms = PmsPeer(bus, REACTOR, Random(1), "A", configs={"A": {"mq": mq, "redis": [other, own]}})
        pms.start()
        await bus.when_connected()
        config = Path(self.mktemp())
        url = f"amqp://guest:guest@{broker.host}:{broker.port}/{vhost}"
        config.write_text(f'[platform]\nmoid = "A"\n[amqp]\nurl = "{url}"\n')
        out, err, status = await self.run_it("pause", "--config", str(config))
        self.assertEqual((status, err), (0, ""))
        self.assertIn("no restore begins", out)
        self.assertTrue(await self.state.is_paused())
