"""What is published on a channel of a Redis, heard on a connection that comes back by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import txredisapi
from twisted.internet.interfaces import IReactorTime

from css.adapters.redis.link import Link
from css.adapters.redis.protocol import StoreProtocol
from css.adapters.redis.settings import RedisSettings


class ListeningProtocol(StoreProtocol):
    """A connection on which messages may come at any time, besides the answers to SUBSCRIBE and PING."""

    heard: Callable[[bytes], None] | None = None

    def _read(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not False and not self.reason:
                self._take(reply)
                reply = reader.gets()
        except txredisapi.InvalidData as error:
            self.drop(f"the server answers no Redis protocol: {error}")

    def _take(self, reply: Any) -> None:
        if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
            if self.heard is not None:
                self.heard(reply[2])
        elif not self._pending:
            self.drop("the server sent what nobody asked for")
        elif isinstance(reply, txredisapi.ResponseError):
            self._refused(str(reply), self._pending.popleft())
        else:
            self._pending.popleft()[0].callback(reply)


class ChangesLink(Link):
    """Up while it hears a channel. `heard(payload)` is called with each message, in order."""

    def __init__(
        self, reactor: IReactorTime, settings: RedisSettings, channel: str, heard: Callable[[bytes], None]
    ) -> None:
        super().__init__(reactor, settings, ListeningProtocol)
        self._channel = channel
        self._heard = heard

    async def _prepare(self, protocol: StoreProtocol) -> None:
        assert isinstance(protocol, ListeningProtocol)
        protocol.heard = self._hear
        await protocol.execute_command("SUBSCRIBE", self._channel)

    def _hear(self, payload: bytes) -> None:
        try:
            self._heard(payload)
        except Exception:
            self._log.failure("Redis {place}: a listener failed", place=self.settings.place)

    async def _advise(self, protocol: StoreProtocol) -> None:
        """The store's own link has looked at the server's settings; while it listens this one may not ask."""
