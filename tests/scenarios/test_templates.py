"""Public templates (seed 6) on two platforms: at home, on the backup while it serves, and after handback."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from twisted.internet.threads import deferToThread

from css.adapters.sql.engine import SqlSettings, make_engine
from tests.scenarios.case import OnMemory, within
from tests.scenarios.pair import OnTwoNodes, PairScenario

E164 = "0577"
CONTENT = {"confname": "周会", "duration": 60}


class TemplateScenario(PairScenario):
    """Each arrow of the seed's drawing: platform, SQL, Redis, ACK."""

    async def begin_with_sql(self) -> None:
        """Start; wait until SQL has been reached by both."""
        await self.begin()
        for at in ("A", "B"):
            await self.eventually(lambda at=at: self.want(at, "DEL"), "CONF_NOT_FOUND")

    async def want(self, at: str, verb: str, user: str = "u-a", **more: Any) -> str:
        """Have a platform's CM ask. @return: `ACK`, or the NACK's code."""
        if verb != "DEL":
            more = {"name": "模板", "content": CONTENT} | more
        answer = await within(self.cm_of(at).template(verb, E164, user, mtreqid="3", **more))
        self.assertEqual((answer["e164"], answer["mtreqid"]), (E164, "3"))
        self.assertTrue(answer["type"].startswith(f"{verb}_TEMPLATE_"))
        return str(answer.get("errcode", answer["type"].rpartition("_")[2]))

    async def has(self, name: str | None) -> None:
        """SQL has it under platform A, A's Redis has the same, B's nothing. Not waited for: the ACK comes after it."""
        row = await self.ground.database.template(E164)
        here = await self.key(f"pubtemplate/{E164}", "A")
        self.assertEqual(await self.key(f"pubtemplate/{E164}", "B"), {})
        if name is None:
            self.assertEqual((row, here), (None, {}))
            return
        self.assertIsNotNone(row)
        self.assertEqual((row.moid, row.platformmoid, row.name), ("u-a", "A", name))
        self.assertEqual(here, {"moid": "u-a", "name": name, "content": row.content})

    async def whole_life(self, at: str) -> None:
        """Add, replace, change, delete; what is missing can't be changed."""
        self.assertEqual(await self.want(at, "MOD"), "CONF_NOT_FOUND")
        self.assertEqual(await self.want(at, "ADD"), "ACK")
        await self.has("模板")
        self.assertEqual(await self.want(at, "ADD", name="又"), "ACK")
        await self.has("又")
        self.assertEqual(await self.want(at, "MOD", name="新"), "ACK")
        await self.has("新")
        self.assertEqual(await self.want(at, "DEL"), "ACK")
        await self.has(None)
        self.assertEqual(await self.want(at, "DEL"), "CONF_NOT_FOUND")

    async def test_6_at_home(self) -> None:
        """The main's own CSS."""
        await self.begin_with_sql()
        await self.whole_life("A")

    async def test_6_on_the_backup_while_it_serves(self) -> None:
        """Written where its platform's templates are, and there when that is back."""
        await self.begin_with_sql()
        await self.lost("A")
        await self.whole_life("B")
        self.assertEqual(await self.want("A", "ADD"), "PLATFORM_ABNORMAL")
        self.assertEqual(await self.want("B", "ADD", name="备"), "ACK")
        await self.back("A")
        await self.has("备")
        self.assertEqual(await self.want("A", "MOD", name="主"), "ACK")
        await self.has("主")

    async def test_6_on_the_backup_after_handback(self) -> None:
        """Own and possible platforms, whatever their state."""
        await self.begin_with_sql()
        await self.whole_life("B")
        self.assertEqual(await self.want("B", "ADD", "nobody"), "UNKNOWN_DOMAIN")

    async def test_6_sql_is_away(self) -> None:
        """INTERNAL, nothing written; then it works again."""
        await self.begin_with_sql()
        await self.sql("away")
        self.assertEqual(await self.want("A", "ADD"), "INTERNAL")
        self.assertEqual(await self.key(f"pubtemplate/{E164}", "A"), {})
        await self.sql("back")
        await self.has(None)
        self.assertEqual(await self.want("A", "ADD"), "ACK")
        await self.has("模板")

    async def test_6_twice(self) -> None:
        """A request that comes again gets its answer, and does nothing."""
        await self.begin_with_sql()
        fields: dict[str, Any] = {"e164": E164, "moid": "u-a", "name": "一", "content": {}}
        request = self.cm.request("ADD_TEMPLATE_REQ", **fields)
        await within(request.answer)
        self.assertEqual(await self.want("A", "MOD", name="二"), "ACK")
        await within(self.cm.repeat(request))
        await self.eventually(lambda: self.cm.inbox.repeats, 1)
        await self.has("二")

    async def sql(self, state: str) -> None:
        """Make SQL unable to work on templates, or able again; on servers by taking its table away."""
        database = self.ground.database
        if self.ground.name == "memory":
            (database.fail if state == "away" else database.recover)()
            return
        names = ("ttemplateinfo", "away") if state == "away" else ("away", "ttemplateinfo")

        def rename() -> None:
            engine = make_engine(SqlSettings(url=self.ground.sql_url))
            with engine.begin() as connection:
                connection.execute(text(f"RENAME TABLE {names[0]} TO {names[1]}"))
            engine.dispose()

        await deferToThread(rename)


class MemoryTests(TemplateScenario, OnMemory):
    pass


class ServerTests(TemplateScenario, OnTwoNodes):
    pass
