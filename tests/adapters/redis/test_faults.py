"""What goes wrong between a store and a real Redis: every fault ends in a `StoreError`, and the link comes back."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from css.adapters.redis.link import Link
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore, connect
from css.ports.store import Commit, Outcome, StoreError
from tests.adapters.redis.fixture import PATIENCE_SECONDS, REACTOR, dump, wait
from tests.adapters.redis.proxy import Proxy
from tests.servers import RedisServer, servers
from tests.servers.redis import command

TIMEOUT = 0.3


def quick(server: tuple[str, int], **parts: Any) -> RedisSettings:
    """Settings with short times."""
    times = {"command_timeout_seconds": TIMEOUT, "retry_seconds": 0.02, "retry_max_seconds": 0.1}
    return RedisSettings(host=server[0], port=server[1], **{**times, **parts})


def commit(e164: str = "1", **fields: str) -> Commit:
    return Commit(e164=e164, set_fields={"first_epoch": "1", **fields})


def _ask(server: RedisServer, *words: str) -> None:
    command(server.address, *words)


async def until_available(link: Link, wanted: bool = True) -> None:
    give_up_at = REACTOR.seconds() + PATIENCE_SECONDS
    while link.available is not wanted:
        if REACTOR.seconds() > give_up_at:
            raise AssertionError(f"not {'available' if wanted else 'away'} within {PATIENCE_SECONDS} s")
        await wait(0.01)


class Faults(TestCase):
    timeout = 30

    def private(self) -> RedisServer:
        server = servers().private_redis()
        self.addCleanup(server.close)
        return server

    def started(self, settings: RedisSettings) -> RedisStore:
        store = connect(REACTOR, settings, "A")
        store.start()
        self.addCleanup(store.stop)
        return store

    async def ready(self, settings: RedisSettings) -> RedisStore:
        store = self.started(settings)
        await store.link.when_connected()
        return store

    async def refused(self, step: Awaitable[Any], *words: str) -> None:
        """Expect a `StoreError` that says all the words."""
        with self.assertRaises(StoreError) as caught:
            await step
        for word in words:
            self.assertIn(word, str(caught.exception))

    async def reason(self, store: RedisStore) -> str:
        """Why the store is away, by its own word; empty if it is not."""
        try:
            await store.now_ms()
        except StoreError as error:
            return str(error)
        return ""

    def logged(self) -> list[LogEvent]:
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return events


class ServerFaults(Faults):
    """The server dies, hangs, refuses."""

    async def test_killed_and_restarted_server_keeps_what_it_acknowledged(self) -> None:
        server = self.private()
        store = await self.ready(quick(server.address))
        changes: list[bool] = []
        store.on_state_change(changes.append)
        await store.commit(commit())
        await deferToThread(server.kill)
        await until_available(store.link, False)
        started = REACTOR.seconds()
        await self.refused(store.load("1"), "not connected")
        self.assertLess(REACTOR.seconds() - started, TIMEOUT / 2)  # at once, not after the time-out
        await deferToThread(server.start)
        await until_available(store.link)
        self.assertEqual((await store.load("1")).record["version"], "1")
        self.assertEqual((changes, store.links), ([False, True], 2))

    async def test_hanging_server_times_out_and_no_late_reply_is_mistaken(self) -> None:
        server = self.private()
        store = await self.ready(quick(server.address))
        await store.write_hashes({f"domain/{n}/info": {"n": str(n)} for n in range(9)})
        server.pause()
        self.addCleanup(server.resume)
        waiting = [Deferred.fromCoroutine(store.read_hash(f"domain/{n}/info")) for n in range(5)]
        for each in waiting:
            await self.refused(each, "no answer")
        server.resume()
        await until_available(store.link)
        self.assertEqual(
            [await store.read_hash(f"domain/{n}/info") for n in range(9)], [{"n": str(n)} for n in range(9)]
        )

    async def test_server_that_hangs_while_nobody_asks_is_noticed(self) -> None:
        server = self.private()
        store = await self.ready(quick(server.address, check_seconds=0.05))
        changes: list[bool] = []
        store.on_state_change(changes.append)
        server.pause()
        self.addCleanup(server.resume)
        await until_available(store.link, False)
        self.assertEqual(changes, [False])
        server.resume()
        await until_available(store.link)
        self.assertEqual(await self.reason(store), "")

    async def test_forgotten_scripts_are_sent_again(self) -> None:
        store = await self.ready(quick(self.private().address))
        await store.link.command("SCRIPT", "FLUSH")
        steps = [Deferred.fromCoroutine(store.commit(commit(str(n), name="周会"))) for n in range(20)]
        self.assertEqual({(await step).outcome for step in steps}, {Outcome.DONE})
        self.assertEqual((await store.commit(commit("0"))).outcome, Outcome.CONFLICT)

    async def test_full_memory_refuses_whole_steps_and_reads_go_on(self) -> None:
        store = await self.ready(quick(self.private().address))
        await store.commit(commit())
        before = await dump(store.link)
        await store.link.command("CONFIG", "SET", "maxmemory", "1")
        await self.refused(store.commit(Commit(e164="1", expected=("1", 1), set_fields={"a": "b"})), "OOM")
        self.assertEqual((await store.load("1")).record["version"], "1")
        self.assertEqual(await dump(store.link), before)
        # What begins by freeing memory is let through, and then whole.
        freeing = Commit(
            e164="1", expected=("1", 1), drop_fields=("first_epoch",), set_fields={"a": "b"}, index_add={"i": 1}
        )
        self.assertEqual((await store.commit(freeing)).outcome, Outcome.DONE)
        self.assertEqual(await dump(store.link), {"confex/1": {"version": "2", "a": "b"}, "css/index/i": {"1": 1}})

    async def test_a_master_that_became_a_replica_is_left_until_it_is_a_master_again(self) -> None:
        server = self.private()
        store = await self.ready(quick(server.address))
        await store.link.command("REPLICAOF", "127.0.0.1", "1")
        await self.refused(store.commit(commit()), "READONLY")
        await until_available(store.link, False)
        await wait(0.3)
        self.assertFalse(store.available)
        await self.refused(store.load("1"), "not a master")
        await deferToThread(_ask, server, "REPLICAOF", "NO", "ONE")
        await until_available(store.link)
        self.assertEqual((await store.commit(commit())).outcome, Outcome.DONE)

    async def test_too_few_replicas_refuse_writes(self) -> None:
        store = await self.ready(quick(self.private().address))
        await store.link.command("CONFIG", "SET", "min-replicas-to-write", "1")
        await self.refused(store.commit(commit()), "NOREPLICAS")
        self.assertTrue(store.available)

    async def test_loading_server_is_waited_for(self) -> None:
        server = self.private()
        store = await self.ready(quick(server.address, command_timeout_seconds=5.0))
        await store.link.command("DEBUG", "POPULATE", "2000")
        await store.link.command("CONFIG", "SET", "save", "3600 1")  # an RDB to be loaded slowly
        await store.link.command("CONFIG", "SET", "key-load-delay", "500")
        reloading = store.link.command("DEBUG", "RELOAD")
        second = self.started(quick(server.address))
        await wait(0.1)
        self.assertFalse(second.available)
        self.assertNoResult(reloading)
        await reloading
        await until_available(second.link)
        self.assertEqual(await self.reason(second), "")

    async def test_risky_settings_are_named_at_start_once(self) -> None:
        server = self.private()
        events = self.logged()
        await deferToThread(_ask, server, "CONFIG", "SET", "appendonly", "no")
        await deferToThread(_ask, server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        store = await self.ready(quick(server.address))
        await wait(0.05)
        await store.link.command("QUIT")
        await until_available(store.link, False)
        await until_available(store.link)
        await wait(0.05)
        warned = [event["name"] for event in events if event.get("log_namespace") == "css.adapters.redis.advice"]
        self.assertEqual(warned, ["appendonly", "maxmemory-policy"])


class LinkFaults(Faults):
    """The way to the server breaks, by a proxy."""

    def proxied(self, server: RedisServer) -> Proxy:
        proxy = Proxy(REACTOR, server.address)
        self.addCleanup(proxy.stop)
        return proxy

    async def test_link_lost_during_login_is_tried_again(self) -> None:
        server = self.private()
        await deferToThread(_ask, server, "ACL", "SETUSER", "css", "on", ">secret", "~*", "&*", "+@all")
        proxy = self.proxied(server)
        proxy.cut_at = [b"AUTH", b"SELECT", b"ROLE", b"SCRIPT"]
        store = await self.ready(quick(proxy.address, username="css", password="secret", db=5))
        self.assertEqual((proxy.cut_at, proxy.accepted), ([], 5))
        self.assertEqual((await store.commit(commit())).outcome, Outcome.DONE)
        self.assertIn(b"$4\r\nAUTH\r\n$3\r\ncss\r\n$6\r\nsecret\r\n", proxy.heard)

    async def test_reply_lost_after_execution_is_an_unknown_outcome(self) -> None:
        server = self.private()
        proxy = self.proxied(server)
        store = await self.ready(quick(proxy.address))
        proxy.mute = True
        await self.refused(store.commit(commit()), "no answer")
        proxy.mute = False
        await until_available(store.link)
        self.assertEqual((await store.load("1")).record, {"first_epoch": "1", "version": "1"})
        self.assertEqual((await store.commit(commit())).outcome, Outcome.CONFLICT)

    async def test_link_cut_in_mid_command_fails_everything_under_way(self) -> None:
        proxy = self.proxied(self.private())
        store = await self.ready(quick(proxy.address))
        proxy.cut_at = [b"domain/cut"]
        steps = [Deferred.fromCoroutine(store.read_hash(f"domain/{name}")) for name in ("a", "cut", "b")]
        for each in steps:
            await self.refused(each, "connection lost")
        await until_available(store.link)
        self.assertEqual(await store.read_hash("domain/a"), {})

    async def test_wrong_password_is_logged_without_it_and_tried_again(self) -> None:
        server = self.private()
        events = self.logged()
        await deferToThread(_ask, server, "ACL", "SETUSER", "css", "on", ">secret", "~*", "&*", "+@all")
        store = self.started(quick(server.address, username="css", password="not-it"))
        await wait(0.2)
        self.assertFalse(store.available)
        await self.refused(store.load("1"), "WRONGPASS")
        self.assertNotIn("not-it", repr(store.link.settings) + repr([event.get("error") for event in events]))
        await deferToThread(_ask, server, "ACL", "SETUSER", "css", ">not-it")
        await until_available(store.link)

    async def test_account_with_no_more_than_it_needs_is_enough(self) -> None:
        server = self.private()
        rights = ["-@all", "+@read", "+@write", "+@scripting", "+@connection", "+time"]
        await deferToThread(_ask, server, "ACL", "SETUSER", "css", "on", ">secret", "~*", "&*", *rights)
        store = await self.ready(quick(server.address, username="css", password="secret"))
        self.assertEqual((await store.commit(commit())).outcome, Outcome.DONE)

    async def test_stopped_link_fails_what_waits_and_stays_away(self) -> None:
        server = self.private()
        store = await self.ready(quick(server.address))
        server.pause()
        self.addCleanup(server.resume)
        waiting = Deferred.fromCoroutine(store.load("1"))
        await store.stop()
        await self.refused(waiting, "stopped")
        connecting = store.link.when_connected()
        await store.stop()
        await self.refused(connecting, "stopped")
        server.resume()
        await self.refused(store.load("1"), "not connected")
        store.start()
        await store.link.when_connected()
        self.assertEqual((await store.load("1")).record, {})

    async def test_listener_may_stop_the_store_and_another_may_fail(self) -> None:
        server = self.private()
        store = connect(REACTOR, quick(server.address), "A")
        changes: list[bool] = []
        store.on_state_change(lambda available: 1 / 0 if available else None)  # type: ignore[arg-type]
        store.on_state_change(changes.append)
        store.on_state_change(lambda available: store.stop() if available else None)  # type: ignore[arg-type]
        store.start()
        while changes != [True, False]:
            await wait(0.01)
        await wait(0.2)
        self.assertEqual(changes, [True, False])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
