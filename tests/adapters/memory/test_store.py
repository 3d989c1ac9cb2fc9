"""`MemoryStore` and `MemoryPlatformState`: the contract, and their verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from css.adapters.memory.ledger import MemoryLedger
from css.adapters.memory.planned import MemoryLocatorBook, MemoryPlanned, MemoryPlanner
from css.adapters.memory.running import MemoryRunning
from css.adapters.memory.store import MemoryPlatformState, MemoryStore
from css.ports.store import Commit, StoreError
from tests.contracts.ledger import LedgerContract
from tests.contracts.planned import LocatorBookContract, PlannedContract
from tests.contracts.platform_state import PlatformStateContract
from tests.contracts.recovery_state import RecoveryStateContract
from tests.contracts.running import RunningContract
from tests.contracts.store import StoreContract

NOW = 1_800_000_000.25


class MemoryFixture(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = MemoryStore("A", self.clock)
        self.other = MemoryStore("A", self.clock, self.store.server)
        self.state = MemoryPlatformState(self.clock, self.store.server)
        self.other_state = MemoryPlatformState(self.clock, self.store.server)
        self.ledger = MemoryLedger(self.store.server)
        self.other_ledger = MemoryLedger(self.store.server)
        self.reader = MemoryRunning(self.store.server, "A")
        self.other_reader = MemoryRunning(self.store.server, "A")
        self.planned, self.other_planned = MemoryPlanned(self.store.server), MemoryPlanned(self.store.server)
        self.planner = MemoryPlanner(self.store.server)
        self.book, self.other_book = MemoryLocatorBook(self.store.server), MemoryLocatorBook(self.store.server)

    async def deafen(self) -> None:
        self.store.server.channels.close()

    async def undeafen(self) -> None:
        self.store.server.channels.open()

    async def until(self, condition: Callable[[], bool]) -> None:
        self.assertTrue(condition())

    async def dump(self) -> dict[str, Any]:
        return self.store.dump()

    async def ttl_ms(self, key: str) -> int | None:
        return self.store.server.keyspace.ttl_ms(key)

    async def wait_ms(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds / 1000)


class MemoryStoreContract(MemoryFixture, StoreContract):
    """The store's contract."""


class MemoryRunningContract(MemoryFixture, RunningContract):
    """What NPPCLIENT reads."""


class MemoryPlannedContract(MemoryFixture, PlannedContract):
    """What the CM plans."""


class MemoryLocatorBookContract(MemoryFixture, LocatorBookContract):
    """What the locator was told."""


class MemoryRecoveryStateContract(MemoryFixture, RecoveryStateContract):
    """What recovery and sync need."""


class MemoryLedgerContract(MemoryFixture, LedgerContract):
    """The ledger's contract."""


class MemoryPlatformStateContract(MemoryFixture, PlatformStateContract):
    """The platform state's contract."""


class Verbs(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = MemoryStore("A", self.clock)
        self.changes: list[bool] = []
        self.store.on_state_change(self.changes.append)

    def begin(self, e164: str = "1") -> Deferred[Any]:
        return Deferred.fromCoroutine(self.store.commit(Commit(e164=e164)))

    def test_failing_store_raises_and_does_nothing(self) -> None:
        self.store.fail()
        self.assertFalse(self.store.available)
        self.failureResultOf(self.begin(), StoreError)
        self.store.recover()
        self.assertEqual((self.store.dump(), self.changes), ({}, [False, True]))

    def test_reply_lost_after_execution(self) -> None:
        self.store.fail(executed=True)
        self.failureResultOf(self.begin(), StoreError)
        self.assertEqual(self.store.dump(), {"confex/1": {"version": "1"}})

    def test_hanging_store_answers_when_it_recovers(self) -> None:
        self.store.hang()
        waiting = [self.begin("1"), self.begin("1")]
        self.clock.advance(1.9)
        self.assertNoResult(waiting[0])
        self.assertTrue(self.store.available)
        self.store.recover()
        self.assertEqual([self.successResultOf(each).outcome.value for each in waiting], ["done", "conflict"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hanging_store_is_given_up(self) -> None:
        for executed, left in ((False, {}), (True, {"confex/1": {"version": "1"}})):
            self.store.hang(executed)
            waiting = self.begin()
            self.clock.advance(2)
            self.failureResultOf(waiting, StoreError)
            self.store.recover()
            self.assertEqual(self.store.dump(), left)

    def test_key_of_another_type_is_a_store_error(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.store.write_hashes({}, bump="confex/1")))
        self.failureResultOf(self.begin(), StoreError)

    def test_restored(self) -> None:
        """Of every type, and when it expires; what is changed later does not change the snapshot."""
        keys = self.store.server.keyspace

        def write(more: str) -> None:
            keys.set_string("string", more.encode(), keys.now_ms() + 5_000)
            keys.update_hash("hash", {more: more})
            keys.add_member("set", more)
            keys.score("scored", more, len(more))

        write("a")
        before, snapshot = self.store.dump(), keys.snapshot()
        self.clock.advance(1)
        write("later")
        keys.delete("hash")
        self.assertEqual(keys.sorted_set("scored").claim(5, 9, 1), ["a"])
        keys.restore(snapshot)
        self.assertEqual((self.store.dump(), keys.ttl_ms("string")), (before, 4_000))
        self.assertEqual(keys.sorted_set("scored").take(5, 9), ["a"])
