"""A day with deaths in it: CSS is killed at named points, started again, and the end state is compared."""

from __future__ import annotations

import signal
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore

from css.peers.inbox import Received
from tests.scenarios.case import pause
from tests.scenarios.days import HOSTS, USERS, Day, end_state, prepare
from tests.scenarios.ground import ServerGround, reactor, until
from tests.scenarios.processes import CssProcess, Scene

PARALLEL = 3
"""Scenes at a time, in each of the runner's workers."""
SETTLE_SECONDS = 120.0
DEATH_SECONDS = 240.0
"""Counted from the start of a process, of which many start at the same time."""
ARRIVAL_SECONDS = 15.0
WHEN_TOLD = "told:"
"""Begins a kill point outside the process: the moment at which a peer has received a message of that type."""


class Kills(msgspec.Struct, frozen=True):
    """How the instances of a day die.

    @ivar at: points, one after the other: each instance dies at its point, then the next is started.
    """

    at: tuple[str, ...] = ()
    pair: bool = False
    """A second instance runs from the beginning, and nothing is started again."""

    def __str__(self) -> str:
        return " then ".join(self.at) + (", one of two" if self.pair else "") or "undisturbed"


class Run:
    """One day on a scene of its own."""

    def __init__(self, day: Day, kills: Kills, timers: dict[str, float]) -> None:
        self._day = day
        self._kills = kills
        self._scene = Scene(ServerGround(), **timers)
        self._armed: tuple[str, CssProcess] | None = None

    async def state(self, wanted: Deferred[dict[str, Any]] | None) -> dict[str, Any]:
        """Live through the day.

        @param wanted: gives the state to wait for; None: wait until nothing is under way any more.
        @return: the end state, after an orderly stop of the last instance and of the peers.
        """
        scene = self._scene
        try:
            await scene.open(HOSTS, USERS)
            prepare(scene)
            scene.peers.listen(self._told)
            survivor, _ = await all_of([self._instances(), self._live()])
            await self._settle(await _copy(wanted) if wanted else None)
            await self._arrived()
            await scene.stop_peers()
            status = await survivor.stop()
            assert status in (0, -signal.SIGTERM), f"{self._kills}: stopped with {status}"
            assert survivor.says("has stopped"), f"{self._kills}: no orderly stop:\n{survivor.log()[-2000:]}"
            return {**await end_state(scene), "queues": await scene.queue_lengths()}
        except Exception as error:
            logs = "\n".join(f"--- {process.name}\n{process.log()[-8000:]}" for process in scene.processes)
            raise AssertionError(f"{self._kills}: {error!r}\n{logs}") from error
        finally:
            await scene.close()

    async def _live(self) -> None:
        await until(lambda: self._scene.processes)
        await self._scene.ready(*USERS)
        if self._kills.pair:
            for process in self._scene.processes:
                await process.serves()
        await self._day(self._scene)

    async def _instances(self) -> CssProcess:
        """Run and bury instances. @return: the one that lives."""
        scene = self._scene
        second = scene.run(name="css-2") if self._kills.pair else None
        points = [*self._kills.at] if second else [*self._kills.at, ""]
        for point in points:
            process = scene.run(_inside(point))
            if not point:
                return process
            if point.startswith(WHEN_TOLD):
                self._armed = (point[len(WHEN_TOLD) :], process)
            status = await process.dies(DEATH_SECONDS)
            assert status == -signal.SIGKILL, f"{self._kills}: ended with {status} at {point}"
        assert second is not None
        return second

    def _told(self, received: Received) -> None:
        if self._armed is not None and received.type == self._armed[0]:
            self._armed[1].kill()
            self._armed = None

    async def _settle(self, wanted: dict[str, Any] | None) -> None:
        give_up_at = reactor.seconds() + SETTLE_SECONDS
        while reactor.seconds() < give_up_at:
            state = await end_state(self._scene)
            if wanted is not None and all(state[part] == wanted[part] for part in state):
                return
            if wanted is None and not state["outbox"] and not state["pending requests"]:
                return
            await pause(0.1)

    async def _arrived(self) -> None:
        """Let peers take what is under way to them: its sender has forgotten it when the broker has it."""
        give_up_at = reactor.seconds() + ARRIVAL_SECONDS
        while await self._scene.queue_lengths() and reactor.seconds() < give_up_at:
            await pause(0.1)


_undisturbed: dict[Day, Deferred[dict[str, Any]]] = {}
"""End states by day, each found out once a process."""


def _inside(point: str) -> str:
    """The kill point for the process itself, if it is one."""
    return "" if point.startswith(WHEN_TOLD) else point


async def _copy(wanted: Deferred[dict[str, Any]]) -> dict[str, Any]:
    """What a Deferred gives that others wait for, too."""
    copy: Deferred[dict[str, Any]] = Deferred()

    def told(result: Any) -> Any:
        copy.callback(result)
        return result

    _ = wanted.addBoth(told)
    return await copy


def live_through(
    day: Day, all_kills: Sequence[Kills], timers: dict[str, float]
) -> Deferred[tuple[dict[str, Any], dict[str, dict[str, Any]]]]:
    """Live through a day undisturbed, and with each of these kills, several days at a time.

    The undisturbed day is lived through once, whatever its timers: it waits for none of them.

    @return: fires with the undisturbed end state, and with the others by the kills' names.
    """
    few: DeferredSemaphore = DeferredSemaphore(PARALLEL)

    def begin(kills: Kills, wanted: Deferred[dict[str, Any]] | None) -> Deferred[dict[str, Any]]:
        return few.run(lambda: Deferred.fromCoroutine(Run(day, kills, timers).state(wanted)))

    if day not in _undisturbed:
        _undisturbed[day] = begin(Kills(), None)
    undisturbed = _undisturbed[day]
    others = [begin(kills, undisturbed) for kills in all_kills]

    async def all_of_them() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        states = await all_of(others)
        return await _copy(undisturbed), dict(zip(map(str, all_kills), states, strict=True))

    return Deferred.fromCoroutine(all_of_them())


async def all_of(works: Sequence[Deferred[Any] | Coroutine[Deferred[Any], Any, Any]]) -> list[Any]:
    """What all of these give. The first failure counts, but only when the others have ended too."""
    running = [work if isinstance(work, Deferred) else Deferred.fromCoroutine(work) for work in works]
    ended = await DeferredList(running, consumeErrors=True)
    for succeeded, result in ended:
        if not succeeded:
            result.raiseException()
    return [result for _, result in ended]
