"""What benchmarks fill a store with is what CSS itself would have written."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from benchmarks.filling import HOSTS, PID, conferences, fill
from css.adapters.redis.platform_state import RedisPlatformState
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import connect
from css.domain.conference import from_fields, indexes
from tests.servers import servers

PLATFORM = "platform-a"
NOW = 1_900_000_000
COUNT = 2 * len(HOSTS) + 1

reactor: Any = global_reactor


class FillingTests(TestCase):
    async def test_fill(self) -> None:
        (host, port), database = servers().redis_address(), servers().new_redis_database()
        store = connect(reactor, RedisSettings(host=host, port=port, db=database), PLATFORM)
        store.start()
        self.addCleanup(store.stop)
        await store.link.when_connected()
        await fill(store, COUNT, NOW)
        wanted = list(conferences(PLATFORM, COUNT, NOW))
        for c in (wanted[0], wanted[-1]):
            loaded = await store.load(c.e164)
            self.assertEqual(from_fields(c.e164, loaded.record, loaded.conf), c)
            for name, score in indexes(c).items():
                self.assertEqual(await store.link.command("ZSCORE", f"css/index/{name}", c.e164), str(score).encode())
        sizes = {name: await store.index_size(name) for name in indexes(wanted[0])}
        self.assertEqual(sizes.pop(f"mcu/{PLATFORM}/{HOSTS[0]}/{PID}"), 3)
        self.assertEqual(set(sizes.values()), {COUNT})
        state = RedisPlatformState(store.link)
        self.assertEqual(await state.loads(HOSTS[:2]), {HOSTS[0]: 3, HOSTS[1]: 2})
        self.assertEqual(await state.known_processes(), len(HOSTS))
