"""Whether what is left behind is noticed: a check that never fails proves nothing."""

from __future__ import annotations

from css.ports.bus import Outgoing
from css.ports.sql import ConfinfoRow, RowWrite, SqlError
from tests.scenarios.case import PLATFORM, OnMemory, OnServers, Scenario
from tests.scenarios.remains import leftovers


class RemainsCases(Scenario):
    """Everything that may be left is planted once."""

    async def test_nothing_is_left_on_an_idle_platform(self) -> None:
        await self.begin()
        await self.nothing_left()
        # It has looked at what there is: what belongs to no conference is there.
        self.assertLessEqual({f"domain/{PLATFORM}/info", "css/slots"}, set(await self.ground.dump(PLATFORM)))

    async def test_a_conference_that_runs(self) -> None:
        await self.begin()
        answer = await self.created("1")
        await self.eventually(self._rows, 1)
        found = await leftovers(self.stage)
        wanted = {"confex/1", "conf/1", "row 1", f"load {answer['ip']}: 1", "css/booked", f"css/load/{answer['ip']}"}
        self.assertLessEqual(wanted, set(found), found)
        self.assertTrue([line for line in found if line.startswith("css/set/licence/")], found)
        with self.assertRaises(self.failureException):
            await self.nothing_left(0.2)

    async def _rows(self) -> int:
        try:
            return len(await self.ground.database.confinfo_page(PLATFORM, "", 10))
        except SqlError:
            return 0  # a conference may run before CSS has made the table

    async def test_a_row(self) -> None:
        await self.begin()
        row = ConfinfoRow("5", "n", "", "u", PLATFORM, PLATFORM, "10.0.0.1", 1, 0)
        await self.ground.database.prepare()
        await self.ground.database.apply([RowWrite("5", 1, 1, row)])
        self.assertIn("row 5", await leftovers(self.stage))

    async def test_a_message(self) -> None:
        await self.begin()
        bystander = await self.bystander()
        await bystander.bus.publish(Outgoing("", "MAU.PARK.Q", b"{}", "m"))
        self.assertEqual([line for line in await leftovers(self.stage) if "PARK" in line], ["queue MAU.PARK.Q: 1"])


class RemainsOnMemory(RemainsCases, OnMemory):
    """All of it in this process."""


class RemainsOnServers(RemainsCases, OnServers):
    """All of it on real servers."""
