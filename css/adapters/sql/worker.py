"""Runs blocking work in a small thread pool of its own: bounded, with a time limit, drained at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from css.ports.sql import SqlError

T = TypeVar("T")


class Worker:
    """A thread pool whose work cannot pile up.

    @param reactor: provides `IReactorTime` and `IReactorFromThreads`.
    """

    def __init__(self, reactor: Any, threads: int, timeout_seconds: float, max_waiting: int) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=threads, name="css-sql")
        self._timeout_seconds = timeout_seconds
        self._max_waiting = max_waiting
        self._under_way = 0
        self._idle: list[Deferred[None]] = []
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread.

        @raise SqlError: too much is waiting, the worker is closed, or there was no answer in time. In the last case
            the work may still be carried out, unless it had not begun.
        """
        if self._closed:
            raise SqlError("the database is closed")
        if self._under_way >= self._max_waiting:
            raise SqlError(f"{self._under_way} commands are waiting for the database already")
        answer: Deferred[T] = Deferred()
        self._start(work, answer)
        try:
            return await answer.addTimeout(self._timeout_seconds, self._reactor)
        except TimeoutError as error:
            raise SqlError(f"no answer in {self._timeout_seconds} seconds") from error

    def _start(self, work: Callable[[], T], answer: Deferred[T]) -> None:
        def unless_given_up() -> T:
            if answer.called:
                raise SqlError("given up before it began")
            return work()

        def done(result: T | Failure) -> None:
            self._under_way -= 1
            if not answer.called:
                answer.callback(result)
            if self._under_way == 0:
                waiting, self._idle = self._idle, []
                for idle in waiting:
                    idle.callback(None)

        if not self._pool.started:
            self._pool.start()
        self._under_way += 1
        _ = deferToThreadPool(self._reactor, self._pool, unless_given_up).addBoth(done)

    async def close(self) -> None:
        """Take no more work, and end the threads once what is under way has ended."""
        self._closed = True
        if self._under_way:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        if self._pool.started:
            self._pool.stop()
