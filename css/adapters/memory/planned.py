"""What the CM plans, and the book of what the locator was told, on memory servers."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from css.adapters.memory import commit as commits
from css.adapters.memory.server import MemoryServer
from css.adapters.planned import number_of
from css.ports.planned import (
    CHANNEL,
    FAMILIES,
    Cleared,
    Heard,
    ILocatorBook,
    IPlannedConferences,
    Planned,
    Report,
    Told,
)
from css.ports.store import Fields, OutboxEntry

_PAGE = 1000
_SEQUENCE = "css/upu/seq"


@implementer(IPlannedConferences)
class MemoryPlanned:
    """On the server of a store."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self._heard: Heard | None = None
        self._ended = 0
        self._since = 0

    @property
    def listens(self) -> int:
        now = self.server.channels.sessions - self._since if self._heard is not None else 0
        return self._ended + now

    @property
    def hears(self) -> bool:
        return self._heard is not None and self.server.channels.is_open

    def listen(self, heard: Heard) -> None:
        if self._heard is None:
            self._heard = heard
            channels = self.server.channels
            self._since = channels.sessions - int(channels.is_open)
            channels.subscribe(CHANNEL, heard)

    def unlisten(self) -> Deferred[None]:
        if self._heard is not None:
            self._ended = self.listens
            self.server.channels.unsubscribe(CHANNEL, self._heard)
            self._heard = None
        return succeed(None)

    async def read(self, numbers: Sequence[str]) -> list[Planned]:
        return await self.server.run(lambda: [found for e164 in numbers if (found := self._read(e164)) is not None])

    def _read(self, e164: str) -> Planned | None:
        keys = self.server.keyspace
        for family, kind in FAMILIES.items():
            key = f"{family}/{e164}"
            values = keys.hash(key) if keys.is_hash(key) else {}
            if "confname" in values and "moid" in values:
                return Planned(e164, kind, values["confname"], values["moid"])
        return None

    async def page(self, cursor: str) -> tuple[list[str], str]:
        keys = self.server.keyspace

        def read() -> tuple[list[str], str]:
            candidates = (key for family in FAMILIES for key in keys.keys_with(f"{family}/") if key > cursor)
            found = heapq.nsmallest(_PAGE, (key for key in candidates if keys.is_hash(key)))
            return list(dict.fromkeys(map(number_of, found))), found[-1] if len(found) == _PAGE else ""

        return await self.server.run(read)


@implementer(ILocatorBook)
class MemoryLocatorBook:
    """On the server of the own store."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self._keys = server.keyspace

    async def told(self, source: str, numbers: Sequence[str]) -> dict[str, str]:
        book = await self.server.run(lambda: self._keys.hash(_book(source)))
        return {e164: book[e164] for e164 in numbers if e164 in book}

    async def page(self, source: str, cursor: str, limit: int) -> tuple[list[str], str]:
        def read() -> tuple[list[str], str]:
            found = heapq.nsmallest(limit, (each for each in self._keys.hash(_book(source)) if each > cursor))
            return found, found[-1] if len(found) == limit else ""

        return await self.server.run(read)

    async def tell(
        self, source: str, reports: Sequence[Report], entry: OutboxEntry, cleared: Cleared = ()
    ) -> Told | None:
        def tell() -> Told | None:
            book = self._keys.hash(_book(source))
            if any(book.get(each.e164, "") != each.before for each in reports):
                return None
            self._keys.drop_fields(_book(source), tuple(each.e164 for each in reports if not each.after))
            self._keys.update_hash(_book(source), {each.e164: each.after for each in reports if each.after})
            for each in reports:
                if each.entry is not None:
                    self._keys.add_member(_moids(source), each.entry.moid)
            return self._append(entry, cleared)

        return await self.server.run(tell)

    async def add_moids(self, source: str, moids: Sequence[str]) -> None:
        def add() -> None:
            for moid in moids:
                self._keys.add_member(_moids(source), moid)

        await self.server.run(add)

    async def moids(self, source: str) -> set[str]:
        return await self.server.run(lambda: set(self._keys.members(_moids(source))))

    async def withdraw(
        self, source: str, moids: Sequence[str], entry: OutboxEntry, cleared: Cleared = ()
    ) -> Told | None:
        def withdraw() -> Told | None:
            if self._keys.members(_moids(source)) != set(moids):
                return None
            self._drop(source)
            return self._append(entry, cleared)

        return await self.server.run(withdraw)

    async def forget(self, source: str, cleared_ms: int) -> bool:
        def forget() -> bool:
            key = f"css/upu/cleared/{source}"
            if int(self._keys.string(key) or 0) >= cleared_ms:
                return False
            self._drop(source)
            self._keys.set_string(key, str(cleared_ms).encode())
            return True

        return await self.server.run(forget)

    def _drop(self, source: str) -> None:
        self._keys.delete(_book(source))
        self._keys.delete(_moids(source))

    def _append(self, entry: OutboxEntry, cleared: Cleared) -> Told:
        number = int(self._keys.string(_SEQUENCE) or 0) + 1
        self._keys.set_string(_SEQUENCE, str(number).encode())
        for platform, lane, mark in cleared:
            commits.clear_entry(self._keys, platform, lane, "", mark)
        made = OutboxEntry(entry.platform, entry.lane, f"{number}.0", entry.data, entry.due_ms)
        waiting = commits.append_outbox(self._keys, "", (made,))
        for platform, lane, _ in cleared:
            commits.close_lane(self._keys, platform, lane)
        return Told(made.mark, bool(waiting))


class MemoryPlanner:
    """The CM's side, for simulated peers: writes a hash, publishes a change."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def put(self, key: str, values: Fields | None) -> None:
        """Replace a hash; None: delete it. Fails with `StoreError`."""
        await self._server.run(lambda: commits.replace_hashes(self._server.keyspace, {key: values}))

    async def publish(self, payload: bytes) -> None:
        """Tell of a change. Fails with `StoreError`."""
        await self._server.run(lambda: self._server.channels.publish(CHANNEL, payload))


def _book(source: str) -> str:
    return f"css/upu/book/{source}"


def _moids(source: str) -> str:
    return f"css/upu/moids/{source}"
