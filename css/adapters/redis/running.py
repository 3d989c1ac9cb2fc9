"""The running conferences of a source platform, read from its Redis."""

from __future__ import annotations

from zope.interface import implementer

from css.adapters.redis import scripts
from css.adapters.redis.link import Link
from css.adapters.redis.packing import text
from css.adapters.running import running_from
from css.ports.running import IRunningConferences, RunningPage

_SCAN_COUNT = 1000
_FIELDS = 6


@implementer(IRunningConferences)
class RedisRunning:
    """On a link of its own, or on that of a store."""

    def __init__(self, link: Link, platform: str) -> None:
        self.link = link
        self.platform = platform

    @property
    def available(self) -> bool:
        return self.link.available

    async def prepare(self) -> None:
        cursor = b"0"
        while True:
            words = ("MATCH", "confex/*", "COUNT", _SCAN_COUNT, "TYPE", "hash")
            cursor, keys = await self.link.command("SCAN", cursor, *words)
            if keys:
                numbers = [text(key).partition("/")[2] for key in keys]
                await self.link.run(scripts.RUNNING_FILL, (self.platform, numbers))
            if cursor == b"0":
                return

    async def page(self, after: str, limit: int) -> RunningPage:
        reply = await self.link.run(scripts.RUNNING_PAGE, (self.platform, after, limit))
        words = [str(word, "utf-8", "replace") for word in reply[2:]]
        rows = [running_from(words[start : start + _FIELDS]) for start in range(0, len(words), _FIELDS)]
        return RunningPage(rows, text(reply[0]), reply[1] == 1)
