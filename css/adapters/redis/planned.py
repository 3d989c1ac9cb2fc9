"""What the CM plans, in a source platform's Redis, and the book of what the locator was told, in the own one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from css.adapters.planned import number_of
from css.adapters.redis import scripts
from css.adapters.redis.changes import ChangesLink
from css.adapters.redis.link import Link
from css.adapters.redis.packing import fields, text
from css.ports.planned import CHANNEL, Cleared, Heard, ILocatorBook, IPlannedConferences, Planned, Report, Told
from css.ports.store import Fields, OutboxEntry

_SCAN_COUNT = 1000
_PATTERN = "[rtv][er]*/*"
"""All three families in one scan, and hardly anything else."""
_FIELDS = 4


@implementer(IPlannedConferences)
class RedisPlanned:
    """Reads on the link of a store; listens on one of its own."""

    def __init__(self, reactor: IReactorTime, link: Link) -> None:
        self._reactor = reactor
        self._link = link
        self._ended = 0
        self._changes: ChangesLink | None = None

    @property
    def listens(self) -> int:
        return self._ended + (self._changes.links if self._changes is not None else 0)

    @property
    def hears(self) -> bool:
        return self._changes is not None and self._changes.available

    def listen(self, heard: Heard) -> None:
        if self._changes is None:
            self._changes = ChangesLink(self._reactor, self._link.settings, CHANNEL, heard)
            self._changes.start()

    def unlisten(self) -> Deferred[None]:
        changes, self._changes = self._changes, None
        if changes is None:
            return succeed(None)
        self._ended += changes.links
        return changes.stop()

    async def read(self, numbers: Sequence[str]) -> list[Planned]:
        reply = await self._link.run(scripts.PLANNED_READ, list(numbers))
        rows = [reply[start : start + _FIELDS] for start in range(0, len(reply), _FIELDS)]
        return [Planned(text(e164), kind, text(name), text(moid)) for e164, kind, name, moid in rows]

    async def page(self, cursor: str) -> tuple[list[str], str]:
        words = ("MATCH", _PATTERN, "COUNT", _SCAN_COUNT, "TYPE", "hash")
        following, keys = await self._link.command("SCAN", cursor or "0", *words)
        found = dict.fromkeys(number for key in keys if (number := number_of(text(key))))
        return list(found), "" if following == b"0" else text(following)


@implementer(ILocatorBook)
class RedisLocatorBook:
    """On the link of the own store."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def told(self, source: str, numbers: Sequence[str]) -> dict[str, str]:
        if not numbers:
            return {}
        digests = await self._link.command("HMGET", f"css/upu/book/{source}", *numbers)
        pairs = zip(numbers, digests, strict=True)
        return {e164: text(digest) for e164, digest in pairs if digest is not None}

    async def page(self, source: str, cursor: str, limit: int) -> tuple[list[str], str]:
        words = ("HSCAN", f"css/upu/book/{source}", cursor or "0", "COUNT", limit)
        following, found = await self._link.command(*words)
        return list(fields(found)), "" if following == b"0" else text(following)

    async def tell(
        self, source: str, reports: Sequence[Report], entry: OutboxEntry, cleared: Cleared = ()
    ) -> Told | None:
        changes = list(chain.from_iterable((each.e164, each.before, each.after) for each in reports))
        moids = list({each.entry.moid for each in reports if each.entry is not None})
        argument = (source, changes, moids, _packed(entry), list(cleared))
        return _told(await self._link.run(scripts.BOOK_TELL, argument, entry.data))

    async def add_moids(self, source: str, moids: Sequence[str]) -> None:
        if moids:
            await self._link.command("SADD", f"css/upu/moids/{source}", *moids)

    async def moids(self, source: str) -> set[str]:
        return set(map(text, await self._link.command("SMEMBERS", f"css/upu/moids/{source}")))

    async def withdraw(
        self, source: str, moids: Sequence[str], entry: OutboxEntry, cleared: Cleared = ()
    ) -> Told | None:
        argument = (source, list(moids), _packed(entry), list(cleared))
        return _told(await self._link.run(scripts.BOOK_WITHDRAW, argument, entry.data))

    async def forget(self, source: str, cleared_ms: int) -> bool:
        return bool(await self._link.run(scripts.BOOK_FORGET, (source, str(cleared_ms))))


class RedisPlanner:
    """The CM's side, for simulated peers: writes a hash, publishes a change."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, key: str, values: Fields | None) -> None:
        """Replace a hash; None: delete it. Fails with `StoreError`."""
        await self._link.command("DEL", key)
        if values:
            await self._link.command("HSET", key, *chain.from_iterable(values.items()))

    async def publish(self, payload: bytes) -> None:
        """Tell of a change. Fails with `StoreError`."""
        await self._link.command("PUBLISH", CHANNEL, payload)


def _packed(entry: OutboxEntry) -> tuple[str, str, int]:
    return entry.platform, entry.lane, entry.due_ms


def _told(reply: Any) -> Told | None:
    return Told(text(reply[0]), reply[1] == 1) if reply else None
