"""RabbitMQ servers: own node, own epmd, own folders; vhosts from a pool, since making them takes a second."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from pathlib import Path

from tests.servers.install import SEARCH_PATH, program
from tests.servers.process import Child, Server, ServerFailed, free_port

USER = "guest"
PASSWORD = "guest"

_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Debian's programs in sbin change to another user first; these run as whoever starts them."""

_POOL = 20
_POOL_LOW = 5
_CONTROL_LIMIT_SECONDS = 60.0
_ANSWER_LIMIT_SECONDS = 1.0

_CHANGE_VHOSTS = """
lists:foreach(fun(V) -> rabbit_vhost:delete(V, <<"tests">>) end, [{dropped}]),
lists:foreach(fun(V) ->
    rabbit_vhost:add(V, <<"tests">>),
    rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
end, [{names}]), ok.
"""


class RabbitMQServer(Server):
    """A private RabbitMQ; its account is `USER`, `PASSWORD`."""

    name = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self._node = f"css-test-{os.getpid()}-{self.port}@localhost"
        self._distribution_port = free_port()
        self._epmd_port = free_port()
        self._epmd: Child | None = None
        self._numbers = itertools.count(1)
        self._vhosts: deque[str] = deque()
        self._dropped: deque[str] = deque()
        self._refill_lock = threading.Lock()

    def new_vhost(self) -> str:
        """An empty vhost, nobody else's; mostly one that was made ahead."""
        while True:
            try:
                name = self._vhosts.popleft()
            except IndexError:
                self._refill(_POOL)
                continue
            if len(self._vhosts) == _POOL_LOW:
                threading.Thread(target=self._refill, args=(_POOL,), daemon=True).start()
            return name

    def drop_vhost(self, name: str) -> None:
        """A vhost that nobody uses any more: it is deleted when the next ones are made. Each costs as much to make as
        there are others: the thousandth a third of a second."""
        self._dropped.append(name)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` (about a second), and give what it printed."""
        done = subprocess.run(
            [str(_PROGRAMS / "rabbitmqctl"), "-q", *arguments],
            env=self.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_CONTROL_LIMIT_SECONDS,
        )
        if done.returncode:
            raise ServerFailed(f"rabbitmqctl {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        super().close()
        if self._epmd is not None:
            self._epmd.end(signal.SIGKILL)
            self._epmd = None

    def prepare(self) -> None:
        for folder in ("home", "mnesia", "log"):
            (self.folder / folder).mkdir()
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {self.host}:{self.port}\n"
            # Test runs share their disk with others: never block publishers because it is filling up.
            "disk_free_limit.absolute = 50MB\n"
        )
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "environment").touch()

    def start(self) -> None:
        # Left to itself RabbitMQ would start an epmd that nobody ends, on a port that every RabbitMQ shares.
        if self._epmd is None:
            epmd = [program("epmd"), "-port", str(self._epmd_port), "-address", self.host]
            self._epmd = Child(epmd, self.folder / "epmd.log", self.environment())
        super().start()

    def command(self) -> list[str]:
        return [str(_PROGRAMS / "rabbitmq-server")]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": SEARCH_PATH,
            "LANG": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment"),
            # No busy waiting: several test runs share few cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            # Makes the start script become the server, so that the child's process id is the server's.
            "RUNNING_UNDER_SYSTEMD": "1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": self.host,
        }

    def ready(self) -> bool:
        with socket.create_connection(self.address, timeout=_ANSWER_LIMIT_SECONDS) as link:
            link.sendall(b"AMQP\x00\x00\x09\x01")
            return link.recv(1) == b"\x01"

    def _refill(self, number: int) -> None:
        with self._refill_lock:
            if len(self._vhosts) > _POOL_LOW:
                return
            names = [f"t{next(self._numbers)}" for _ in range(number)]
            dropped = [self._dropped.popleft() for _ in range(len(self._dropped))]
            self.control("eval", _CHANGE_VHOSTS.format(names=_binaries(names), dropped=_binaries(dropped)))
            self._vhosts.extend(names)


def _binaries(names: list[str]) -> str:
    """The inside of an Erlang list."""
    return ", ".join(f'<<"{name}">>' for name in names)
