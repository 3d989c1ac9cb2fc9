"""The one set of servers of a test run: who starts it, and how the others get at it.

The runner owns the set and listens on a Unix socket, whose path is in the environment; trial's workers ask there.
Without a runner a process owns a set of its own. Either way a server is started when it is first asked for.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.servers.install import ensure_installed
from tests.servers.mariadb import MariaDBServer
from tests.servers.process import Server, new_folder
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import DATABASES, RedisServer, ValkeyServer, command

ENVIRONMENT = "CSS_TEST_SERVERS"
"""The environment variable: a JSON object with `socket`, the path of the owner's socket."""

_USUAL: dict[str, Callable[[], Server]] = {
    "redis": RedisServer,
    "valkey": ValkeyServer,
    "rabbitmq": RabbitMQServer,
    "mariadb": MariaDBServer,
}
_KINDS: dict[str, Callable[[], Server]] = {**_USUAL, "redis-2": RedisServer, "rabbitmq-2": RabbitMQServer}
"""Those with a number are a second node each, for tests of two platforms; they start only when asked for."""

_ANSWER_LIMIT_SECONDS = 120.0


class Owner:
    """Holds the servers, and answers what is asked for by name. Thread-safe."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._locks = {kind: threading.Lock() for kind in _KINDS}
        self._databases = {kind: itertools.count() for kind in ("redis", "valkey", "redis-2")}

    def answer(self, question: str) -> Any:
        """`address <kind>`, `database <kind>`, `vhost <kind>`, `drop <kind> <vhost>`, `schema mariadb`: JSON."""
        verb, kind, *more = question.split(" ")
        server = self._server(kind)
        if verb == "address":
            return server.address
        if verb == "database":
            # Database 0 is what one gets by forgetting to select: nobody's.
            number = 1 + next(self._databases[kind]) % (DATABASES - 1)
            command(server.address, "FLUSHDB", database=number)
            return number
        if verb == "vhost" and isinstance(server, RabbitMQServer):
            return server.new_vhost()
        if verb == "drop" and isinstance(server, RabbitMQServer):
            return server.drop_vhost(*more)
        if verb == "schema" and isinstance(server, MariaDBServer):
            return server.new_schema()
        raise ValueError(f"nobody can answer {question!r}")

    def start_all(self) -> None:
        """Start every usual kind now, at the same time."""
        with ThreadPoolExecutor(len(_USUAL)) as pool:
            list(pool.map(self._server, _USUAL))

    def close(self) -> None:
        """End all servers."""
        for kind, lock in self._locks.items():
            with lock:
                if (server := self._servers.pop(kind, None)) is not None:
                    server.close()

    def _server(self, kind: str) -> Server:
        with self._locks[kind]:
            if kind not in self._servers:
                ensure_installed()
                server = _KINDS[kind]()
                server.start()
                self._servers[kind] = server
            return self._servers[kind]


class _Desk(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, owner: Owner) -> None:
        self.owner = owner
        super().__init__(path, _Clerk)


class _Clerk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Desk)
        question = self.rfile.readline().decode().rstrip("\n")
        try:
            reply = {"answer": self.server.owner.answer(question)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        self.wfile.write(json.dumps(reply).encode() + b"\n")


class Sharing:
    """Lets other processes ask an owner, as long as it is open."""

    def __init__(self, owner: Owner) -> None:
        path = str(new_folder("set") / "socket")
        self.environment = {ENVIRONMENT: json.dumps({"socket": path})}
        """What to add to the environment of those who are to use the set."""
        self._desk = _Desk(path, owner)
        threading.Thread(target=self._desk.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._desk.shutdown()
        self._desk.server_close()


class SharedServerError(Exception):
    """The owner could not do what it was asked for."""


def ask_owner(path: str, question: str) -> Any:
    """Ask the owner behind a socket."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_ANSWER_LIMIT_SECONDS)
        link.connect(path)
        link.sendall(question.encode() + b"\n")
        with link.makefile("rb") as lines:
            reply = json.loads(lines.readline())
    if "error" in reply:
        raise SharedServerError(reply["error"])
    return reply["answer"]


def find_asker(owner: Callable[[], Owner]) -> Callable[[str], Any]:
    """How this process asks: the set named in the environment, else an owner of its own."""
    named = os.environ.get(ENVIRONMENT)
    if named is None:
        return owner().answer
    path = json.loads(named)["socket"]
    if not Path(path).exists():
        raise SharedServerError(f"{ENVIRONMENT} names a set of servers that is gone")
    return lambda question: ask_owner(path, question)
