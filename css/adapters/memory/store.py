"""The conference store in memory: the same behaviour as Redis, by a given clock. Ships for simulations and tests."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from css.adapters.checks import check_commit
from css.adapters.memory import commit as commits
from css.adapters.memory.keys import index_key, outbox_due_key, outbox_key, outbox_lanes_key, record_key, set_key
from css.adapters.memory.platform_state import MemoryPlatformState
from css.adapters.memory.server import MemoryServer
from css.adapters.outbox import mark_order
from css.ports.store import Commit, CommitResult, Fields, IConferenceStore, Loaded, OutboxBatch, OutboxEntry

__all__ = ["MemoryPlatformState", "MemoryServer", "MemoryStore"]


@implementer(IConferenceStore)
class MemoryStore:
    """One platform's Redis, in memory. Give it a `server` to share one with a platform state or another store."""

    def __init__(self, platform: str, clock: IReactorTime, server: MemoryServer | None = None) -> None:
        self.platform = platform
        self.server = server or MemoryServer(clock)
        self._keys = self.server.keyspace
        # Verbs for tests and simulations, see `MemoryServer`.
        self.fail = self.server.fail
        self.hang = self.server.hang
        self.recover = self.server.recover
        self.dump: Callable[[], dict[str, Any]] = self.server.dump
        self.on_state_change = self.server.on_state_change

    @property
    def available(self) -> bool:
        return self.server.available

    @property
    def links(self) -> int:
        return self.server.links

    async def load(self, e164: str, request_key: str = "") -> Loaded:
        return await self.server.run(lambda: commits.load(self._keys, e164, request_key))

    async def commit(self, commit: Commit) -> CommitResult:
        check_commit(commit)
        return await self.server.run(lambda: commits.apply(self._keys, commit))

    async def claim_due(self, index: str, lease_ms: int, limit: int) -> list[str]:
        def claim() -> list[str]:
            now = self._keys.now_ms()
            return self._keys.sorted_set(index_key(index)).claim(now, now + lease_ms, limit)

        return await self.server.run(claim)

    async def ready_restores(self, limit: int) -> tuple[int, bool]:
        def move() -> tuple[int, bool]:
            waiting, ready = index_key(f"restore/{self.platform}"), index_key(f"ready/{self.platform}")
            urgencies = self._keys.sorted_set(index_key(f"urgency/{self.platform}")).scores
            now = self._keys.now_ms()
            for e164 in self._keys.take_scored(waiting, now, limit):
                self._keys.score(ready, e164, urgencies.get(e164, 0))
            return len(self._keys.sorted_set(ready)), self._keys.sorted_set(waiting).has_any(now)

        return await self.server.run(move)

    async def claim_restores(self, lease_ms: int, limit: int) -> list[str]:
        def claim() -> list[str]:
            claimed = self._keys.take_scored(index_key(f"ready/{self.platform}"), math.inf, limit)
            for e164 in claimed:
                self._keys.score(index_key(f"restore/{self.platform}"), e164, self._keys.now_ms() + lease_ms)
            return claimed

        return await self.server.run(claim)

    async def due_before(self, index: str, before_ms: int, limit: int) -> list[str]:
        def find() -> list[str]:
            scores = self._keys.sorted_set(index_key(index)).scores
            due = ((score, member) for member, score in scores.items() if score <= before_ms)
            return [member for _, member in heapq.nsmallest(limit, due)]

        return await self.server.run(find)

    async def differing(self, ip: str, pid: str, entries: Sequence[tuple[str, str]]) -> list[str]:
        def is_same(e164: str, epoch: str) -> bool:
            record = self._keys.hash(record_key(e164)) if self._keys.is_hash(record_key(e164)) else {}
            placed = [record.get(name) for name in ("state", "ip", "pid")]
            return placed == ["ongoing", ip, pid] and "missed" not in record and epoch in ("", record.get("epoch"))

        return await self.server.run(lambda: [e164 for e164, epoch in entries if not is_same(e164, epoch)])

    async def page_index(self, index: str, cursor: str, limit: int) -> tuple[list[str], str]:
        def page() -> tuple[list[str], str]:
            members = self._keys.sorted_set(index_key(index)).scores
            found = heapq.nsmallest(limit, (member for member in members if member > cursor))
            return found, found[-1] if len(found) == limit else ""

        return await self.server.run(page)

    async def index_size(self, index: str) -> int:
        def size() -> int:
            return len(self._keys.sorted_set(index_key(index))) + len(self._keys.members(set_key(index)))

        return await self.server.run(size)

    async def sweep_reservations(self, set_name: str, cursor: str, limit: int) -> tuple[int, str]:
        def sweep() -> tuple[int, str]:
            page = sorted(each for each in self._keys.members(set_key(set_name)) if each > cursor)[: limit + 1]
            dropped = 0
            for member in page[:limit]:
                e164, _, epoch = member.rpartition(":")
                is_ours = e164.isdecimal() and epoch.isdecimal()
                if is_ours and self._keys.hash(record_key(e164)).get("first_epoch") != epoch:
                    self._keys.drop_member(set_key(set_name), member)
                    dropped += 1
            return dropped, page[limit - 1] if len(page) > limit else ""

        return await self.server.run(sweep)

    async def take_outbox(self, platform: str, lane: str, lease_ms: int, limit: int) -> list[OutboxBatch]:
        def take() -> list[OutboxBatch]:
            now = self._keys.now_ms()
            claimed = self._keys.sorted_set(outbox_due_key(platform, lane)).claim(now, now + lease_ms, limit)
            return [OutboxBatch(e164, self._entries(platform, lane, e164)) for e164 in claimed]

        return await self.server.run(take)

    async def clear_outbox(self, platform: str, lane: str, done: Sequence[tuple[str, str]]) -> None:
        def clear() -> None:
            for e164, mark in done:
                commits.clear_entry(self._keys, platform, lane, e164, mark)
            commits.close_lane(self._keys, platform, lane)

        await self.server.run(clear)

    async def outbox_lanes(self, platform: str) -> list[str]:
        return await self.server.run(lambda: sorted(self._keys.members(outbox_lanes_key(platform))))

    async def outbox_size(self, platform: str, lane: str) -> int:
        def size() -> int:
            numbers = self._keys.sorted_set(outbox_due_key(platform, lane)).scores
            return sum(self._keys.hash_size(outbox_key(platform, lane, e164)) for e164 in numbers)

        return await self.server.run(size)

    async def read_hash(self, key: str) -> Fields:
        return await self.server.run(lambda: self._keys.hash(key))

    async def read_hashes(self, prefix: str, suffix: str) -> dict[str, Fields]:
        def read() -> dict[str, Fields]:
            self._list_hashes(prefix)
            shortest = len(prefix) + len(suffix)
            return {
                key: self._keys.hash(key)
                for key in self._keys.all_keys()
                if key.startswith(prefix) and key.endswith(suffix) and len(key) >= shortest and self._keys.is_hash(key)
            }

        return await self.server.run(read)

    def _list_hashes(self, prefix: str) -> None:
        """Make the list that Redis reads instead of scanning all keys, the first time."""
        family, slash, _ = prefix.partition("/")
        if slash and not self._keys.members(f"css/hashes/{family}"):
            for key in self._keys.all_keys():
                if key.startswith(family + slash) and self._keys.is_hash(key):
                    self._keys.add_member(f"css/hashes/{family}", key)

    async def write_hashes(
        self, hashes: dict[str, Fields | None], bump: str = "", outbox: tuple[OutboxEntry, ...] = ()
    ) -> None:
        def write() -> None:
            commits.replace_hashes(self._keys, hashes)
            if bump:
                self._keys.set_string(bump, b"%d" % (int(self._keys.string(bump) or 0) + 1))
            commits.append_outbox(self._keys, "", outbox)

        await self.server.run(write)

    async def read_string(self, key: str) -> str:
        value = await self.server.run(lambda: self._keys.string(key))
        return (value or b"").decode()

    async def now_ms(self) -> int:
        return await self.server.run(self._keys.now_ms)

    def _entries(self, platform: str, lane: str, e164: str) -> list[tuple[str, bytes]]:
        entries = self._keys.hash(outbox_key(platform, lane, e164))
        return [(mark, entries[mark]) for mark in sorted(entries, key=mark_order)]
