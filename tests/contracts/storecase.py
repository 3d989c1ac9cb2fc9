"""What the contracts of stores share: the fixture that a subclass fills in, and short ways to write commits."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from css.ports.store import Commit, OutboxEntry, Reservation

E164 = "0660175"
FIRST = "1835008000126469"
"""An epoch that Lua's `tostring` would spoil."""

LATER = "1835008000126470"


class StoreFixture:
    """What a subclass gives in `setUp`: two instances of one store and one platform state, on the same keys."""

    store: Any
    other: Any
    state: Any
    other_state: Any

    async def dump(self) -> dict[str, Any]:
        """All keys: hashes and sorted sets as dict, sets as set, strings as bytes."""
        raise NotImplementedError

    async def ttl_ms(self, key: str) -> int | None:
        """What is left of a key's time to live, None if it has none."""
        raise NotImplementedError

    async def wait_ms(self, milliseconds: int) -> None:
        """Let the store's clock go on by at least so much."""
        raise NotImplementedError


async def together(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run steps at the same time."""
    return list(await gatherResults([Deferred.fromCoroutine(step) for step in steps]))


def new(e164: str = E164, **parts: Any) -> Commit:
    """A commit that creates a record."""
    fields = {"first_epoch": FIRST, "epoch": FIRST, "state": "creating", **parts.pop("fields", {})}
    return Commit(e164=e164, set_fields=fields, **parts)


def step(version: int, **parts: Any) -> Commit:
    """A commit on the record that `new` made."""
    return Commit(e164=E164, expected=(FIRST, version), **parts)


def effect(
    mark: str, lane: str = "cm", due_ms: int = 0, platform: str = "A", data: bytes = b"\xff\x00d"
) -> OutboxEntry:
    return OutboxEntry(platform, lane, mark, data, due_ms)


def seat(member: str = E164, name: str = "small/u1", required: bool = False) -> Reservation:
    return Reservation(name, member, "domain/u1/license", "smallconfnum", required)


def beside(**parts: Any) -> Commit:
    """A commit that leaves the record alone."""
    return Commit(e164=E164, touch_record=False, **parts)
