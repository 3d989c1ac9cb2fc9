"""Redis Sentinel: the master is found, left and found again, with a real Sentinel and a real failover."""

from __future__ import annotations

import contextlib
import time

from twisted.internet.threads import deferToThread

from css.adapters.redis.settings import RedisSettings, SentinelSettings
from css.adapters.redis.store import RedisStore
from css.ports.store import StoreError
from tests.adapters.redis.fixture import REACTOR, wait
from tests.adapters.redis.proxy import Proxy
from tests.adapters.redis.sentinel import MASTER, SentinelServer, is_replica
from tests.adapters.redis.test_faults import Faults, commit, quick, until_available
from tests.servers import RedisServer
from tests.servers.process import free_port
from tests.servers.redis import command

NOBODY = ("127.0.0.1", free_port())


class SentinelTests(Faults):
    timeout = 60

    def addresses(self, *sentinels: tuple[str, int], master: str = MASTER) -> RedisSettings:
        settings = quick(("192.0.2.1", 1), check_seconds=0.2, command_timeout_seconds=1.0)
        return RedisSettings(
            **{name: getattr(settings, name) for name in settings.__struct_fields__ if name != "sentinel"},
            sentinel=SentinelSettings(sentinels, master),
        )

    async def group(self) -> tuple[RedisServer, RedisServer, SentinelServer]:
        """A master, its replica, and a Sentinel that knows both."""
        master, replica = self.private(), self.private()
        command(master.address, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
        command(replica.address, "REPLICAOF", master.host, str(master.port))
        sentinel = SentinelServer(master.address)
        self.addCleanup(sentinel.close)
        await deferToThread(sentinel.start)
        while str(replica.port).encode() not in await deferToThread(sentinel.ask, "SENTINEL", "REPLICAS", MASTER):
            await wait(0.1)
        return master, replica, sentinel

    async def test_store_follows_a_failover(self) -> None:
        master, replica, sentinel = await self.group()
        # The first Sentinel is away: the next one is asked.
        store = await self.ready(self.addresses(NOBODY, sentinel.address))
        await store.commit(commit())
        while not await store.link.command("WAIT", 1, 200):
            await wait(0.05)
        changes: list[bool] = []
        store.on_state_change(changes.append)
        while (await deferToThread(sentinel.ask, "SENTINEL", "FAILOVER", MASTER)) != b"+OK\r\n":
            await wait(0.1)  # it has not yet judged the replica good
        while not await deferToThread(is_replica, master):
            await wait(0.05)
        await self.until_written(store, replica)
        self.assertEqual((await store.load("1")).record["version"], "1")
        self.assertEqual(changes[:1] + changes[-1:], [False, True])

    async def test_old_master_is_left_though_it_still_answers_as_one(self) -> None:
        first, second = self.private(), self.private()
        old, new = SentinelServer(first.address), SentinelServer(second.address)
        for each in (old, new):
            self.addCleanup(each.close)
            await deferToThread(each.start)
        store = await self.ready(self.addresses(old.address, new.address))
        await store.commit(commit("first"))
        await deferToThread(old.kill)  # what the Sentinels say now is another master
        await self.until_written(store, second)
        # Only what came after it is there: the first one still is a master, and the second never was its replica.
        self.assertEqual(await deferToThread(command, first.address, "EXISTS", "confex/first"), "1")
        self.assertEqual(await deferToThread(command, second.address, "EXISTS", "confex/first"), "0")
        self.assertFalse(await deferToThread(is_replica, first))

    async def until_written(self, store: RedisStore, server: RedisServer) -> None:
        """Commit until a server is the one that has it."""
        deadline = time.monotonic() + 20
        while await deferToThread(command, server.address, "EXISTS", "confex/new") != "1":
            self.assertLess(time.monotonic(), deadline)
            with contextlib.suppress(StoreError):  # on its way from the one to the other
                await store.commit(commit("new"))
            await wait(0.05)

    async def test_unknown_master_and_absent_sentinels_are_waited_for(self) -> None:
        master, _, sentinel = await self.group()
        unknown = self.started(self.addresses(sentinel.address, master="other"))
        absent = self.started(self.addresses(NOBODY))
        for store in (unknown, absent):
            while "no Sentinel knows the master" not in await self.reason(store):
                await wait(0.05)
            self.assertFalse(store.available)
        await deferToThread(sentinel.ask, "SENTINEL", "MONITOR", "other", master.host, str(master.port), "1")
        await until_available(unknown.link)

    async def test_stop_while_sentinels_are_asked_asks_no_more(self) -> None:
        listening = Proxy(REACTOR, NOBODY)
        self.addCleanup(listening.stop)
        store = self.started(self.addresses(("192.0.2.1", 26379), listening.address))
        await wait(0.05)  # the first one does not answer at all
        await store.stop()
        await wait(0.1)
        self.assertEqual(listening.accepted, 0)

    async def test_replica_named_by_a_sentinel_is_refused(self) -> None:
        _, replica, _ = await self.group()
        liar = SentinelServer(replica.address)
        self.addCleanup(liar.close)
        await deferToThread(liar.start)
        store = self.started(self.addresses(liar.address))
        started = REACTOR.seconds()
        while "not a master but a slave" not in await self.reason(store):
            self.assertLess(REACTOR.seconds() - started, 5)
            await wait(0.05)
        self.assertFalse(store.available)
