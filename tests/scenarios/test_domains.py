"""Domains on two platforms (seed 3.3): the full set to every platform that is served, each change to all of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert
from twisted.internet.threads import deferToThread

from css.adapters.sql.engine import SqlSettings, make_engine
from css.adapters.sql.tables import ap_domain
from css.ports.sql import DomainRow
from tests.scenarios.case import OnMemory, within
from tests.scenarios.pair import OnTwoNodes, PairScenario

ROWS = [
    DomainRow("S", 2, "", "服务域"),
    DomainRow("A", 1, "S", "平台甲"),
    DomainRow("B", 1, "S", "平台乙"),
    DomainRow("u-a", 0, "A", "甲用户", enableh265=1),
    DomainRow("u-b", 0, "B", "乙用户"),
]


class DomainScenario(PairScenario):
    """What the Redis of both platforms have."""

    async def domains(self, moid: str) -> dict[str, dict[str, str]]:
        """Every domain in a platform's Redis, by its moid."""
        found: dict[str, dict[str, str]] = await self.ground.stores[moid].read_hashes("domain/", "/info")
        return {fields["moid"]: fields for fields in found.values()}

    async def names(self, moid: str) -> dict[str, str]:
        """Their names."""
        return {each: fields["name"] for each, fields in (await self.domains(moid)).items()}

    async def fill_table(self) -> None:
        """What the BMC's side writes to `ap_domain`."""
        database = self.ground.database
        await database.prepare()
        if self.ground.name == "memory":
            database.domain_rows.update({row.moid: row for row in ROWS})
            return
        rows = [{name: getattr(row, name) for name in DomainRow.__struct_fields__} for row in ROWS]

        def write() -> None:
            engine = make_engine(SqlSettings(url=self.ground.sql_url))
            with engine.begin() as connection:
                connection.execute(insert(ap_domain), rows)
            engine.dispose()

        await deferToThread(write)

    def tell(self, at: str, verb: str, moid: str, **fields: Any) -> None:
        """A platform's BMC tells of a change."""
        self.peers(at).bmc.send_domain(verb, moid, **fields)

    async def test_3_3_read_at_the_start(self) -> None:
        """All of `ap_domain` into both Redis; what it lacks is deleted."""
        stray = {"moid": "gone", "level": "0", "uplevelmoid": "A", "name": "旧", "used": "1"}
        await self.ground.stores["A"].write_hashes({"domain/gone/info": stray})
        await self.fill_table()
        await self.begin()
        wanted = {row.moid: row.name for row in ROWS}
        for moid in ("A", "B"):
            # The BMC of this scenario tells of the four without names, once they serve.
            await self.eventually(lambda moid=moid: self.set_of(moid), set(wanted))
        self.assertEqual((await self.names("A"))["S"], "服务域")

    async def set_of(self, moid: str) -> set[str]:
        """Moids of the domains in a platform's Redis."""
        return set(await self.domains(moid))

    async def test_3_3_a_platform_that_is_served_gets_the_full_set(self) -> None:
        """Whatever its Redis had: afterwards both have the same."""
        await self.begin()
        old = {"moid": "u-a", "level": "0", "uplevelmoid": "A", "name": "旧", "used": "0"}
        await self.ground.stores["A"].write_hashes({"domain/u-b/info": None, "domain/u-a/info": old})
        await self.ground.stores["A"].write_hashes({"domain/gone/info": {**old, "moid": "gone"}})
        await self.lost("A")
        full = await self.domains("B")
        self.assertEqual(set(full), {"A", "B", "u-a", "u-b"})
        await self.eventually(lambda: self.domains("A"), full)

    async def test_3_3_changes_go_to_every_platform_that_is_served(self) -> None:
        """Added, changed, deleted on the backup while it serves: in both. After handback in its own only."""
        await self.begin()
        await self.lost("A")
        self.tell("B", "add", "u-new", level=0, uplevelmoid="A", name="新", used=1)
        self.tell("B", "mod", "u-a", name="改")
        self.tell("B", "del", "u-b")
        for moid in ("A", "B"):
            await self.eventually(lambda moid=moid: self.set_of(moid), {"A", "B", "u-a", "u-new"})
            await self.eventually(lambda moid=moid: self.name_of(moid, "u-a"), "改")
        self.assertEqual(await self.domains("A"), await self.domains("B"))
        await self.back("A")
        self.tell("B", "mod", "u-a", name="只在备")
        await self.eventually(lambda: self.name_of("B", "u-a"), "只在备")
        self.assertEqual(await self.name_of("A", "u-a"), "改")

    async def name_of(self, moid: str, domain: str) -> str:
        """A domain's name in a platform's Redis."""
        return (await self.names(moid)).get(domain, "")

    async def test_3_1_what_changed_meanwhile_counts_at_home(self) -> None:
        """Stopped by the backup while it served: the main refuses its creates as soon as it is back."""
        await self.begin()
        await self.lost("A")
        self.tell("B", "mod", "u-a", used=0)
        await self.eventually(lambda: self.used("A", "u-a"), "0")
        await self.back("A")
        answer = await within(self.cm_of("A").create("0333", "停用", "u-a"))
        self.assertEqual(answer.get("errcode"), "UNKNOWN_DOMAIN")
        self.tell("A", "mod", "u-a", used=1)
        await self.eventually(lambda: self.used("A", "u-a"), "1")
        answer = await within(self.cm_of("A").create("0334", "启用", "u-a"))
        self.assertEqual(answer["type"], "MAU_CM_CREATECONF_ACK")

    async def used(self, moid: str, domain: str) -> str:
        """`used` of a domain in a platform's Redis."""
        return (await self.domains(moid))[domain]["used"]


class MemoryTests(DomainScenario, OnMemory):
    pass


class ServerTests(DomainScenario, OnTwoNodes):
    pass
