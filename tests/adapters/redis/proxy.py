"""A TCP proxy between a store and its server, which can cut the link or swallow what the server says."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.protocols import portforward


class _ToServer(portforward.ProxyClient):
    def dataReceived(self, data: bytes) -> None:
        proxy = cast(Any, self.peer).factory
        if not proxy.mute:
            portforward.ProxyClient.dataReceived(self, data)


class _ToServerFactory(portforward.ProxyClientFactory):
    protocol = _ToServer
    noisy = False


class _FromClient(portforward.ProxyServer):
    clientProtocolFactory = _ToServerFactory  # noqa: N815 - Twisted's name

    factory: Any

    def connectionMade(self) -> None:
        self.factory.accepted += 1
        portforward.ProxyServer.connectionMade(self)

    def dataReceived(self, data: bytes) -> None:
        proxy = self.factory
        proxy.heard += data
        portforward.ProxyServer.dataReceived(self, data)
        for word in list(proxy.cut_at):
            if word in data:
                proxy.cut_at.remove(word)
                cast(Any, self.transport).abortConnection()


class Proxy(portforward.ProxyFactory):
    """Verbs: `cut_at` holds words at which the client's connection is cut once each, `mute` swallows all replies."""

    protocol = _FromClient
    noisy = False

    def __init__(self, reactor: Any, target: tuple[str, int]) -> None:
        portforward.ProxyFactory.__init__(self, *target)
        self.cut_at: list[bytes] = []
        self.mute = False
        self.accepted = 0
        self.heard = b""
        self._listening: Any = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.address: tuple[str, int] = ("127.0.0.1", self._listening.getHost().port)

    def stop(self) -> Deferred[None]:
        """Listen no more."""
        stopping: Deferred[None] = self._listening.stopListening()
        return stopping
