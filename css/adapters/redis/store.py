"""The conference store on Redis or Valkey. Each method is one script or one command, see `lua/`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from css.adapters.checks import check_commit
from css.adapters.outbox import mark_order
from css.adapters.redis import scripts
from css.adapters.redis.link import Link, first_error
from css.adapters.redis.packing import (
    commit_result,
    fields,
    loaded,
    packed_commit,
    packed_hashes,
    packed_outbox,
    text,
)
from css.adapters.redis.settings import RedisSettings
from css.ports.store import Commit, CommitResult, Fields, IConferenceStore, Loaded, OutboxBatch, OutboxEntry

_SCAN_COUNT = 1000
_CLEAR_CHUNK = 1000
"""A longer list would keep the server from everybody else for too long."""


@implementer(IConferenceStore)
class RedisStore:
    """One platform's Redis. `link` may be shared with a `RedisPlatformState`."""

    def __init__(self, platform: str, link: Link) -> None:
        self.platform = platform
        self.link = link

    @property
    def available(self) -> bool:
        return self.link.available

    @property
    def links(self) -> int:
        return self.link.links

    def start(self) -> None:
        """Begin to connect, see `Link.start`."""
        self.link.start()

    def stop(self) -> Deferred[None]:
        """Close the connection, see `Link.stop`."""
        return self.link.stop()

    def on_state_change(self, listener: Callable[[bool], None]) -> None:
        """Have `listener(available)` called at each change of `available`."""
        self.link.on_state_change(listener)

    async def load(self, e164: str, request_key: str = "") -> Loaded:
        return loaded(await self.link.run(scripts.LOAD, (e164, request_key)))

    async def commit(self, commit: Commit) -> CommitResult:
        check_commit(commit)
        argument, blobs = packed_commit(commit)
        return commit_result(await self.link.run(scripts.COMMIT, argument, *blobs))

    async def claim_due(self, index: str, lease_ms: int, limit: int) -> list[str]:
        reply = await self.link.run(scripts.CLAIM_DUE, (f"css/index/{index}", lease_ms, limit))
        return [text(member) for member in reply]

    async def ready_restores(self, limit: int) -> tuple[int, bool]:
        ready, more = await self.link.run(scripts.READY_RESTORES, (self.platform, limit))
        return ready, bool(more)

    async def claim_restores(self, lease_ms: int, limit: int) -> list[str]:
        reply = await self.link.run(scripts.CLAIM_RESTORES, (self.platform, lease_ms, limit))
        return [text(member) for member in reply]

    async def due_before(self, index: str, before_ms: int, limit: int) -> list[str]:
        words = ("ZRANGE", f"css/index/{index}", "-inf", before_ms, "BYSCORE", "LIMIT", 0, limit)
        return [text(member) for member in await self.link.command(*words)]

    async def differing(self, ip: str, pid: str, entries: Sequence[tuple[str, str]]) -> list[str]:
        reply = await self.link.run(scripts.DIFFERING, (ip, pid, list(chain.from_iterable(entries))))
        return [text(number) for number in reply]

    async def page_index(self, index: str, cursor: str, limit: int) -> tuple[list[str], str]:
        following, found = await self.link.command("ZSCAN", f"css/index/{index}", cursor or "0", "COUNT", limit)
        members = dict.fromkeys(map(text, found[::2]))  # a scan may repeat itself
        return list(members), "" if following == b"0" else text(following)

    async def index_size(self, index: str) -> int:
        size: int = await self.link.run(scripts.INDEX_SIZE, (index,))
        return size

    async def sweep_reservations(self, set_name: str, cursor: str, limit: int) -> tuple[int, str]:
        following, dropped = await self.link.run(scripts.SWEEP_RESERVATIONS, (set_name, cursor or "0", limit))
        return dropped, "" if following == b"0" else text(following)

    async def take_outbox(self, platform: str, lane: str, lease_ms: int, limit: int) -> list[OutboxBatch]:
        reply = await self.link.run(scripts.TAKE_OUTBOX, (platform, lane, lease_ms, limit))
        return [_batch(e164, entries) for e164, entries in zip(reply[::2], reply[1::2], strict=True)]

    async def clear_outbox(self, platform: str, lane: str, done: Sequence[tuple[str, str]]) -> None:
        for start in range(0, len(done), _CLEAR_CHUNK):
            chunk = list(chain.from_iterable(done[start : start + _CLEAR_CHUNK]))
            await self.link.run(scripts.CLEAR_OUTBOX, (platform, lane, chunk))

    async def outbox_lanes(self, platform: str) -> list[str]:
        return sorted(map(text, await self.link.command("SMEMBERS", f"css/outlanes/{platform}")))

    async def outbox_size(self, platform: str, lane: str) -> int:
        size: int = await self.link.run(scripts.OUTBOX_SIZE, (platform, lane))
        return size

    async def read_hash(self, key: str) -> Fields:
        return fields(await self.link.command("HGETALL", key))

    async def read_hashes(self, prefix: str, suffix: str) -> dict[str, Fields]:
        keys = [key for key in await self._listed(prefix) if key.startswith(prefix) and key.endswith(suffix)]
        found: dict[str, Fields] = {}
        for start in range(0, len(keys), _SCAN_COUNT):
            part = [key for key in keys[start : start + _SCAN_COUNT] if len(key) >= len(prefix) + len(suffix)]
            reading = gatherResults([self.link.command("HGETALL", key) for key in part], consumeErrors=True)
            values = await reading.addErrback(first_error)
            # One that was deleted meanwhile is empty.
            found.update({key: fields(value) for key, value in zip(part, values, strict=True) if value})
        return found

    async def _listed(self, prefix: str) -> list[str]:
        """Keys of hashes that begin with the prefix, or with its first part: from their list, never by a scan of all
        keys but the first time, when there is no list yet."""
        family, slash, _ = prefix.partition("/")
        if not slash:
            return await self._scanned(prefix)
        name = f"css/hashes/{family}"
        listed = await self.link.command("SMEMBERS", name)
        if listed:
            return [text(key) for key in listed]
        keys = await self._scanned(family + slash)
        for start in range(0, len(keys), _SCAN_COUNT):
            await self.link.command("SADD", name, *keys[start : start + _SCAN_COUNT])
        return keys

    async def _scanned(self, prefix: str) -> list[str]:
        found: dict[str, None] = {}
        cursor = b"0"
        while True:
            words = ("MATCH", f"{_glob_escaped(prefix)}*", "COUNT", _SCAN_COUNT, "TYPE", "hash")
            cursor, keys = await self.link.command("SCAN", cursor, *words)
            found.update(dict.fromkeys(map(text, keys)))
            if cursor == b"0":
                return list(found)

    async def write_hashes(
        self, hashes: dict[str, Fields | None], bump: str = "", outbox: tuple[OutboxEntry, ...] = ()
    ) -> None:
        argument = (packed_hashes(hashes), bump, packed_outbox(outbox))
        await self.link.run(scripts.WRITE_HASHES, argument, *[entry.data for entry in outbox])

    async def read_string(self, key: str) -> str:
        return text(await self.link.command("GET", key) or b"")

    async def now_ms(self) -> int:
        seconds, microseconds = await self.link.command("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000


def connect(reactor: IReactorTime, settings: RedisSettings, platform: str) -> RedisStore:
    """@return: the store of a platform, to be started and stopped. For its own platform an instance adds
    `RedisPlatformState(store.link)`.

    @raise OSError, ValueError: the file of TLS authorities is missing or no good.
    """
    return RedisStore(platform, Link(reactor, settings))


def _batch(e164: bytes, entries: list[bytes]) -> OutboxBatch:
    pairs = zip(map(text, entries[::2]), entries[1::2], strict=True)
    return OutboxBatch(text(e164), sorted(pairs, key=lambda pair: mark_order(pair[0])))


def _glob_escaped(literal: str) -> str:
    return "".join(f"\\{sign}" if sign in "*?[]^\\" else sign for sign in literal)
