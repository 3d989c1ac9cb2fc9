"""A server as a process of ours: started on a free port with its own folder, and ended by process id."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers.guard import Guard

HOST = "127.0.0.1"
START_LIMIT_SECONDS = 60.0
STOP_LIMIT_SECONDS = 30.0
_POLL_SECONDS = 0.02
_PORTS = range(10_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections, so that a stopped server finds its port free again."""
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 6 << 30
"""Many times what all servers of a run write."""


class ServerFailed(Exception):
    """A server did not start, or did not do what it was asked to."""


_guard: Guard | None = None


def guard() -> Guard:
    """This process's guard."""
    global _guard  # noqa: PLW0603 - one a process, by nature
    if _guard is None:
        _guard = Guard()
    return _guard


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def _in_memory() -> Path | None:
    """Where files lie in memory; None if there is no such place, or not much room in it or in memory."""
    try:
        room = shutil.disk_usage(_MEMORY).free
        spare = int(re.findall(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) * 1024
    except (OSError, IndexError):
        return None
    return _MEMORY if min(room, spare) > _ROOM_BYTES and os.access(_MEMORY, os.W_OK) else None


def new_folder(name: str) -> Path:
    """A folder that goes away with this process: in memory where there is room for it, since servers that wait for a
    disk at each commit are what most tests would wait for. `TMPDIR` takes its place where it is set."""
    path = tempfile.mkdtemp(prefix=f"css-test-{name}-", dir=_in_memory() if "TMPDIR" not in os.environ else None)
    guard().folder(path)
    return Path(path)


class Child:
    """A child process, known to the guard."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=log.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        guard().started(self.pid)

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self.status is None

    @property
    def status(self) -> int | None:
        """Its exit status, negative: the signal that killed it; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, number: signal.Signals, limit_seconds: float = STOP_LIMIT_SECONDS) -> None:
        """End it by a signal, and if that does not do by SIGKILL; return when it has ended."""
        if self.running:
            self.send(number)
            # One that is frozen acts on no other signal.
            self.send(signal.SIGCONT)
        if not self._wait(limit_seconds):
            self.send(signal.SIGKILL)
            self._wait(STOP_LIMIT_SECONDS)
        guard().ended(self.pid)

    def _wait(self, limit_seconds: float) -> bool:
        """Wait until it has ended. @return: False if it has not within that time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_seconds)
        return not self.running


class Server:
    """A private server. Its data outlives `stop` and `kill`; `close` ends it for good.

    All calls block until done; in a test that needs its reactor meanwhile, use `deferToThread`.
    """

    name = "server"

    def __init__(self) -> None:
        self.host = HOST
        self.port = free_port()
        self.folder = new_folder(self.name)
        self._child: Child | None = None
        self._prepared = False

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        return self.host, self.port

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._child is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        """True while its process lives, frozen or not."""
        return self._child is not None and self._child.running

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "output.log"

    def start(self) -> None:
        """Start it, on the port and with the data it had, and return when it answers."""
        if self.running:
            raise ServerFailed(f"{self.name} is running already")
        if not self._prepared:
            self.prepare()
            self._prepared = True
        self._child = Child(self.command(), self.log, self.environment())
        self._wait_until_ready(self._child)

    def stop(self) -> None:
        """Stop it in good order (SIGTERM), and return when it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it (SIGKILL), and return when it has ended."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open, and it answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it for good and delete its data. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self) -> None:
        """Make its data folder and configuration; called once."""

    def command(self) -> list[str]:
        """The program that stays in the foreground, and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str] | None:
        """Its environment; None: ours."""
        return None

    def ready(self) -> bool:
        """True if it answers its protocol; OSError counts as False."""
        raise NotImplementedError

    def _end(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.end(number)
            self._child = None

    def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.ready():
                    return
            if not child.running:
                break
            time.sleep(_POLL_SECONDS)
        self._end(signal.SIGKILL)
        raise ServerFailed(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
