"""Limits under a crowd: of many creates at once exactly as many succeed as there are places (seed 4.6)."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, DeferredSemaphore

from css.peers.rms import Resources
from tests.scale import scaled
from tests.scenarios.case import PATIENT, PLATFORM, USER, OnMemory, OnServers, Scenario, finished, within
from tests.scenarios.pair import USERS, OnTwoNodes
from tests.scenarios.takeovercase import TakeoverCase

CREATES = scaled(300, 10_000)
SMALL, LARGE = scaled(100, 1_000), scaled(10, 100)
SMALL_TERMINALS, LARGE_TERMINALS = 8, 9


class LimitCases(Scenario):
    """Two instances; the limits are the platform's or the user domain's."""

    instances = 2
    hosts: ClassVar[tuple[str, ...]] = tuple(f"10.0.2.{number}" for number in range(1, 5))
    timers: ClassVar[dict[str, float]] = {
        **PATIENT,
        "request_timeout_seconds": 120.0,
        "creating_timeout_seconds": 600.0,
        "outbox_lease_seconds": 120.0,
        "unroutable_seconds": 120.0,
    }
    timeout = 1200.0

    async def _limit(self, moid: str) -> None:
        numbers = {"smallconfnum": SMALL, "largeconfnum": LARGE}
        self.site.peers.bmc.update_licence(moid, numbers)
        wanted = {name: str(number) for name, number in numbers.items()}
        await self.eventually(lambda: self._stored(moid, *numbers), wanted)

    async def _stored(self, moid: str, *names: str) -> dict[str, str]:
        licence = await self.key(f"domain/{moid}/license")
        return {name: licence.get(name, "") for name in names}

    async def _create_all(self) -> dict[str, dict[str, Any]]:
        """Every second one large, all at once. @return: the answers by number."""
        self.site.peers.rms.answer("", Resources(self.site.peers.roommoid, self.hosts))
        answers: dict[str, dict[str, Any]] = {}

        def ask(number: int) -> Deferred[Any]:
            e164 = f"8{number:05}"
            terminals = LARGE_TERMINALS if number % 2 else SMALL_TERMINALS
            asked = self.cm.create(e164, "人满为患", USER, maxjoinmt=terminals)
            return asked.addCallback(lambda answer: answers.update({e164: answer}))

        await within(finished([ask(number) for number in range(CREATES)]), self.timeout / 2)
        return answers

    async def _full(self, moid: str) -> None:
        await self.begin()
        await self._limit(moid)
        answers = await self._create_all()
        outcomes = Counter(
            (int(e164) % 2, answer["type"][-4:], answer.get("errcode", "")) for e164, answer in answers.items()
        )
        self.assertEqual(
            outcomes,
            {
                (0, "_ACK", ""): SMALL,
                (1, "_ACK", ""): LARGE,
                (0, "NACK", "LICENSE_LIMIT"): CREATES // 2 - SMALL,
                (1, "NACK", "LICENSE_LIMIT"): CREATES // 2 - LARGE,
            },
        )
        running = sum(len(host.conferences) for host in self.site.peers.hosts.values())
        self.assertEqual(running, SMALL + LARGE)
        gate = DeferredSemaphore(50)
        created = [e164 for e164, answer in answers.items() if "errcode" not in answer]
        await within(finished([gate.run(self.cm.release, e164) for e164 in created]), self.timeout / 4)
        await self.nothing_left(60.0)

    async def test_4_6_of_the_platform(self) -> None:
        await self._full(PLATFORM)

    async def test_4_6_of_the_user_domain(self) -> None:
        await self._full(USER)


class TakeoverLimits(TakeoverCase):
    """B takes A over, with what A's licence has left."""

    async def test_4_6_over_a_takeover(self) -> None:
        """What is taken over counts, what is created there counts at home, an end anywhere gives back."""
        for moid in ("A", "B"):
            self.peers(moid).bmc.licences["A"] = {"smallconfnum": 6, "largeconfnum": 3}
        numbers = await self.start_with(4)
        await self.lost("A")
        await self.run_on("B", numbers)
        asked = {f"07{n:02}": (SMALL_TERMINALS, LARGE_TERMINALS)[n % 2] for n in range(24)}
        creates = [self.create_at("B", e164, maxjoinmt=terminals) for e164, terminals in asked.items()]
        answers = await within(finished([Deferred.fromCoroutine(each) for each in creates]), 60)
        outcomes = Counter(
            (terminals, answer.get("errcode", "")) for terminals, answer in zip(asked.values(), answers, strict=True)
        )
        wanted = {(SMALL_TERMINALS, ""): 2, (LARGE_TERMINALS, ""): 3}
        wanted |= {(SMALL_TERMINALS, "LICENSE_LIMIT"): 10, (LARGE_TERMINALS, "LICENSE_LIMIT"): 9}
        self.assertEqual(outcomes, wanted)
        self.assertEqual((await self.create_at("B", "0799", USERS["B"])).get("errcode"), None)
        await self.back("A")
        self.assertEqual((await self.create_at("A", "0800")).get("errcode"), "LICENSE_LIMIT")
        self.assertEqual((await within(self.cm_of("A").release(numbers[0])))["type"], "MAU_CM_RELEASECONF_ACK")
        self.assertEqual((await self.create_at("A", "0801")).get("errcode"), None)
        self.assertEqual((await self.create_at("A", "0802")).get("errcode"), "LICENSE_LIMIT")
        self.assertEqual((await within(self.cm_of("B").release("0799")))["type"], "MAU_CM_RELEASECONF_ACK")
        created = [e164 for e164, answer in zip(asked, answers, strict=True) if "errcode" not in answer]
        await self.end_all("A", [*numbers[1:], *created, "0801"])


class TakeoverLimitsOnMemory(TakeoverLimits, OnMemory):
    """All of it in this process."""


class TakeoverLimitsOnServers(TakeoverLimits, OnTwoNodes):
    """Two nodes of each server."""


class LimitsOnMemory(LimitCases, OnMemory):
    """All of it in this process."""


class LimitsOnServers(LimitCases, OnServers):
    """All of it on real servers."""
