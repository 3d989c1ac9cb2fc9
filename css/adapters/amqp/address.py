"""Where a broker is and how to enter it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates

PEM_END = "-----END CERTIFICATE-----"


class BadAddress(ValueError):
    """An address can't be understood. The message names what is wrong with it, never the password."""


class AmqpAddress(msgspec.Struct, frozen=True):
    """One broker, or one node of a cluster."""

    host: str
    port: int = 5672
    vhost: str = "/"
    user: str = "guest"
    password: str = "guest"
    tls: bool = False
    """The broker's certificate must be valid for `host`."""
    ca_file: str = ""
    """PEM file of the authorities to trust for TLS; empty: those of the system."""

    def __str__(self) -> str:
        """For log lines: no password."""
        return f"{'amqps' if self.tls else 'amqp'}://{self.user}@{self.host}:{self.port}, vhost {self.vhost}"

    __repr__ = __str__

    @classmethod
    def from_url(cls, url: str, ca_file: str = "") -> AmqpAddress:
        """Parse `amqp://user:password@host:port/vhost` (`amqps` for TLS); parts are percent-encoded, all but the host
        may be missing.

        @raise BadAddress: if it is not of this form.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadAddress(f"not an AMQP address: {error}") from None
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
            raise BadAddress("an AMQP address begins with amqp:// or amqps:// and has a host")
        tls = parts.scheme == "amqps"
        return cls(
            host=parts.hostname,
            port=port or (5671 if tls else 5672),
            vhost=unquote(parts.path[1:]) or "/",
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            tls=tls,
            ca_file=ca_file,
        )

    def endpoint(self, reactor: Any, timeout_seconds: float) -> IStreamClientEndpoint:
        """@return: what connects there. @raise OSError, BadAddress: if `ca_file` can't be used."""
        plain = HostnameEndpoint(reactor, self.host, self.port, timeout=timeout_seconds)
        if not self.tls:
            return plain
        trust = trusted_authorities(self.ca_file) if self.ca_file else platformTrust()
        return wrapClientTLS(optionsForClientTLS(self.host, trustRoot=trust), plain)


def trusted_authorities(ca_file: str) -> Any:
    """@return: all certificates of a PEM file, as a trust root. @raise BadAddress: if it has none."""
    pieces = Path(ca_file).read_text(encoding="utf-8").split(PEM_END)[:-1]
    if not pieces:
        raise BadAddress(f"there is no certificate in {ca_file}")
    return trustRootFromCertificates([Certificate.loadPEM((piece + PEM_END).encode()) for piece in pieces])
