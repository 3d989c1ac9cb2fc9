"""What a planted bug is: a mutation of the real classes, for a while."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec


class Mutations:
    """What was put in the place of what."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def set(self, owner: Any, name: str, value: Any) -> Any:
        """Replace an attribute. @return: what was there; a function of a class unbound."""
        before = inspect.getattr_static(owner, name)
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, before))
        return before

    def put(self, table: Any, key: Any, value: Any) -> Any:
        """Replace an entry of a dict. @return: what was there."""
        before = table[key]
        table[key] = value
        self._undo.append(lambda: table.__setitem__(key, before))
        return before

    def alter(self, owner: Any, name: str, **fields: Any) -> None:
        """Have a function's result changed in some fields."""
        before = getattr(owner, name)
        self.set(owner, name, lambda *each: msgspec.structs.replace(before(*each), **fields))

    def undo(self) -> None:
        """Everything is as it was."""
        while self._undo:
            self._undo.pop()()


class Plant(msgspec.Struct, frozen=True):
    """A bug. `faults`: codes of the faults that bring it to light; empty: all. `platforms`: how many it needs."""

    mutate: Callable[[Mutations], None]
    faults: tuple[str, ...] = ()
    platforms: int = 1
