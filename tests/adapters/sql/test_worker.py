"""The thread pool behind the database: bounded, limited in time, drained."""

from __future__ import annotations

import threading

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from css.adapters.sql.worker import Worker
from css.ports.sql import SqlError


class WorkerTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.gate = threading.Event()
        self.done: list[str] = []
        self.worker = Worker(reactor, threads=1, timeout_seconds=0.2, max_waiting=2)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.worker.close()))
        self.addCleanup(self.gate.set)

    def start(self, name: str) -> Deferred[str]:
        def work() -> str:
            self.gate.wait(10)
            self.done.append(name)
            return name

        return Deferred.fromCoroutine(self.worker.run(work))

    async def test_answers(self) -> None:
        self.assertEqual(await self.worker.run(lambda: 1 + 1), 2)

    async def test_errors_come_through(self) -> None:
        def work() -> str:
            return dict[str, str]()["x"]

        await self.assertFailure(Deferred.fromCoroutine(self.worker.run(work)), KeyError)

    async def test_what_is_given_up_before_it_began_is_not_carried_out(self) -> None:
        first, second = self.start("first"), self.start("second")
        await self.assertFailure(first, SqlError)
        await self.assertFailure(second, SqlError)
        self.gate.set()
        await self.worker.close()
        self.assertEqual(self.done, ["first"])

    async def test_abandoned_work_counts_until_its_thread_is_free(self) -> None:
        for work in (self.start("first"), self.start("second")):
            await self.assertFailure(work, SqlError)
        error = await self.assertFailure(self.start("third"), SqlError)
        self.assertIn("2 commands are waiting", str(error))

    async def test_close_waits_and_refuses_from_then_on(self) -> None:
        first = self.start("first")
        closed = Deferred.fromCoroutine(self.worker.close())
        self.assertNoResult(closed)
        await self.assertFailure(self.start("late"), SqlError)
        self.gate.set()
        await closed
        self.assertEqual(await first, "first")
        self.assertEqual(self.done, ["first"])
