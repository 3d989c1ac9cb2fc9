"""Stores on real servers: connecting, and reading back everything that they left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from css.adapters.redis.ledger import RedisLedger
from css.adapters.redis.link import Link
from css.adapters.redis.planned import RedisLocatorBook, RedisPlanned, RedisPlanner
from css.adapters.redis.platform_state import RedisPlatformState
from css.adapters.redis.running import RedisRunning
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore, connect

REACTOR: Any = reactor
PATIENCE_SECONDS = 25.0
"""How long what must come is waited for: less than the tests' own time-out, which would not say what was missing."""


async def dump(link: Link) -> dict[str, Any]:
    """All keys of the database, in the form of `MemoryServer.dump`."""
    found = {}
    for key in sorted(await link.command("KEYS", "*")):
        name = key.decode()
        kind = (await link.command("TYPE", key)).removesuffix(b"\n").decode()
        found[name] = await _value(link, name, kind)
    return found


async def _value(link: Link, key: str, kind: str) -> Any:
    if kind == "string":
        return await link.command("GET", key)
    if kind == "set":
        return {member.decode() for member in await link.command("SMEMBERS", key)}
    if kind == "zset":
        return {member: int(score) for member, score in _pairs(await link.command("ZRANGE", key, 0, -1, "WITHSCORES"))}
    entries = _pairs(await link.command("HGETALL", key))
    return {name: value if key.startswith("css/out/") else value.decode() for name, value in entries}


def _pairs(flat: Sequence[bytes]) -> list[tuple[str, bytes]]:
    return [(name.decode(), value) for name, value in zip(flat[::2], flat[1::2], strict=True)]


def wait(seconds: float) -> Any:
    """@return: a Deferred that fires after so long."""
    return deferLater(REACTOR, seconds)


class RedisFixture(TestCase):
    """Two stores and platform states on one empty database; `settings` says where."""

    timeout = 30

    def settings(self) -> RedisSettings:
        raise NotImplementedError

    async def setUp(self) -> None:  # type: ignore[override]
        settings = self.settings()
        self.store = await self.connected(settings)
        self.other = await self.connected(settings)
        self.state = RedisPlatformState(self.store.link)
        self.other_state = RedisPlatformState(self.other.link)
        self.ledger = RedisLedger(self.store.link)
        self.other_ledger = RedisLedger(self.other.link)
        self.reader = RedisRunning(self.store.link, "A")
        self.other_reader = RedisRunning(self.other.link, "A")
        self.planned, self.other_planned = (RedisPlanned(REACTOR, each.link) for each in (self.store, self.other))
        self.addCleanup(self.planned.unlisten)
        self.addCleanup(self.other_planned.unlisten)
        self.planner = RedisPlanner(self.store.link)
        self.book, self.other_book = (RedisLocatorBook(each.link) for each in (self.store, self.other))

    async def deafen(self) -> None:
        """The links of all who listen break, and don't come back."""
        await self.store.link.command("ACL", "SETUSER", "default", "-subscribe")
        self.addCleanup(self.store.link.command, "ACL", "SETUSER", "default", "+subscribe")
        await self.store.link.command("CLIENT", "KILL", "TYPE", "pubsub")

    async def undeafen(self) -> None:
        """They may come back."""
        await self.store.link.command("ACL", "SETUSER", "default", "+subscribe")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; fail if it does not in time."""
        give_up_at = REACTOR.seconds() + PATIENCE_SECONDS
        while not condition():
            self.assertLess(REACTOR.seconds(), give_up_at, "it never came true")
            await wait(0.01)

    async def connected(self, settings: RedisSettings) -> RedisStore:
        store = connect(REACTOR, settings, "A")
        store.start()
        self.addCleanup(store.stop)
        await store.link.when_connected()
        return store

    async def dump(self) -> dict[str, Any]:
        return await dump(self.store.link)

    async def ttl_ms(self, key: str) -> int | None:
        left: int = await self.store.link.command("PTTL", key)
        return left if left >= 0 else None

    async def wait_ms(self, milliseconds: int) -> None:
        await wait(milliseconds / 1000)
