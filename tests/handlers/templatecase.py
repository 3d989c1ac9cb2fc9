"""SQL and Redis of public templates, and CMs that want something of them."""

from __future__ import annotations

from typing import Any

from css.adapters.memory.sql import MemoryDatabase
from css.ports.sql import SqlError, SqlRefused, TemplateRow, TemplateWrite
from tests.handlers.site import CM_REPLIES, LEASE_MS, Instance, SiteCase

KEY = "pubtemplate/0100"


def request(verb: str = "ADD", e164: str = "0100", **more: Any) -> dict[str, Any]:
    """A CM's request."""
    fields: dict[str, Any] = {"e164": e164, "moid": "uA", "mtreqid": "m-5"}
    if verb != "DEL":
        fields |= {"name": "周会模板", "content": {"confname": "周会", "duration": 60}}
    return {"type": f"{verb}_TEMPLATE_REQ"} | fields | more


class SlowDatabase(MemoryDatabase):
    """SQL that can lose an answer, refuse, or be overtaken."""

    lose_answers = False
    refuses = False

    async def apply_template(self, write: TemplateWrite) -> str:
        if self.refuses:
            raise SqlRefused("no")
        other = await super().apply_template(write)
        if self.lose_answers:
            raise SqlError("the answer is lost")
        return other


class Case(SiteCase):
    """SQL and Redis of platform pA, of which user domain uA is; uB belongs to pB."""

    def setUp(self) -> None:
        super().setUp()
        self.sql = self.site.database = SlowDatabase(self.site.clock.seconds)
        self.instances = [self.css]

    def another(self) -> Instance:
        """One more instance."""
        self.instances.append(Instance(self.site, slot=len(self.instances) + 1))
        return self.instances[-1]

    def want(self, verb: str = "ADD", message_id: str = "t", css: Instance | None = None, **more: Any) -> None:
        """A CM asks."""
        body = request(verb, **more)
        (css or self.css).take(body, message_id=message_id, reply_to=CM_REPLIES, correlation_id="c-5")

    def both(self, e164: str = "0100") -> tuple[TemplateRow | None, dict[str, str]]:
        """What SQL and Redis have."""
        fields: dict[str, str] = self.site.store.dump().get(f"pubtemplate/{e164}", {})
        return self.sql.templates.get(e164), fields

    def outcomes(self) -> list[str]:
        """What the CM was answered: ACK, or the NACK's code."""
        return [body.get("errcode", body["type"].rpartition("_")[2]) for body in self.answers()]

    def nothing_under_way(self) -> None:
        """No intent, no standing."""
        for css in self.instances:
            css.tick()
        keys = [key for key in self.site.store.dump() if "template" in key and not key.startswith("pubtemplate/")]
        self.assertEqual(keys, [])

    def sweep(self, css: Instance | None = None) -> None:
        """What is due is carried out."""
        self.site.pass_seconds(LEASE_MS / 1000 + 1, 1)
        (css or self.css).run((css or self.css).sweep.tick())
        self.site.clock.advance(0)
