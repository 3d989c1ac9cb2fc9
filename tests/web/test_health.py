"""`/livez` and `/readyz` over HTTP, and how readiness is found out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, readBody
from twisted.web.server import Site

from css.ports.store import StoreError
from css.web.health import PATIENCE_SECONDS, Dependency, Health, Readiness, health_resource

REACTOR: Any = reactor


async def there() -> None:
    """A dependency that answers."""


async def away() -> None:
    """One that does not."""
    raise StoreError("not connected")


class Readinesses(SynchronousTestCase):
    """What is found out, by a clock of its own."""

    def found(self, *dependencies: Dependency, serves: bool = True) -> Readiness:
        """The readiness that is known at once."""
        health = Health(Clock(), lambda: dependencies, lambda: ("serving", serves))
        return self.successResultOf(Deferred.fromCoroutine(health.readiness()))

    def test_all_is_there(self) -> None:
        self.assertEqual(self.found(Dependency("redis", there, True)), Readiness(True, "serving", {}))

    def test_a_required_one_is_missing(self) -> None:
        found = self.found(Dependency("redis", away, True), Dependency("sql", there, False))
        self.assertEqual(found, Readiness(False, "serving", {"redis": "not connected"}))

    def test_another_one_is_missing(self) -> None:
        """It is named, and work goes on."""
        found = self.found(Dependency("redis", there, True), Dependency("sql", away, False))
        self.assertEqual(found, Readiness(True, "serving", {"sql": "not connected"}))

    def test_not_serving_yet(self) -> None:
        self.assertFalse(self.found(Dependency("redis", there, True), serves=False).ready)

    def test_one_that_hangs(self) -> None:
        """It is given up; the others are not waited for longer."""
        clock = Clock()
        hangs: Callable[[], Awaitable[object]] = Deferred
        dependencies = [Dependency("sql", hangs, True), Dependency("redis", away, True)]
        health = Health(clock, lambda: dependencies, lambda: ("serving", True))
        finding = Deferred.fromCoroutine(health.readiness())
        self.assertNoResult(finding)
        clock.advance(PATIENCE_SECONDS)
        missing = self.successResultOf(finding).missing
        self.assertEqual(missing, {"sql": "no answer within 2 s", "redis": "not connected"})
        self.assertEqual(clock.getDelayedCalls(), [])


class OverHttp(TestCase):
    """A real client."""

    timeout = 20

    async def setUp(self) -> None:  # type: ignore[override]
        self.checks: dict[str, Callable[[], Awaitable[object]]] = {"redis": there, "sql": there}
        health = Health(REACTOR, self.dependencies, lambda: ("serving", True))
        self.port = REACTOR.listenTCP(0, Site(health_resource(health)), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    def dependencies(self) -> list[Dependency]:
        return [Dependency(name, check, name == "redis") for name, check in self.checks.items()]

    async def get(self, path: str, method: bytes = b"GET") -> tuple[int, bytes]:
        """Status and body."""
        url = f"http://127.0.0.1:{self.port.getHost().port}{path}".encode()
        response = await Agent(REACTOR).request(method, url)
        return response.code, await readBody(response)

    async def test_alive_whatever_is_missing(self) -> None:
        """No dependency is asked."""
        asked: list[str] = []

        async def ask() -> None:
            asked.append("redis")

        self.checks = {"redis": ask}
        self.assertEqual((await self.get("/livez"), asked), ((200, b"alive\n"), []))
        self.assertEqual(((await self.get("/readyz"))[0], asked), (200, ["redis"]))

    async def test_ready(self) -> None:
        code, body = await self.get("/readyz")
        self.assertEqual((code, json.loads(body)), (200, {"ready": True, "phase": "serving", "missing": {}}))

    async def test_not_ready(self) -> None:
        """Which one is missing, and why."""
        self.checks["redis"] = away
        code, body = await self.get("/readyz")
        self.assertEqual((code, json.loads(body)["missing"]), (503, {"redis": "not connected"}))
        self.assertEqual((await self.get("/readyz", b"HEAD"))[0], 503)

    async def test_what_is_not_there(self) -> None:
        self.assertEqual([(await self.get(path))[0] for path in ("/", "/nothing", "/livez")], [404, 404, 200])
        self.assertEqual((await self.get("/livez", b"POST"))[0], 405)
