"""Three platforms, each backed up by both others: several backups at once, and a backup that is lost as well."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from tests.scenarios.case import OnMemory, pause
from tests.scenarios.pair import OnTwoNodes
from tests.scenarios.takeovercase import TakeoverCase


class ThreePlatformCases(TakeoverCase):
    """A is lost, then one of its backups."""

    pair_hosts: ClassVar[dict[str, list[str]]] = {"A": ["10.1.0.1"], "B": ["10.2.0.1"], "C": ["10.3.0.1"]}
    users: ClassVar[dict[str, str]] = {"A": "u-a", "B": "u-b", "C": "u-c"}

    def places(self) -> dict[str, list[str]]:
        """The platforms that run each number."""
        found: dict[str, list[str]] = {}
        for moid in self.pair_hosts:
            for e164, hosts in self.running_on(moid).items():
                found.setdefault(e164, []).extend([moid] * len(hosts))
        return found

    async def each_runs_once(self, numbers: list[str], within: tuple[str, ...]) -> None:
        """On one of these platforms, and the records say so."""

        async def agree() -> bool:
            places = self.places()
            if any(len(places.get(each, [])) != 1 or places[each][0] not in within for each in numbers):
                return False
            records = [await self.record(each) for each in numbers]
            return all(
                (record.get("state"), record.get("platformmoid")) == ("ongoing", places[each][0])
                for each, record in zip(numbers, records, strict=True)
            )

        await self.eventually(agree, True)

    async def test_2_3_1_two_backups_and_one_of_them_is_lost(self) -> None:
        """The record decides each placement; then the last one has all, its own and the others'."""
        numbers = await self.start_with(8)
        own = [f"0770{n}" for n in range(2)]
        for e164 in own:
            self.assertEqual((await self.create_at("B", e164, "u-b"))["platformmoid"], "B")
        await self.lost("A")
        await self.each_runs_once(numbers, ("B", "C"))
        asked = Counter({moid: self.asked_to_restore(moid) for moid in "BC"})
        self.assertEqual(asked.total(), len(numbers))
        await self.lost("B")
        await self.each_runs_once(numbers, ("C",))
        await self.eventually(self.places, {each: ["C"] for each in [*numbers, *own]})
        self.assertEqual(self.cm_of("C").notices("MAU_CM_RELEASECONF_NTF"), [])
        await self.back("B")
        await self.back("A")
        await pause(1.5)
        self.assertEqual(self.places(), {each: ["C"] for each in [*numbers, *own]})
        for e164 in [*numbers, *own]:
            process = self.hosts_of("C")["10.3.0.1"].process_of(e164)
            assert process is not None
            process.end(e164)
        await self.nothing_left_anywhere()
        self.assertEqual(len(self.peers("C").bmc.bills()), len(numbers) + len(own))


class MemoryThree(ThreePlatformCases, OnMemory):
    """In this process."""


class ServerThree(ThreePlatformCases, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""
