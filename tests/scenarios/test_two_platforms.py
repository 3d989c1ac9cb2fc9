"""Two platforms that back each other up: creates on the backup (seed 2.3.2), and links between them that are cut."""

from __future__ import annotations

from typing import Any

from tests.contracts.database import open_row
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
        await self.eventually(lambda: self.row("002"), ("A", "B", answer["ip"]))
        await self.eventually(self.peers("B").upu.running_conferences, {"002": "B"})
        self.assertEqual(self.peers("B").upu.table()["002", 1].moid, "u-a")
        await self.back("A")
        await within(self.cm_of("A").release("002"))
        await self.eventually(lambda: self.bills("B"), [("002", "u-a", "A", "B")])
        self.assertEqual(self.bills("A"), [])
        self.assertEqual((await self.create_at("A", "003", "u-a"))["platformmoid"], "A")
        self.assertEqual((await self.create_at("B", "004", "u-a"))["errcode"], "PLATFORM_NOT_SERVED")

    async def row(self, e164: str) -> tuple[str, str, str] | None:
        """Source platform, actual platform and host in `confinfo`."""
        row = await open_row(self.ground.database, e164)
        return row and (row.srcplatformmoid, row.platformmoid, row.ip)

    def bills(self, moid: str) -> list[tuple[str, ...]]:
        """Number, user domain, source and actual platform of each bill that a platform has sent."""
        names = ("confE164", "moid", "srcplatformmoid", "platformmoid")
        return [tuple(got.fields[name] for name in names) for got in self.peers(moid).bmc.bills()]

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
