"""The in-memory stand-in for one Redis server: a keyspace that can be made to fail or to hang."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from css.adapters.memory.keyspace import Keyspace
from css.ports.store import StoreError, WrongType

_T = TypeVar("_T")

COMMAND_TIMEOUT_SECONDS = 2.0
"""How long a command waits for a server that hangs; the same as the Redis adapter's default."""


class _State(enum.Enum):
    UP = "up"
    FAILING = "failing"
    HANGING = "hanging"


class Channels:
    """What is published, to whoever listens just now. Closed: their links are down, and what is published is lost."""

    def __init__(self) -> None:
        self.is_open = True
        self.sessions = 1
        """How often they were open."""
        self._listeners: list[tuple[str, Callable[[bytes], None]]] = []

    def subscribe(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Have `heard(payload)` called with each message."""
        self._listeners.append((channel, heard))

    def unsubscribe(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """No more."""
        self._listeners.remove((channel, heard))

    def publish(self, channel: str, payload: bytes) -> None:
        """Tell all who listen."""
        for name, heard in list(self._listeners):
            if self.is_open and name == channel:
                heard(payload)

    def close(self) -> None:
        """All links of listeners are lost."""
        self.is_open = False

    def open(self) -> None:
        """They are back."""
        self.sessions += not self.is_open
        self.is_open = True


class MemoryServer:
    """Runs one command at a time, whole, on a keyspace; several stores may share it as they would share a Redis."""

    def __init__(self, clock: IReactorTime) -> None:
        self.keyspace = Keyspace(clock)
        self.channels = Channels()
        self._clock = clock
        self._state = _State.UP
        self._executed = False
        self.links = 1
        """How often the link has come up."""
        self._waiting: list[tuple[Callable[[], Any], Deferred[None]]] = []
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def available(self) -> bool:
        return self._state is not _State.FAILING

    def on_state_change(self, listener: Callable[[bool], None]) -> None:
        """Have `listener(available)` called at each change of `available`."""
        self._listeners.append(listener)

    def fail(self, executed: bool = False) -> None:
        """Every command raises `StoreError` at once, after it has been executed (its answer is lost) if `executed`."""
        self._enter(_State.FAILING, executed)

    def hang(self, executed: bool = False) -> None:
        """Commands wait: for `recover`, which executes them, or for their time-out, a `StoreError`.

        @param executed: those that timed out are executed at `recover` all the same, as a stopped server does.
        """
        self._enter(_State.HANGING, executed)

    def recover(self) -> None:
        """Answer again; what has waited is executed in order."""
        executed_late = self._executed
        self._enter(_State.UP, False)
        waiting, self._waiting = self._waiting, []
        for action, answered in waiting:
            if not answered.called:
                answered.callback(None)
            elif executed_late:
                self._execute(action)

    def dump(self) -> dict[str, Any]:
        """@return: all keys as they would be in Redis, see `Keyspace.dump`."""
        return self.keyspace.dump()

    async def run(self, action: Callable[[], _T]) -> _T:
        """Execute one command as a server in the present state would.

        @raise StoreError: failing, or no answer in time.
        """
        if self._state is _State.FAILING:
            if self._executed:
                self._execute(action)
            raise StoreError("the store is failing")
        if self._state is _State.HANGING:
            answered: Deferred[None] = Deferred()
            self._waiting.append((action, answered))
            try:
                await answered.addTimeout(COMMAND_TIMEOUT_SECONDS, self._clock)
            except TimeoutError:
                raise StoreError("the store did not answer in time") from None
        return self._execute(action)

    def _execute(self, action: Callable[[], _T]) -> _T:
        self.keyspace.purge()
        try:
            return action()
        except TypeError as error:
            if str(error).startswith("WRONGTYPE"):
                raise WrongType(str(error)) from None
            raise

    def _enter(self, state: _State, executed: bool) -> None:
        before = self.available
        self._state, self._executed = state, executed
        if self.available != before:
            self.links += self.available
            if self.available:
                self.channels.open()
            else:
                self.channels.close()
            for listener in self._listeners:
                listener(self.available)
