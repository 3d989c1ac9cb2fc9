"""The recovery ledger in memory, on the keyspace of the own store."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from zope.interface import implementer

from css.adapters.ledger import recovery_from, step_from
from css.adapters.memory.server import MemoryServer
from css.ports.ledger import MOST_ENTRIES, MOST_STEPS, ONE_LOSS_MS, ILedger, LedgerStep, Recovery

_KEPT_MS = 30 * 86_400_000


@implementer(ILedger)
class MemoryLedger:
    """Give it the `server` of the own `MemoryStore`."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self._keys = server.keyspace

    async def open(self, recovery: Recovery) -> str:
        def enter() -> str:
            key, loss = f"css/ledger/{recovery.name}", f"css/loss/{recovery.kind}:{recovery.subject}"
            same = (self._keys.string(loss) or b"").decode()
            if self._keys.hash(f"css/ledger/{same}").get("ended_ms") == "0":
                return same
            if self._keys.hash(key):
                return recovery.name
            if not recovery.ended_ms:
                self._keys.set_string(loss, recovery.name.encode())
                self._keys.expire_at(loss, self._keys.now_ms() + ONE_LOSS_MS)
            self._keys.update_hash(key, {name: str(value) for name, value in msgspec.structs.asdict(recovery).items()})
            self._keys.expire_at(key, self._keys.now_ms() + _KEPT_MS)
            self._keys.score("css/ledger", recovery.name, recovery.begun_ms)
            names = self._in_order()
            for old in names[: max(0, len(names) - MOST_ENTRIES)]:
                for part in ("", "/joined", "/open", "/steps"):
                    self._keys.delete(f"css/ledger/{old}{part}")
                self._keys.unscore("css/ledger", old)
            return recovery.name

        return await self.server.run(enter)

    async def note(self, steps: Sequence[LedgerStep]) -> None:
        def write() -> None:
            for step in steps:
                self._note(step)

        await self.server.run(write)

    async def recent(self, limit: int) -> list[Recovery]:
        def read() -> list[Recovery]:
            hashes = [self._keys.hash(f"css/ledger/{name}") for name in reversed(self._in_order())]
            return [recovery_from(each) for each in hashes[:limit] if each]

        return await self.server.run(read)

    async def steps(self, recovery: str, limit: int) -> list[LedgerStep]:
        def read() -> list[LedgerStep]:
            found = self._keys.hash(f"css/ledger/{recovery}/steps")
            steps = [step_from(recovery, name, value) for name, value in found.items()]
            return sorted(steps, key=lambda step: (step.time_ms, step.e164, step.mark))[:limit]

        return await self.server.run(read)

    def _in_order(self) -> list[str]:
        scores = self._keys.sorted_set("css/ledger").scores
        return sorted(scores, key=lambda name: (scores[name], name))

    def _note(self, step: LedgerStep) -> None:
        key = f"css/ledger/{step.recovery}"
        entry = self._keys.hash(key)
        if not entry:
            return
        is_new = (step.planned or step.settled) and step.e164 not in self._keys.members(f"{key}/joined")
        if is_new:
            self._keys.add_member(f"{key}/joined", step.e164)
            self._keys.update_hash(key, {"planned": str(int(entry["planned"]) + 1)})
        if is_new and not step.settled:
            self._keys.add_member(f"{key}/open", step.e164)
            self._keys.update_hash(key, {"ended_ms": "0"})
        # One that leaves before its joining was told, by another instance, has joined and left.
        if step.settled and (is_new or step.e164 in self._keys.members(f"{key}/open")):
            self._keys.drop_member(f"{key}/open", step.e164)
            self._keys.update_hash(key, {"settled": str(int(entry["settled"]) + 1)})
            if not self._keys.members(f"{key}/open"):
                self._keys.update_hash(key, {"ended_ms": str(step.time_ms)})
        name = f"{step.e164} {step.mark}"
        steps = self._keys.hash(f"{key}/steps")
        if name not in steps and len(steps) < MOST_STEPS:
            self._keys.update_hash(f"{key}/steps", {name: f"{step.time_ms} {step.text}"})
        for part in ("/joined", "/open", "/steps"):
            self._keys.expire_at(f"{key}{part}", self._keys.now_ms() + _KEPT_MS)
