"""A Redis Sentinel as a process of ours, with one master to watch."""

from __future__ import annotations

import socket

from tests.servers import RedisServer
from tests.servers.redis import command

MASTER = "conferences"


class SentinelServer(RedisServer):
    """One Sentinel that decides alone."""

    name = "sentinel"

    def __init__(self, master: tuple[str, int]) -> None:
        super().__init__()
        self._master = master

    def prepare(self) -> None:
        host, port = self._master
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind {self.host}\ndir {self.folder}\n"
            f"sentinel monitor {MASTER} {host} {port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} 500\n"
            f"sentinel failover-timeout {MASTER} 3000\n",
            encoding="utf-8",
        )

    def command(self) -> list[str]:
        return [self.binary(), str(self.folder / "sentinel.conf"), "--sentinel"]

    def ready(self) -> bool:
        return self.ask("PING") == b"+PONG\r\n"

    def ask(self, *words: str) -> bytes:
        """Have a command executed (inline, for a Sentinel knows no SELECT), and give the first bytes of the answer."""
        with socket.create_connection(self.address, timeout=5) as link:
            link.sendall(" ".join(words).encode() + b"\r\n")
            return link.recv(65536)


def is_replica(server: RedisServer) -> bool:
    """Has the server become a replica, by its own word?"""
    try:
        command(server.address, "SET", "css/test/probe", "1")
    except OSError as error:
        return "READONLY" in str(error)
    return False
