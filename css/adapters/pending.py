"""Publishes that wait for the broker's confirm."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from css.ports.bus import BusError, Outgoing, Unconfirmed

Waiting = tuple[Deferred[None], Outgoing, float]
"""Whom to tell, what was published, and when it is too late for a confirm."""


class PendingPublishes:
    """What has been published and not confirmed, by delivery tag, oldest first; bounded in number and in bytes."""

    def __init__(self, reactor: IReactorTime, max_count: int, max_bytes: int, timeout_seconds: float) -> None:
        self._reactor = reactor
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._waiting: dict[int, Waiting] = {}
        self._bytes = 0
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def is_full(self) -> bool:
        """@return: True if no further publish may be sent."""
        return len(self._waiting) >= self._max_count or self._bytes >= self._max_bytes

    def add(self, tag: int, message: Outgoing) -> Deferred[None]:
        """@return: fires with None when confirmed, or fails with a `BusError`."""
        deferred: Deferred[None] = Deferred()
        self._waiting[tag] = (deferred, message, self._reactor.seconds() + self._timeout_seconds)
        self._bytes += len(message.body)
        if self._timer is None:
            self._timer = self._reactor.callLater(self._timeout_seconds, self._expire)
        return deferred

    def take(self, tag: int) -> Deferred[None] | None:
        """Forget a publish. @return: its Deferred, not fired; None if it is unknown, because it was given up."""
        entry = self._waiting.pop(tag, None)
        if entry is None:
            return None
        self._bytes -= len(entry[1].body)
        return entry[0]

    def take_up_to(self, tag: int) -> list[Deferred[None]]:
        """Forget all publishes up to a tag. @return: their Deferreds, not fired, in order."""
        tags = []
        for known in self._waiting:
            if known > tag:
                break
            tags.append(known)
        return [cast("Deferred[None]", self.take(known)) for known in tags]

    def exchanges(self) -> set[str]:
        """@return: names of the exchanges that publishes wait for."""
        return {message.exchange for _, message, _ in self._waiting.values()}

    def take_exchange(self, exchange: str) -> list[Deferred[None]]:
        """Forget all publishes to an exchange. @return: their Deferreds, not fired, in order."""
        tags = [tag for tag, entry in self._waiting.items() if entry[1].exchange == exchange]
        return [cast("Deferred[None]", self.take(tag)) for tag in tags]

    def take_returned(self, exchange: str, routing_key: str, message_id: str) -> Deferred[None] | None:
        """Forget the oldest publish with this address and id. @return: its Deferred, not fired; None if unknown."""
        for tag, (_, message, _) in self._waiting.items():
            if message.message_id == message_id and message.routing_key == routing_key and message.exchange == exchange:
                return self.take(tag)
        return None

    def fail_all(self, error: BusError) -> None:
        """Fail everything that waits, in order."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        for deferred, _, _ in waiting.values():
            deferred.errback(error)

    def _expire(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        late = []
        for tag, entry in self._waiting.items():
            if entry[2] > now:
                self._timer = self._reactor.callLater(entry[2] - now, self._expire)
                break
            late.append(tag)
        for deferred in [self.take(tag) for tag in late]:
            if deferred is not None:
                deferred.errback(Unconfirmed("the broker did not confirm in time"))
