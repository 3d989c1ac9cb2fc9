"""Simulated time: one heap of calls for the whole world, and the processes that live in it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

START_SECONDS = 1_700_000_000.0
"""When every simulated world begins, seconds since the epoch."""

Action = Callable[..., object]


@implementer(IDelayedCall)
class Call:
    """One call to come. `when` is by the clock of `owner`, whoever that is."""

    __slots__ = ("action", "arguments", "done", "keywords", "moved", "owner", "when")

    def __init__(self, owner: Timeline | Process, when: float, action: Action, arguments: Any, keywords: Any) -> None:
        self.owner = owner
        self.when = when
        self.action: Action | None = action
        self.arguments = arguments
        self.keywords = keywords
        self.done = False
        self.moved = 0
        """How often it was put elsewhere; entries of the heap that were made before count no more."""

    def getTime(self) -> float:  # noqa: N802
        return self.when

    def active(self) -> bool:
        return self.action is not None and not self.done

    def cancel(self) -> None:
        self._demand_active()
        self.action = None
        self.arguments = self.keywords = None
        self.owner.forget(self)

    def delay(self, secondsLater: float) -> None:  # noqa: N803
        self._demand_active()
        self.when += secondsLater
        self.owner.put(self)

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803
        self._demand_active()
        self.when = self.owner.seconds() + secondsFromNow
        self.owner.put(self)

    def _demand_active(self) -> None:
        if self.done:
            raise AlreadyCalled
        if self.action is None:
            raise AlreadyCancelled


@implementer(IReactorTime)
class Timeline:
    """True time. Calls that are due at the same instant are made in the order in which they were asked for."""

    def __init__(self, start_seconds: float = START_SECONDS) -> None:
        self.now = start_seconds
        self.steps = 0
        """How many calls have been made."""
        self._heap: list[tuple[float, int, Call | Action, int | tuple[Any, ...]]] = []
        """When, in which order; a call and how often it had been moved then, or what can't be cancelled."""
        self._asked = 0

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, callable: Action, *args: object, **kw: object) -> IDelayedCall:
        call = Call(self, self.now + delay, callable, args, kw)
        self.put(call)
        return call

    def at(self, when: float, action: Action, *arguments: object) -> None:
        """Have something done at a time; it can't be cancelled, and is in no list of calls."""
        self._asked += 1
        heapq.heappush(self._heap, (when, self._asked, action, arguments))

    def getDelayedCalls(self) -> list[IDelayedCall]:
        entries = [(call, moved) for _, _, call, moved in sorted(self._heap) if isinstance(call, Call)]
        return [call for call, moved in entries if call.active() and call.moved == moved]

    def put(self, call: Call) -> None:
        """Take a call to where its time now is."""
        call.moved += 1
        self.push(call.when, call)

    def push(self, when: float, call: Call) -> None:
        """Put a call into the heap, at true time."""
        self._asked += 1
        heapq.heappush(self._heap, (when, self._asked, call, call.moved))

    def forget(self, call: Call) -> None:
        """A call was cancelled: what the heap still has of it is skipped."""

    def step(self, until: float) -> bool:
        """Make the next call that is due by then.

        @return: False if there is none: it is `until` now.
        """
        heap = self._heap
        while heap and heap[0][0] <= until:
            entry: tuple[float, int, Any, Any] = heapq.heappop(heap)
            when, _, call, rest = entry
            is_timer = rest.__class__ is int
            if is_timer and (call.action is None or call.moved != rest):
                continue
            if when > self.now:
                self.now = when
            self.steps += 1
            if is_timer:
                call.owner.fire(call)
            else:
                call(*rest)
            return True
        self.now = max(self.now, until)
        return False

    def fire(self, call: Call) -> None:
        """Make a call of the timeline's own."""
        call.done = True
        assert call.action is not None
        if call.keywords:
            call.action(*call.arguments, **call.keywords)
        else:
            call.action(*call.arguments)


@implementer(IReactorTime)
class Process:
    """A program: its clock, which may be wrong, and its fate. All that happens in it goes through `run`.

    Its timers go by its own clock, as Twisted's do: `jump` makes them due early or late.
    """

    def __init__(self, timeline: Timeline, random: Random, name: str) -> None:
        self.timeline = timeline
        self.random = random
        self.name = name
        self.alive = True
        self.frozen = False
        self.offset_seconds = 0.0
        self.events = 0
        """How many things have happened in it."""
        self.on_death: Callable[[], None] = lambda: None
        self._dies_after = 0
        self._calls: dict[Call, None] = {}
        self._held: list[tuple[Action, tuple[Any, ...]]] = []
        self._late: list[Call] = []

    def seconds(self) -> float:
        return self.timeline.now + self.offset_seconds

    def callLater(self, delay: float, callable: Action, *args: object, **kw: object) -> IDelayedCall:
        call = Call(self, self.timeline.now + self.offset_seconds + delay, callable, args, kw)
        self._calls[call] = None
        self.timeline.push(call.when - self.offset_seconds, call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return list(self._calls)

    def put(self, call: Call) -> None:
        """Take a call to where its time now is."""
        call.moved += 1
        self._calls[call] = None
        self.timeline.push(call.when - self.offset_seconds, call)

    def forget(self, call: Call) -> None:
        """A call was cancelled."""
        self._calls.pop(call, None)

    def fire(self, call: Call) -> None:
        """A call is due."""
        if self.frozen:
            self._late.append(call)
            return
        self._calls.pop(call, None)
        call.done = True
        assert call.action is not None
        if self._lives_on():
            if call.keywords:
                call.action(*call.arguments, **call.keywords)
            else:
                call.action(*call.arguments)

    def run(self, action: Action, *arguments: object) -> None:
        """Something reaches the process. A dead one does not care, a frozen one finds it when it goes on."""
        if self.frozen and self.alive:
            self._held.append((action, arguments))
        elif self._lives_on():
            action(*arguments)

    def _lives_on(self) -> bool:
        """Something is about to happen in it. @return: whether it does: it may be dead, or die in its place."""
        if not self.alive:
            return False
        self.events += 1
        if self._dies_after and self.events >= self._dies_after:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """Die at once (kill -9). What is under way in it stays suspended for ever."""
        if self.alive:
            self.alive = False
            self.frozen = False
            self.on_death()

    def kill_after(self, events: int) -> None:
        """Die when that many more things would have happened in it."""
        self._dies_after = self.events + events

    def freeze(self) -> None:
        """Stop (SIGSTOP): nothing happens in it any more, what comes in waits."""
        self.frozen = True

    def resume(self) -> None:
        """Go on: what was missed happens now; timers or what came in first, as chance will have it."""
        if not self.frozen:
            return
        self.frozen = False
        late, self._late = self._late, []
        held, self._held = self._held, []
        if self.random.random() < 0.5:
            self._put_all(late)
            self._run_all(held)
        else:
            self._run_all(held)
            self._put_all(late)

    def jump(self, seconds: float) -> None:
        """Its clock is set forward, or back."""
        self.offset_seconds += seconds
        for call in sorted(self._calls, key=_time):
            self.put(call)

    def _put_all(self, calls: list[Call]) -> None:
        for call in sorted((call for call in calls if call.active()), key=_time):
            call.moved += 1
            self.timeline.push(self.timeline.now, call)

    def _run_all(self, held: list[tuple[Action, tuple[Any, ...]]]) -> None:
        for action, arguments in held:
            self.timeline.at(self.timeline.now, self.run, action, *arguments)


def _time(call: Call) -> float:
    return call.when
