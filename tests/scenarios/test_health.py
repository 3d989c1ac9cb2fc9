"""Whether an instance is ready, and what it lacks, on memory adapters and on real servers."""

from __future__ import annotations

from typing import Any

from css.web.health import Readiness
from css.webservice import health_of
from tests.scenarios.case import PLATFORM, OnMemory, OnServers, Scenario
from tests.scenarios.ground import reactor, until


class HealthCase(Scenario):
    """An instance that serves."""

    async def readiness(self) -> Readiness:
        """What `/readyz` would say."""
        return await health_of(reactor, self.service).readiness()

    async def said(self) -> tuple[bool, str, list[str]]:
        """Whether it is ready, its phase, and what is missing."""
        found = await self.readiness()
        return found.ready, found.phase, sorted(found.missing)

    async def test_serving(self) -> None:
        """All is there."""
        await self.begin()
        await self.eventually(self.said, (True, "serving", []))

    async def test_own_platform_abnormal(self) -> None:
        """Nothing is missing, and it takes no work; so until the platform is normal again."""
        await self.begin()
        pms: Any = self.site.peers.pms
        pms.broadcast_platform(PLATFORM, "abnormal")
        await self.eventually(self.said, (False, "own platform abnormal", []))
        pms.broadcast_platform(PLATFORM, "normal")
        await self.eventually(self.said, (True, "serving", []))

    async def test_the_pms_is_silent(self) -> None:
        """At the start it is all that is missed: no address is known before it answers."""
        self.site.peers.pms.silent()
        service = self.stage.instance(PLATFORM, "css-1", request_timeout_seconds=0.3)
        await self.eventually(self.said, (False, "asking the PMS", ["pms", "redis", "sql"]))
        self.site.peers.pms.resume()
        await until(lambda: service.phase()[1], what="it serves")
        await self.eventually(self.said, (True, "serving", []))


class MemoryHealth(HealthCase, OnMemory):
    """On memory adapters."""

    async def test_redis_away(self) -> None:
        """It is named; ready again when it is back."""
        await self.begin()
        store = self.ground.stores[PLATFORM]
        store.fail()
        self.assertEqual((await self.said())[::2], (False, ["redis"]))
        store.recover()
        await self.eventually(self.said, (True, "serving", []))


class ServerHealth(HealthCase, OnServers):
    """On real servers."""
