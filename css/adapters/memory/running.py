"""The running conferences of a source platform, read from a memory server."""

from __future__ import annotations

from zope.interface import implementer

from css.adapters.memory.keys import conf_key, index_key, record_key
from css.adapters.memory.server import MemoryServer
from css.adapters.running import running_from
from css.ports.running import IRunningConferences, RunningPage

_RECORDS = "confex/"


@implementer(IRunningConferences)
class MemoryRunning:
    """On the server of a store."""

    def __init__(self, server: MemoryServer, platform: str) -> None:
        self.server = server
        self.platform = platform
        self._index = index_key(f"running/{platform}")

    @property
    def available(self) -> bool:
        return self.server.available

    async def prepare(self) -> None:
        keys = self.server.keyspace

        def fill() -> None:
            for key in keys.all_keys():
                if key.startswith(_RECORDS) and keys.is_hash(key):
                    record = keys.hash(key)
                    source = record.get("srcplatformmoid", self.platform)
                    if record.get("state") == "ongoing" and source == self.platform:
                        keys.score(self._index, key[len(_RECORDS) :], 0)

        await self.server.run(fill)

    async def page(self, after: str, limit: int) -> RunningPage:
        keys = self.server.keyspace

        def read() -> RunningPage:
            numbers = sorted(e164 for e164 in keys.sorted_set(self._index).scores if e164 > after)
            rows = []
            for e164 in numbers[:limit]:
                record, conf = keys.hash(record_key(e164)), keys.hash(conf_key(e164))
                if record.get("state") == "ongoing":
                    values = [record.get(name, "") for name in ("moid", "platformmoid", "endtime")]
                    values += [conf.get(name, "") for name in ("confname", "begintime")]
                    rows.append(running_from([e164, *values]))
            last = numbers[:limit][-1] if numbers else after
            return RunningPage(rows, last, len(numbers) > limit)

        return await self.server.run(read)
