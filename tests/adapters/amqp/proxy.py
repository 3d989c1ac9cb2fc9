"""A TCP proxy with verbs, between a client and a broker."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol


class _Side(Protocol):
    """One of a pair's two sockets."""

    transport: Any

    def __init__(self, pair: Pair, is_client: bool) -> None:
        self._pair = pair
        self._is_client = is_client

    def connectionMade(self) -> None:
        self._pair.made(self, self._is_client)

    def dataReceived(self, data: bytes) -> None:
        self._pair.received(self._is_client, data)

    def connectionLost(self, reason: Any = None) -> None:
        self._pair.lost(self._is_client)


class Pair:
    """One proxied connection."""

    def __init__(self, proxy: TcpProxy) -> None:
        self._half = False
        self._proxy = proxy
        self.sides: dict[bool, _Side] = {}
        self._waiting: dict[bool, list[bytes]] = {True: [], False: []}

    def made(self, side: _Side, is_client: bool) -> None:
        self.sides[is_client] = side
        self.flush()

    def received(self, from_client: bool, data: bytes) -> None:
        self._waiting[not from_client].append(data)
        self.flush()

    def flush(self) -> None:
        """Pass on what may be passed on."""
        for to_client, held in ((True, self._proxy.answers_held), (False, self._proxy.requests_held)):
            if to_client in self.sides and not held:
                data = b"".join(self._waiting[to_client])
                self._waiting[to_client].clear()
                if data:
                    self.sides[to_client].transport.write(data)

    def lost(self, is_client: bool) -> None:
        self.sides.pop(is_client, None)
        if not self._half:
            self.abort()

    def abort_client(self) -> None:
        """Reset the client's side only: the broker notices nothing."""
        self._half = True
        self.sides[True].transport.abortConnection()

    def abort(self) -> None:
        """Reset both sides."""
        self._half = False
        if self in self._proxy.pairs:
            self._proxy.pairs.remove(self)
        for side in list(self.sides.values()):
            side.transport.abortConnection()


class TcpProxy:
    """Passes connections on to a target; what it holds back it passes on later, in order."""

    def __init__(self, reactor: Any, host: str, port: int, tls: Any = None) -> None:
        self._reactor = reactor
        self._target = TCP4ClientEndpoint(reactor, host, port)
        self._tls = tls
        self._listening: Any = None
        self.port = 0
        self.pairs: list[Pair] = []
        self.answers_held = False
        self.requests_held = False
        self.accepted = 0

    async def listen(self) -> None:
        """Begin to accept; `port` is then known."""
        endpoint: IStreamServerEndpoint = TCP4ServerEndpoint(self._reactor, self.port, interface="127.0.0.1")
        if self._tls is not None:
            endpoint = SSL4ServerEndpoint(self._reactor, self.port, self._tls, interface="127.0.0.1")
        self._listening = await endpoint.listen(Factory.forProtocol(self._accept))
        self.port = self._listening.getHost().port

    def close(self) -> Deferred[None]:
        """Accept no more, and reset what there is."""
        self.cut()
        stopped: Deferred[None] = self._listening.stopListening()
        return stopped

    def cut(self) -> None:
        """Reset all connections."""
        for pair in list(self.pairs):
            pair.abort()

    def cut_clients(self) -> None:
        """Reset the clients' side of all connections; the broker sees them open until `cut`."""
        for pair in list(self.pairs):
            pair.abort_client()

    def hold(self, *, answers: bool = False, requests: bool = False) -> None:
        """Hold back what the broker, or the client, says; with neither: pass everything on."""
        self.answers_held = answers
        self.requests_held = requests
        for pair in list(self.pairs):
            pair.flush()

    def _accept(self) -> Protocol:
        self.accepted += 1
        pair = Pair(self)
        self.pairs.append(pair)
        connecting = connectProtocol(self._target, _Side(pair, is_client=False))
        _ = connecting.addErrback(lambda _: pair.abort())
        return _Side(pair, is_client=True)
