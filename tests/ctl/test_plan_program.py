"""`python -m css plan` as an operator has it: a process of its own, on real servers. It writes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore
from css.domain.conference import Conference, indexes, to_conf_fields, to_fields
from css.peers.pms import PmsPeer
from css.peers.rms import Resources, RmsPeer
from css.ports.store import Commit, McuSeen, Outcome
from tests.adapters.redis.fixture import RedisFixture, dump
from tests.domain import samples
from tests.servers import servers

REACTOR: Any = reactor
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


class PlanProgram(RedisFixture):
    """Platform A with three hosts, and B, which A backs up: each with its Redis and conferences."""

    timeout = 60

    def settings(self) -> RedisSettings:
        self.host, self.port = servers().redis_address()
        self.database = servers().new_redis_database()
        return RedisSettings(host=self.host, port=self.port, db=self.database)

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.peer_database = servers().new_redis_database()
        self.peer = await self.connected(RedisSettings(host=self.host, port=self.port, db=self.peer_database))
        for store in (self.store, self.peer):
            await store.link.command("SET", "css/incarnation", "1")
        now = (
            await self.store.now_ms() + 1_000 * self.timeout
        )  # starting a server takes longer than an MCU may be silent
        rooms = ("room-1", "room-1", "room-2")
        await self.state.note_seen([McuSeen(ip, "11", now, room) for ip, room in zip(HOSTS, rooms, strict=True)])
        for number in range(4):
            await self.put(self.store, f"10{number}", "A", ip=HOSTS[0], priority=number, roommoid="room-1")
            await self.put(self.peer, f"20{number}", "B", ip="10.2.0.1")

    async def put(self, store: RedisStore, e164: str, platform: str, **fields: Any) -> None:
        """A conference that runs on a platform, at home unless its `source` is given."""
        common = {"source": platform, "platformmoid": platform, "endtime": 0, "due_ms": 0}
        c: Conference = replace(samples.ongoing(), e164=e164, **{**common, **fields})
        commit = Commit(e164=e164, set_fields=to_fields(c), set_conf=to_conf_fields(c), index_add=indexes(c))
        self.assertEqual((await store.commit(commit)).outcome, Outcome.DONE)

    def here(self) -> list[str]:
        """Options that name both stores."""
        own, peer = (f"{self.host}:{self.port}/{each}" for each in (self.database, self.peer_database))
        return ["--redis", own, "--platform", "A", "--redis", peer, "--platform", "B"]

    async def plan(self, *words: str) -> tuple[str, str, int]:
        """What it prints, on standard output and error, and its status. The stores must be as before."""
        before = [await dump(store.link) for store in (self.store, self.peer)]
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-m", "css", "plan", *words], env=None, reactor=REACTOR
        )
        self.assertEqual([await dump(store.link) for store in (self.store, self.peer)], before)
        return out.decode(), err.decode(), status

    async def test_all_fit(self) -> None:
        """For people; options may stand before and after."""
        out, err, status = await self.plan(*self.here(), "mcu-down", HOSTS[0])
        self.assertEqual((err, status), ("", 0), out)
        self.assertIn("4 conferences are lost, 4 would be restored (0 wait already)", out)
        self.assertLess(out.index("103  priority 3"), out.index("100  priority 0"))
        for expected in ("10.0.0.2 (room-1)  A  0 -> 2", "10.0.0.3 (room-2)  A  0 -> 2", "all fit", "note: hosts are"):
            self.assertIn(expected, out)

    async def test_some_do_not_fit(self) -> None:
        """Status 3; for programs."""
        words = ("--json", "--most", "3", "--hosts", "10.0.0.1,10.0.0.2,10.0.0.3")
        out, err, status = await self.plan("room-down", "room-1", *words, *self.here())
        self.assertEqual((err, status), ("", 3))
        found = json.loads(out)
        self.assertEqual((found["fits"], found["kind"], found["platform"]), (False, "room-down", "A"))
        targets = [(each["e164"], each["outcome"], each["to_ip"]) for each in found["conferences"]]
        placed = [(number, "moves", HOSTS[2]) for number in ("103", "102", "101")]
        self.assertEqual(targets, [*placed, ("100", "stuck", "")])

    async def test_takeover(self) -> None:
        """The other platform's conferences, on the hosts here; it needs that platform's Redis."""
        out, err, status = await self.plan("takeover", "B", *self.here())
        self.assertEqual((err, status), ("", 0))
        self.assertIn("4 conferences are lost, 4 would be restored", out)
        self.assertIn("by A", out)
        out, err, status = await self.plan("takeover", "B", *self.here()[:4])
        self.assertEqual((out, status), ("", 2))
        self.assertIn("does not back up B", err)

    async def test_handback(self) -> None:
        """What runs here stays, what its own MCUs may still run is looked at by itself."""
        await self.put(self.peer, "300", "A", ip=HOSTS[1], source="B")
        out, err, status = await self.plan("handback", "B", "--serving", "B", *self.here())
        self.assertEqual((err, status), ("", 0), out)
        self.assertIn("handback B; nothing is written\nno conferences are lost, none would be restored\n", out)
        self.assertIn("would stay: 5", out)
        self.assertIn("300  priority 5  10.0.0.2/11", out)
        self.assertEqual(out.count("it stays on A until it ends"), 1)
        self.assertEqual(out.count("it runs on if its MCU's next list shows it, else B restores it"), 4)

    async def test_what_can_not_be_planned(self) -> None:
        """Status 2, and what to do."""
        cases = {
            "MCU hosts of A: 10.0.0.1": [*self.here(), "mcu-down", "10.9.9.9"],
            "rooms: room-1, room-2": [*self.here(), "room-down", "x"],
            "--ask-rms needs --config": [*self.here(), "mcu-down", HOSTS[0], "--ask-rms"],
            "give one --platform for each": [*self.here()[:6], "mcu-down", HOSTS[0]],
            "does not answer": ["--redis", "127.0.0.1:9", "--platform", "A", "mcu-down", HOSTS[0]],
        }
        for expected, words in cases.items():
            out, err, status = await self.plan(*words)
            self.assertEqual((out, status), ("", 2), err)
            self.assertIn(expected, err)
            self.assertNotIn("Traceback", err)

    async def test_configuration(self) -> None:
        """The PMS is asked where the stores are and which platforms there are; RMS, on demand, for the hosts."""
        broker = servers().rabbitmq()
        vhost = broker.new_vhost()
        bus = AmqpBus(REACTOR, [AmqpAddress(broker.host, broker.port, vhost)], name="peers")
        bus.start()
        self.addCleanup(bus.stop)
        addresses = ((self.database, "A"), (self.peer_database, "B"))
        redis = [{"ip": self.host, "port": self.port, "db": db, "platformmoid": moid} for db, moid in addresses]
        mq = [{"ip": broker.host, "port": broker.port, "vhost": vhost}]
        pms = PmsPeer(bus, REACTOR, Random(1), "A", configs={"A": {"mq": mq, "redis": redis}})
        pms.main = ["B"]
        rms = RmsPeer(bus, REACTOR, Random(2))
        rms.answer("", Resources("room-2", mcu=[HOSTS[2]]))
        pms.start()
        rms.start()
        await bus.when_connected()
        config = Path(self.mktemp())
        config.write_text(
            f'[platform]\nmoid = "A"\n[amqp]\nurl = "amqp://guest:guest@{broker.host}:{broker.port}/{vhost}"\n'
        )
        out, err, status = await self.plan("takeover", "B", "--config", str(config), "--ask-rms", "--json")
        self.assertEqual((err, status), ("", 0))
        self.assertEqual({each["to_ip"] for each in json.loads(out)["conferences"]}, {HOSTS[2]})
        self.assertEqual(rms.requests(), 1)
        out, err, status = await self.plan("takeover", "C", "--config", str(config))
        self.assertEqual((out, status), ("", 2))
        self.assertIn("A does not back up C, but B", err)
