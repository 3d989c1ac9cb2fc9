"""The CM as it plans: reserved conferences, personal templates and virtual rooms in a platform's Redis (seed 7.4)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from css.ports.planned import FAMILIES, Planned
from css.ports.store import Fields


class Writer(Protocol):
    """Writes to a Redis, see `RedisPlanner` and `MemoryPlanner`. Methods fail with `StoreError`."""

    async def put(self, key: str, values: Fields | None) -> None:
        """Replace a hash; None: delete it."""

    async def publish(self, payload: bytes) -> None:
        """Tell of a change."""


class Planner:
    """Keeps the hashes of one source platform, and tells of each change once it is written."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._planned: dict[str, dict[str, Fields]] = {family: {} for family in FAMILIES}

    async def add(self, kind: str, e164: str, confname: str, moid: str) -> None:
        """Plan something. @param kind: `reserve`, `template` or `vroom`."""
        await self._put("add", kind, e164, {"confname": confname, "moid": moid})

    async def modify(self, kind: str, e164: str, confname: str) -> None:
        """Give it another name."""
        await self._put("mod", kind, e164, {**self._planned[kind][e164], "confname": confname})

    async def delete(self, kind: str, e164: str) -> None:
        """Plan it no more."""
        await self._put("del", kind, e164, None)

    def planned(self) -> dict[str, Planned]:
        """All that there is, by number."""
        return {
            e164: Planned(e164, FAMILIES[family], fields["confname"], fields["moid"])
            for family in reversed(FAMILIES)
            for e164, fields in self._planned[family].items()
        }

    async def _put(self, op: str, kind: str, e164: str, fields: Fields | None) -> None:
        await self._writer.put(f"{kind}/{e164}", fields)
        if fields is None:
            self._planned[kind].pop(e164, None)
        else:
            self._planned[kind][e164] = fields
        await self._writer.publish(msgspec.json.encode({"op": op, "kind": kind, "e164": e164}))
