"""Two platforms that back each other up: creates on the backup (seed 2.3.2), and links between them that are cut."""

from __future__ import annotations

from typing import Any

from tests.scenarios.case import OnMemory, within
from tests.scenarios.pair import OnTwoNodes, PairScenario


class CreateOnBackup(PairScenario):
    """Seed 2.3.2, arrow by arrow."""

    async def create_at(self, moid: str, e164: str, user: str) -> dict[str, Any]:
        """Have a platform's CM ask for a conference."""
        answer: dict[str, Any] = await within(self.cm_of(moid).create(e164, "跨平台", user, mtreqid="9"))
        return answer

    async def test_2_3_2_create_on_the_backup(self) -> None:
        """While A is abnormal B creates for it: data in A's Redis, on B's MCU; before and after that it does not."""
        await self.begin()
        refused = await self.create_at("B", "001", "u-a")
        self.assertEqual(refused["errcode"], "PLATFORM_NOT_SERVED")
        await self.lost("A")
        answer = await self.create_at("B", "002", "u-a")
        self.assertEqual((answer["type"], answer["platformmoid"]), ("MAU_CM_CREATECONF_ACK", "B"))
        record = await self.key("confex/002", "A")
        self.assertEqual((record["state"], record["platformmoid"], record["ip"]), ("ongoing", "B", answer["ip"]))
        self.assertIn(answer["ip"], self.peers("B").hosts)
        self.assertEqual(await self.key("confex/002", "B"), {})
        await self.back("A")
        self.assertEqual((await self.create_at("A", "003", "u-a"))["platformmoid"], "A")
        self.assertEqual((await self.create_at("B", "004", "u-a"))["errcode"], "PLATFORM_NOT_SERVED")

    async def test_links_are_cut_and_mended(self) -> None:
        """Only those of one side."""
        await self.begin()
        (one,), (other,) = self.services_of("A"), self.services_of("B")
        await self.ground.cut("A", "B")
        await self.eventually(lambda: one.work.reaches("B"), False)
        self.assertTrue(other.work.reaches("A"))
        await self.ground.mend("A", "B")
        await self.eventually(lambda: one.work.reaches("B"), True)


class MemoryTests(CreateOnBackup, OnMemory):
    pass


class ServerTests(CreateOnBackup, OnTwoNodes):
    pass
