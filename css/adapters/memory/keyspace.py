"""The data types of Redis that the stores use, in memory, expiring by a given clock."""

from __future__ import annotations

import heapq
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

_T = TypeVar("_T")

HashValues = dict[str, Any]
"""A hash: values are text, or bytes where the port says so (outbox data)."""


Snapshot = tuple[dict[str, Any], dict[str, int], list[tuple[int, str]]]
"""Values, when keys expire, and the same in order."""


class SortedSet:
    """Members with scores, in the order (score, member). Finding the lowest costs in proportion to what is found."""

    def __init__(self) -> None:
        self.scores: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self.scores)

    def add(self, member: str, score: int) -> None:
        if self.scores.get(member) == score:
            return
        self.scores[member] = score
        heapq.heappush(self._heap, (score, member))
        if len(self._heap) > 64 + 4 * len(self.scores):
            self._heap = [(score, member) for member, score in self.scores.items()]
            heapq.heapify(self._heap)

    def discard(self, member: str) -> None:
        self.scores.pop(member, None)

    def claim(self, up_to: int, new_score: int, limit: int) -> list[str]:
        """Give the first `limit` members scored `up_to` or less a new score.

        @return: those members, lowest first.
        """
        claimed = self.take(up_to, limit)
        for member in claimed:
            self.add(member, new_score)
        return claimed

    def take(self, up_to: float, limit: int) -> list[str]:
        """Remove the first `limit` members scored `up_to` or less. @return: those members, lowest first."""
        taken: list[str] = []
        while self._heap and len(taken) < limit and self._heap[0][0] <= up_to:
            score, member = heapq.heappop(self._heap)
            # Members that were rescored or dropped leave their old pair in the heap; a pair may be there twice.
            if self.scores.get(member) == score:
                del self.scores[member]
                taken.append(member)
        return taken

    def copy(self) -> SortedSet:
        """@return: another one with the same members."""
        other = SortedSet()
        other.scores, other._heap = dict(self.scores), list(self._heap)
        return other

    def has_any(self, up_to: int) -> bool:
        """@return: whether a member is scored `up_to` or less."""
        while self._heap and self.scores.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return bool(self._heap) and self._heap[0][0] <= up_to


class Keyspace:
    """One database: full key -> dict (hash), set, `SortedSet` or bytes (string). Empty collections do not exist."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._values: dict[str, Any] = {}
        self._expiry: dict[str, int] = {}
        self._expiring: list[tuple[int, str]] = []

    def now_ms(self) -> int:
        return round(self._clock.seconds() * 1000)

    def purge(self) -> None:
        """Forget what has expired. To be called before each step."""
        now = self.now_ms()
        while self._expiring and self._expiring[0][0] < now:
            when, key = heapq.heappop(self._expiring)
            if self._expiry.get(key) == when:
                self.delete(key)

    def all_keys(self) -> list[str]:
        return sorted(self._values)

    def keys_with(self, prefix: str) -> list[str]:
        """@return: the keys that begin so, in no order of theirs."""
        return [key for key in self._values if key.startswith(prefix)]

    def delete(self, key: str) -> None:
        self._values.pop(key, None)
        self._expiry.pop(key, None)

    def expire_at(self, key: str, when_ms: int) -> None:
        if key in self._values:
            self._expiry[key] = when_ms
            heapq.heappush(self._expiring, (when_ms, key))

    def ttl_ms(self, key: str) -> int | None:
        """@return: milliseconds until the key expires, None if it does not (or is missing)."""
        when = self._expiry.get(key)
        return None if when is None else when - self.now_ms()

    def string(self, key: str) -> bytes | None:
        return self._typed(key, bytes)

    def set_string(self, key: str, value: bytes, expire_at_ms: int = 0) -> None:
        self.delete(key)
        self._values[key] = value
        if expire_at_ms:
            self.expire_at(key, expire_at_ms)

    def hash(self, key: str) -> HashValues:
        """@return: a copy; empty if missing."""
        return dict(self._typed(key, dict) or {})

    def is_hash(self, key: str) -> bool:
        return isinstance(self._values.get(key), dict)

    def hash_size(self, key: str) -> int:
        return len(self._typed(key, dict) or ())

    def update_hash(self, key: str, fields: HashValues) -> None:
        if fields:
            self._made(key, dict).update(fields)

    def drop_fields(self, key: str, names: tuple[str, ...]) -> None:
        values: HashValues = self._typed(key, dict) or {}
        for name in names:
            values.pop(name, None)
        self._tidy(key)

    def members(self, key: str) -> set[str]:
        """@return: the live set (do not change it); empty if missing."""
        return self._typed(key, set) or set()

    def add_member(self, key: str, member: str) -> None:
        self._made(key, set).add(member)

    def take_scored(self, key: str, up_to: float, limit: int) -> list[str]:
        """See `SortedSet.take`."""
        taken = self.sorted_set(key).take(up_to, limit)
        self._tidy(key)
        return taken

    def drop_member(self, key: str, member: str) -> None:
        self.members(key).discard(member)
        self._tidy(key)

    def sorted_set(self, key: str) -> SortedSet:
        """@return: the live sorted set, for reading and claiming; an empty one if missing."""
        return self._typed(key, SortedSet) or SortedSet()

    def score(self, key: str, member: str, score: int, only_new: bool = False) -> None:
        scored = self._made(key, SortedSet)
        if not only_new or member not in scored.scores:
            scored.add(member, score)

    def unscore(self, key: str, member: str) -> None:
        self.sorted_set(key).discard(member)
        self._tidy(key)

    def dump(self) -> dict[str, Any]:
        """@return: everything: hashes as dict, sets as set, sorted sets as member -> score, strings as bytes."""
        self.purge()
        return {key: _plain(self._values[key]) for key in self.all_keys()}

    def snapshot(self) -> Snapshot:
        """@return: everything as it is now, for `restore`."""
        values = {key: value if isinstance(value, bytes) else value.copy() for key, value in self._values.items()}
        return values, dict(self._expiry), list(self._expiring)

    def restore(self, snapshot: Snapshot) -> None:
        """Everything is as it was: what was written since is lost. A snapshot can be used once."""
        self._values, self._expiry, self._expiring = snapshot

    def _typed(self, key: str, kind: type[_T]) -> _T | None:
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, kind):
            raise TypeError(f"WRONGTYPE {key}")
        return value

    def _made(self, key: str, kind: type[_T]) -> _T:
        value = self._typed(key, kind)
        if value is None:
            value = self._values[key] = kind()
        return value

    def _tidy(self, key: str) -> None:
        value = self._values.get(key)
        if value is not None and not isinstance(value, bytes) and not len(value):
            self.delete(key)


def _plain(value: Any) -> Any:
    if isinstance(value, SortedSet):
        return dict(value.scores)
    return value.copy() if isinstance(value, dict | set) else value
