"""What a peer has received: bounded, and made to be asked."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

_decoder = msgspec.json.Decoder(dict[str, Any])


class Received(msgspec.Struct, frozen=True, gc=False):
    """One message as it arrived. `at_seconds` is by the reactor's clock."""

    type: str
    e164: str
    body: bytes
    queue: str
    message_id: str
    correlation_id: str
    reply_to: str
    headers: Mapping[str, Any]
    at_seconds: float

    @property
    def fields(self) -> dict[str, Any]:
        """The body as a JSON object."""
        return _decoder.decode(self.body)


Listener = Callable[[Received], None]


class _Waiter(msgspec.Struct, eq=False):
    type: str
    e164: str
    missing: int
    fired: Deferred[Received]


class Inbox:
    """The last `limit` messages, without repeats: a repeat has a `message_id` that is among them."""

    def __init__(self, limit: int = 10_000) -> None:
        self.limit = limit
        self.repeats = 0
        """How many repeats came; they are not kept."""
        self.total = 0
        """How many messages came, repeats left out."""
        self._kept: deque[Received] = deque()
        self._ids: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._waiters: list[_Waiter] = []
        self._listeners: list[Listener] = []

    def add(self, received: Received) -> bool:
        """@return: whether it is new."""
        if received.message_id and received.message_id in self._ids:
            self.repeats += 1
            return False
        self._keep(received)
        for listener in self._listeners:
            listener(received)
        if self._waiters:
            self._tell_waiters(received)
        return True

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with each new message, for good."""
        self._listeners.append(listener)

    def all(self, type: str = "", e164: str = "") -> list[Received]:
        """Those kept, oldest first, of a type and a number if given."""
        return [got for got in self._kept if _matches(got, type, e164)]

    def last(self, type: str = "", e164: str = "") -> Received | None:
        """The newest one of a type and a number, if any is kept."""
        return next((got for got in reversed(self._kept) if _matches(got, type, e164)), None)

    def count(self, type: str = "", e164: str = "") -> int:
        """How many are kept."""
        if type and e164:
            return self._counts[type, e164]
        return sum(
            count for (kind, number), count in self._counts.items() if type in ("", kind) and e164 in ("", number)
        )

    def wait_for(self, type: str = "", e164: str = "", count: int = 1) -> Deferred[Received]:
        """@return: fires with the `count`th message of that type and number, at once if it is there already. For a
        time-out add one to the Deferred.
        """
        there = self.all(type, e164)
        fired: Deferred[Received] = Deferred(self._forget)
        if len(there) >= count:
            fired.callback(there[count - 1])
        else:
            self._waiters.append(_Waiter(type, e164, count - len(there), fired))
        return fired

    def clear(self) -> None:
        """Forget what is kept; repeats of it count as new again."""
        self._kept.clear()
        self._ids.clear()
        self._counts.clear()

    def _keep(self, received: Received) -> None:
        self.total += 1
        self._kept.append(received)
        self._counts[received.type, received.e164] += 1
        if received.message_id:
            self._ids.add(received.message_id)
        if len(self._kept) > self.limit:
            oldest = self._kept.popleft()
            self._ids.discard(oldest.message_id)
            self._counts[oldest.type, oldest.e164] -= 1
            if not self._counts[oldest.type, oldest.e164]:
                del self._counts[oldest.type, oldest.e164]

    def _tell_waiters(self, received: Received) -> None:
        for waiter in [waiter for waiter in self._waiters if _matches(received, waiter.type, waiter.e164)]:
            waiter.missing -= 1
            if not waiter.missing:
                self._waiters.remove(waiter)
                waiter.fired.callback(received)

    def _forget(self, cancelled: Deferred[Received]) -> None:
        self._waiters = [waiter for waiter in self._waiters if waiter.fired is not cancelled]


def _matches(received: Received, type: str, e164: str) -> bool:
    return type in ("", received.type) and e164 in ("", received.e164)
