"""Ways to a server: TCP, TLS with verification, and the master that Redis Sentinel names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.logger import Logger

from css.adapters.redis.protocol import StoreProtocol
from css.adapters.redis.settings import RedisSettings, SentinelSettings
from css.ports.store import StoreError

_ATTEMPT_SECONDS = 0.1
"""Between the addresses of one name. Twisted also waits so long before it reports that the last of them failed."""

_PEM_END = b"-----END CERTIFICATE-----"


def trust_root(ca_file: str) -> Any:
    """The authorities in a PEM file, or the system's.

    @raise OSError: it can't be read.
    @raise ValueError: there is no certificate in it.
    """
    if not ca_file:
        return platformTrust()
    blocks = Path(ca_file).read_bytes().split(_PEM_END)[:-1]
    if not blocks:
        raise ValueError(f"{ca_file}: no certificate")
    return trustRootFromCertificates([Certificate.loadPEM(block + _PEM_END) for block in blocks])


class Locator:
    """Opens connections to the server of some settings; in Sentinel mode it asks for the address each time."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorTime, settings: RedisSettings, protocol: type[StoreProtocol] = StoreProtocol
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._made_of = protocol
        self._trust = trust_root(settings.tls_ca_file) if settings.tls else None

    async def address(self) -> tuple[str, int]:
        """@return: where the master is now.

        @raise StoreError: no Sentinel knows.
        """
        sentinel = self._settings.sentinel
        if sentinel is None:
            return self._settings.host, self._settings.port
        for host, port in sentinel.addresses:
            try:
                found = await self._ask(sentinel, host, port)
            except CancelledError:
                raise
            except Exception as error:
                self._log.warn(
                    "Sentinel {host}:{port} does not answer: {error}", host=host, port=port, error=str(error)
                )
            else:
                if found is not None:
                    return found
        raise StoreError(f"no Sentinel knows the master {sentinel.master}")

    async def open(self, host: str, port: int) -> StoreProtocol:
        """Connect, without any AUTH or SELECT."""
        return await self._open(host, port, self._made_of)

    async def _open(self, host: str, port: int, kind: type[StoreProtocol]) -> StoreProtocol:
        endpoint: Any = HostnameEndpoint(
            self._reactor,
            host,
            port,
            timeout=self._settings.connect_timeout_seconds,
            attemptDelay=_ATTEMPT_SECONDS,
        )
        if self._trust is not None:
            endpoint = wrapClientTLS(optionsForClientTLS(host, trustRoot=self._trust), endpoint)
        factory = Factory.forProtocol(lambda: self._protocol(kind))
        factory.noisy = False
        try:
            protocol: StoreProtocol = await endpoint.connect(factory)
        except ConnectingCancelledError:  # which is no CancelledError, and would pass for a server that is away
            raise CancelledError from None
        return protocol

    def _protocol(self, kind: type[StoreProtocol]) -> StoreProtocol:
        settings = self._settings
        return kind(self._reactor, settings.command_timeout_seconds, settings.max_in_flight)

    async def _ask(self, sentinel: SentinelSettings, host: str, port: int) -> tuple[str, int] | None:
        protocol = await self._open(host, port, StoreProtocol)
        try:
            if sentinel.password:
                await protocol.auth(sentinel.password, sentinel.username or None)
            found = await protocol.execute_command("SENTINEL", "get-master-addr-by-name", sentinel.master)
        finally:
            protocol.drop("asked")
        return (found[0].decode(), int(found[1])) if found else None
