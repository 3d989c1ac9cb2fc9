"""A LoopingCall that survives its errors, never overlaps itself, and can be stopped in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from css.ports.bus import BusError
from css.ports.sql import SqlError
from css.ports.store import StoreError

EXPECTED = (StoreError, BusError, SqlError)
"""A dependency is away: said once when it begins and once when it is over."""


class _Loop(LoopingCall):
    """A LoopingCall whose rounds never fail, and need no Deferred if they wait for nothing: most of them do not."""

    def __call__(self) -> None:
        self.call = None
        waits = cast("Deferred[object] | None", self.f())
        if waits is None:
            self._go_on(None)
        else:
            _ = waits.addCallback(self._go_on)

    def _go_on(self, _: object) -> None:
        if self.running:
            # As LoopingCall's own, by the round: there are many.
            now, interval = self.clock.seconds(), cast("float", self.interval)
            rest = interval - (now - cast("float", self.starttime)) % interval
            self.call = self.clock.callLater(rest if now + rest > now else interval, self)
            return
        stopped, self._deferred = self._deferred, None
        assert stopped is not None  # somebody has just stopped it
        stopped.callback(self)


class Ticker:
    """Does `work` every so often, from `start` to `stop`.

    @param seconds: between the beginnings of two rounds; a round that takes longer delays the next.
    @param idle: says, for next to nothing, that a round would find no work; None: each has to look.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        seconds: float,
        work: Callable[[], Awaitable[object]],
        idle: Callable[[], bool] | None = None,
    ) -> None:
        self.name = name
        self.work = work
        """What a round does; its failures are its caller's."""
        self._seconds = seconds
        self._idle = idle
        self._loop = _Loop(self._round)
        self._loop.clock = reactor
        self._failing = False
        self._running: Deferred[Any] | None = None

    def start(self, at_once: bool = False) -> None:
        """Begin."""
        if not self._loop.running:
            _ = self._loop.start(self._seconds, now=at_once)

    def stop(self) -> Deferred[Any]:
        """@return: fires when the round under way, if any, has ended."""
        if self._loop.running:
            self._loop.stop()
        running = self._running
        if running is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()

        def done(result: object) -> object:
            ended.callback(None)
            return result

        _ = running.addBoth(done)
        return ended

    def _round(self) -> Deferred[Any] | None:
        """One round. @return: what to wait for before the next; None: nothing."""
        if self._idle is not None and not self._failing and self._idle():
            return None
        work = self._guarded()
        try:
            awaited = work.send(None)
        except StopIteration:
            return None
        self._running = Deferred.fromCoroutine(_rest(work, awaited))
        return self._running

    async def _guarded(self) -> None:
        try:
            await self.work()
        except EXPECTED as error:
            if not self._failing:
                self.log.warn("{name} can't work: {error}", name=self.name, error=str(error))
            self._failing = True
        except Exception:
            self.log.failure("{name} failed; it is tried again in {seconds} s", name=self.name, seconds=self._seconds)
        else:
            if self._failing:
                self.log.info("{name} works again", name=self.name)
            self._failing = False
        self._running = None


async def _rest(work: Coroutine[Deferred[Any], Any, None], awaited: Deferred[Any]) -> None:
    """Run a coroutine on that has come to its first Deferred."""
    while True:
        try:
            try:
                result = await awaited
            except Exception as error:
                awaited = work.throw(error)
            else:
                awaited = work.send(result)
        except StopIteration:
            return
