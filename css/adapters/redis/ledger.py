"""The recovery ledger in the own platform's Redis."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from zope.interface import implementer

from css.adapters.ledger import recovery_from, step_from
from css.adapters.redis import scripts
from css.adapters.redis.link import Link
from css.adapters.redis.packing import fields, flat, text
from css.ports.ledger import MOST_ENTRIES, MOST_STEPS, ONE_LOSS_MS, ILedger, LedgerStep, Recovery


@implementer(ILedger)
class RedisLedger:
    """On the link of the own store."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def open(self, recovery: Recovery) -> str:
        values = {name: str(value) for name, value in msgspec.structs.asdict(recovery).items()}
        loss = "" if recovery.ended_ms else f"{recovery.kind}:{recovery.subject}"
        argument = (recovery.name, flat(values), recovery.begun_ms, MOST_ENTRIES, loss, ONE_LOSS_MS)
        return text(await self.link.run(scripts.LEDGER_OPEN, argument))

    async def note(self, steps: Sequence[LedgerStep]) -> None:
        await self.link.run(scripts.LEDGER_NOTE, (list(steps), MOST_STEPS))

    async def recent(self, limit: int) -> list[Recovery]:
        names = await self.link.command("ZREVRANGE", "css/ledger", 0, limit - 1)
        hashes = [fields(await self.link.command("HGETALL", f"css/ledger/{text(name)}")) for name in names]
        return [recovery_from(each) for each in hashes if each]

    async def steps(self, recovery: str, limit: int) -> list[LedgerStep]:
        found = fields(await self.link.command("HGETALL", f"css/ledger/{recovery}/steps"))
        steps = [step_from(recovery, name, value) for name, value in found.items()]
        return sorted(steps, key=lambda step: (step.time_ms, step.e164, step.mark))[:limit]
