"""Where a platform's Redis is and how to get in."""

from __future__ import annotations

import msgspec


class SentinelSettings(msgspec.Struct, frozen=True):
    """Ask these Sentinels, in turn, for the address of a master."""

    addresses: tuple[tuple[str, int], ...]
    master: str
    username: str = ""
    password: str = ""
    """What the Sentinels themselves ask for, if anything."""

    def __repr__(self) -> str:
        return f"SentinelSettings({self.addresses!r}, {self.master!r})"


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One Redis or Valkey. With `sentinel`, host and port are what the Sentinels say at each connect."""

    host: str = "127.0.0.1"
    port: int = 6379
    db: int = 0
    username: str = ""
    password: str = ""
    """Empty: no AUTH."""
    tls: bool = False
    """The peer's certificate and name are always verified."""
    tls_ca_file: str = ""
    """PEM file of the authorities to trust; empty: the system's."""
    sentinel: SentinelSettings | None = None
    command_timeout_seconds: float = 2.0
    """A command that is not answered within this fails, and the connection is dropped."""
    connect_timeout_seconds: float = 2.0
    retry_seconds: float = 0.1
    """The first pause before connecting again, doubled at each failure, jittered."""
    retry_max_seconds: float = 2.0
    check_seconds: float = 5.0
    """How often an idle connection is tried, and the Sentinels are asked whether it still leads to the master."""
    max_in_flight: int = 5000
    """More commands than this at a time fail at once."""

    def __repr__(self) -> str:  # no secrets in logs
        return f"RedisSettings({self.place}, db={self.db}, username={self.username!r}, tls={self.tls})"

    @property
    def place(self) -> str:
        """Where it is, to be read by people."""
        if self.sentinel is not None:
            return f"sentinel:{self.sentinel.master}"
        return f"{self.host}:{self.port}"
