"""Service discovery over real HTTP: its address in a file, its answers, its failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from css.messages.pms import RedisAddress
from css.npp import discovery as module
from css.npp.discovery import Discovery, DiscoveryError
from css.peers.npp import DiscoveryPeer
from tests.npp.httpcase import REACTOR, HttpCase
from tests.scenarios.ground import until


class DiscoveryTests(TestCase):
    """One question."""

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        self.peer = DiscoveryPeer(REACTOR)
        self.peer.redis = [("10.0.0.1", 6379, 3, "A"), ("redis.b", 6380, 0, "B")]
        self.file = Path(self.mktemp())
        self.place = self.peer.start()
        self.file.write_text(f" {self.place}\n")
        self.discovery = Discovery(REACTOR, str(self.file), "own&platform")

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.discovery.close()
        await self.peer.stop()

    async def fails(self, *words: str) -> None:
        """Ask, which must fail; the error must say these words."""
        try:
            await self.discovery.ask()
        except DiscoveryError as error:
            for word in words:
                self.assertIn(word, str(error))
        else:
            self.fail("it answered")

    async def test_asks_for_the_own_platform(self) -> None:
        self.assertEqual(
            await self.discovery.ask(),
            [RedisAddress("10.0.0.1", 6379, 3, "A"), RedisAddress("redis.b", 6380, 0, "B")],
        )
        self.assertEqual(self.peer.asked, ["own&platform"])

    async def test_the_file_is_read_each_time(self) -> None:
        self.file.unlink()
        await self.fails("can't be read")
        for text in ("", "nowhere", "host:x", "a:1 b:2", "http://h:1", "u@h:1", "h:1/path"):
            self.file.write_text(text)
            await self.fails("does not hold one host:port")
        self.file.write_text(self.place)
        self.assertEqual(len(await self.discovery.ask()), 2)

    async def test_bad_answers(self) -> None:
        for body in (b"", b"x", b"[]", b"{}", b'{"redis": [{"ip": "h"}]}', b'{"redis": 5}'):
            self.peer.body = body
            await self.fails("can't be read")
        self.peer.body, self.peer.status = None, 500
        await self.fails("status 500")

    async def test_an_answer_without_end(self) -> None:
        self.peer.body = b" " * (module.MAX_ANSWER_BYTES + 2)
        await self.fails("more than")

    async def test_nobody_there(self) -> None:
        await self.peer.stop()
        await self.fails("does not answer")

    async def test_silence(self) -> None:
        """A server that takes the connection and says nothing."""
        self.patch(module, "TIMEOUT_SECONDS", 0.3)
        factory = protocol.ServerFactory.forProtocol(protocol.Protocol)
        silent: Any = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        self.file.write_text(f"127.0.0.1:{silent.getHost().port}")
        await self.fails("does not answer")
        await silent.stopListening()


class ServiceTests(HttpCase):
    """The whole service."""

    async def test_answers(self) -> None:
        await self.fill("1", "2", "3")
        await until(lambda: self.discovery.asked == ["own"], what="discovery is asked")
        pages = await self.ngi.pages("A", 2)
        self.assertEqual([[each["confE164"] for each in page] for page in pages], [["1", "2"], ["3"]])
        self.assertEqual((await self.ngi.get(platformmoid="X"))[0], 404)

    async def test_a_lost_redis_is_asked_for(self) -> None:
        self.assertEqual((await self.ngi.get(platformmoid="A"))[0], 200)
        self.server.fail()
        await until(lambda: len(self.discovery.asked) > 1, what="discovery is asked again")
        self.assertEqual((await self.ngi.get(platformmoid="A"))[0], 503)
        self.server.recover()
        self.assertEqual((await self.ngi.get(platformmoid="A"))[0], 200)

    async def test_stops_while_it_answers(self) -> None:
        await self.ngi.get(platformmoid="A")
        self.server.hang()
        asked: Deferred[Any] = Deferred.fromCoroutine(self.ngi.get(platformmoid="A"))
        await until(lambda: self.service.root.conferences._tracker.in_flight, what="it has begun")
        stopped = Deferred.fromCoroutine(_stop(self.service))
        self.server.recover()
        await stopped
        self.assertEqual((await asked)[0], 200)


async def _stop(service: Any) -> None:
    await service.stopService()
