"""What lies between a process and a server: one direction of one connection, in order, slow, and at times clogged."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from css.simulation.clock import Action, Timeline

SHORTEST_SECONDS = 0.0002
USUAL_SPREAD_SECONDS = 0.001
LONG_TAIL_SECONDS = 0.08
LONG_TAIL_CHANCE = 0.01


class Wire:
    """What is sent arrives in the order of the sending; while the wire is clogged it waits."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self._timeline = timeline
        self._random = random
        self._last = 0.0
        self._life = 0
        self._stuck: deque[tuple[Action, tuple[Any, ...]]] = deque()
        self.clogged = False
        self.in_flight = 0

    def send(self, action: Action, *arguments: object) -> None:
        """Have something done at the other end, when it gets there."""
        if self.clogged:
            self._stuck.append((action, arguments))
            return
        roll = self._random.random()
        seconds = SHORTEST_SECONDS + roll * USUAL_SPREAD_SECONDS
        if roll < LONG_TAIL_CHANCE:
            seconds += self._random.random() * LONG_TAIL_SECONDS
        arrives = self._timeline.now + seconds
        if arrives > self._last:
            self._last = arrives
        self.in_flight += 1
        self._timeline.at(self._last, self._arrive, self._life, action, arguments)

    def clog(self) -> None:
        """Let nothing new through."""
        self.clogged = True

    def clear(self) -> None:
        """Let everything through again, what has waited first."""
        self.clogged = False
        stuck, self._stuck = self._stuck, deque()
        for action, arguments in stuck:
            self.send(action, *arguments)

    def cut(self) -> None:
        """What is on its way is lost."""
        self._life += 1
        self._stuck.clear()
        self.in_flight = 0

    def _arrive(self, life: int, action: Action, arguments: tuple[Any, ...]) -> None:
        if life == self._life:
            self.in_flight -= 1
            action(*arguments)
