"""What UPU, the locator, knows (seed 7): its table is the truth at the start, after changes, and after trouble.

The truth: what the CM plans for the platforms that are served, and what runs on this platform.
"""

from __future__ import annotations

from typing import Any, ClassVar

from css.peers.planner import Planner
from css.peers.upu import UpuEntry
from tests.scale import scaled
from tests.scenarios.case import NAME, OnMemory, pause, within
from tests.scenarios.pair import PAIR_HOSTS, USERS, OnTwoNodes, PairScenario

SETTLED_SECONDS = 2.5
"""So much later the table must still be true."""

Table = dict[tuple[str, int], UpuEntry]


class UpuCases(PairScenario):
    """A and B back each other up; two instances of each."""

    instances: ClassVar[int] = 2

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.planners: dict[str, Planner] = {moid: self.ground.planner(moid) for moid in PAIR_HOSTS}
        self.running: dict[str, tuple[str, str]] = {}
        """Number -> source and actual platform of what runs."""
        self.served: dict[str, tuple[str, ...]] = {moid: (moid,) for moid in PAIR_HOSTS}

    async def plan_all(self) -> None:
        """One of each kind for each platform."""
        for n, (moid, user) in enumerate(USERS.items()):
            for m, kind in enumerate(("reserve", "template", "vroom")):
                await self.planners[moid].add(kind, f"{n}{m}", f"{kind} 会议", user)

    async def run_one(self, e164: str, source: str, on: str) -> None:
        """Create a conference."""
        answer = await within(self.cm_of(on).create(e164, NAME, USERS[source]))
        self.assertEqual(answer["type"], "MAU_CM_CREATECONF_ACK", answer)
        self.running[e164] = (source, on)

    def truth(self, moid: str) -> Table:
        """What the locator of a platform should know."""
        table: Table = {}
        for source in self.served[moid]:
            for e164, each in self.planners[source].planned().items():
                table[e164, 0] = UpuEntry(each.confname, each.conftype, each.moid, moid)
        for e164, (source, on) in self.running.items():
            if on == moid:
                table[e164, 1] = UpuEntry(NAME, 1, USERS[source], moid)
        return table

    async def true(self, *moids: str) -> None:
        """The tables become true in time, and stay so."""
        for moid in moids or tuple(PAIR_HOSTS):
            await self.eventually(self.peers(moid).upu.table, self.truth(moid))
        await pause(SETTLED_SECONDS)
        for moid in moids or tuple(PAIR_HOSTS):
            self.assertEqual(self.peers(moid).upu.table(), self.truth(moid))

    async def settled(self) -> None:
        """No instance has anything left to compare."""
        services = [each for moid in PAIR_HOSTS for each in self.services_of(moid)]
        await self.eventually(lambda: all(each.work.reporting.planned.settled for each in services), True)

    def told(self, moid: str) -> list[tuple[str, Any]]:
        """Type, and number or what else it is about, of each message to a platform's locator."""
        found = [(each.type, each.fields) for each in self.peers(moid).upu.inbox.all()]
        return [(kind, f.get("confE164") or f.get("moid") or f.get("platformmoid")) for kind, f in found]

    async def test_7_1_start_and_changes(self) -> None:
        """All that is planned; what runs; changes; ends. Each message once, though there are two instances."""
        await self.plan_all()
        await self.begin()
        await self.true()
        self.assertEqual(len(self.told("A")), 3)
        await self.run_one("0660", "A", "A")
        await self.planners["A"].modify("reserve", "00", "新的名字")
        await self.planners["A"].delete("template", "01")
        await self.planners["A"].add("vroom", "09", "会议室", "u-a")
        await self.true()
        changes = [
            ("UPU_ADD_CONF_REQ", "0660"),
            ("UPU_ADD_CONF_REQ", "09"),
            ("UPU_DEL_CONF_REQ", "01"),
            ("UPU_MOD_CONF_REQ", "00"),
        ]
        self.assertEqual(sorted(self.told("A")[3:]), changes)
        self.assertEqual((await within(self.cm_of("A").release("0660")))["type"], "MAU_CM_RELEASECONF_ACK")
        del self.running["0660"]
        await self.true()

    async def test_7_1_pub_sub_is_lost(self) -> None:
        """For a while nobody hears anything; then the difference is told."""
        await self.plan_all()
        await self.begin()
        await self.true()
        await self.settled()
        await self.ground.deafen("A")
        try:
            await self.planners["A"].add("reserve", "08", "没人听见", "u-a")
            await self.planners["A"].delete("vroom", "02")
            await self.planners["A"].modify("template", "01", "没人听见")
            await pause(scaled(1.0, 30.0))
            self.assertNotIn(("08", 0), self.peers("A").upu.table())
        finally:
            await self.ground.undeafen("A")
        before = len(self.told("A"))
        await self.true()
        self.assertEqual(len(self.told("A")[before:]), 3)
        await self.planners["A"].delete("reserve", "08")
        await self.true("A")

    async def test_7_2_takeover_and_handback(self) -> None:
        """As drawn: cleared at the main, reported by the backup, withdrawn by user domain, reported by the main."""
        await self.plan_all()
        await self.begin()
        await self.run_one("0661", "A", "A")
        await self.run_one("0662", "B", "B")
        await self.true()
        await self.lost("A")
        self.served = {"A": (), "B": ("B", "A")}
        self.running["0661"] = ("A", "B")
        await self.true()
        self.assertIn(("UPU_CLEAR_REQ", "A"), self.told("A"))
        await self.planners["A"].add("reserve", "07", "备平台会管", "u-a")
        await self.run_one("0663", "A", "B")
        await self.true()
        await self.back("A")
        self.served = {"A": ("A",), "B": ("B",)}
        await self.true()
        withdrawn = [moid for kind, moid in self.told("B") if kind == "UPU_DEL_DOMAIN_REQ"]
        self.assertEqual(withdrawn, ["u-a"])
        await self.planners["A"].delete("reserve", "07")
        self.assertEqual((await within(self.cm_of("A").release("0661")))["type"], "MAU_CM_RELEASECONF_ACK")
        del self.running["0661"]
        await self.true()


class MemoryUpu(UpuCases, OnMemory):
    """In this process."""


class ServerUpu(UpuCases, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""
