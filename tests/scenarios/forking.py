"""CSS processes that are forked off one which has imported everything: a start costs a tenth of what `twistd` costs.

Each is `twistd css` with a process id, a session, files and a reactor of its own. The first asked for starts the
forker, of which each process that runs tests has one; it ends with that process, and all that it forked with it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.servers.process import Child, guard, new_folder

_PROJECT = Path(__file__).resolve().parent.parent.parent
_POLL_SECONDS = 0.005
_IMPORTED = [
    "css.adapters.sql.database",
    "css.service",
    "css.tap",
    "css.webservice",
    "pymysql",
    "sqlalchemy.dialects.mysql.pymysql",
    "twisted.scripts.twistd",
]


class Forker:
    """The side of the tests. Calls block, for some milliseconds; the first one until all is imported."""

    def __init__(self) -> None:
        self.folder = new_folder("forker")
        # Its own session: Ctrl-C ends the owner, and must not end what was forked before the owner has.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.forking", str(self.folder)],
            cwd=_PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        guard().started(self._process.pid)
        atexit.register(self.close)

    def fork(self, arguments: list[str], log: Path, environment: dict[str, str]) -> int:
        """Begin `twistd` in a process of its own.

        @param environment: what is added to the forker's.
        @return: its process id.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wanted = {"arguments": arguments, "log": str(log), "environment": environment}
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise AssertionError(f"the forker ended with {self._process.wait()}")
        return int(answer)

    def status(self, pid: int) -> int | None:
        """The exit status of one that was forked, negative: the signal that killed it; None while it runs."""
        with contextlib.suppress(FileNotFoundError):
            return int((self.folder / str(pid)).read_text())
        if self._process.poll() is not None:
            raise AssertionError(f"the forker ended with {self._process.returncode}")
        return None

    def close(self) -> None:
        """End it, and all that it forked."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        guard().ended(self._process.pid)


@functools.cache
def forker() -> Forker:
    """This process's forker."""
    return Forker()


class Forked(Child):
    """A forked `twistd`."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
        self._status: int | None = None
        log.touch()
        self.pid = forker().fork(arguments, log, environment)
        guard().started(self.pid)

    @property
    def status(self) -> int | None:
        """Its exit status, negative: the signal that killed it; None while it runs."""
        if self._status is None:
            self._status = forker().status(self.pid)
        return self._status

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _wait(self, limit_seconds: float) -> bool:
        give_up_at = time.monotonic() + limit_seconds
        while self.running:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(_POLL_SECONDS)
        return True


class _Serving:
    """The forker's own side: a line on standard input for each fork, answered by its process id.

    How one ended it writes into its folder: a file of the process id's name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._living: set[int] = set()
        self._woken, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)

    def run(self) -> dict[str, Any] | None:
        """Fork what is asked for. @return: in a child what it is to be; in the forker None, when its owner has gone."""
        # By way of a pipe: one that ends just before the forker begins to wait must not go unnoticed.
        signal.set_wakeup_fd(self._wakes)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        while True:
            readable, _, _ = select.select([0, self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, 4096)
                self._reap()
            elif not (line := sys.stdin.buffer.readline()):
                self._end_all()
                return None
            elif self._fork() == 0:
                wanted: dict[str, Any] = json.loads(line)
                return wanted

    def _fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._woken)
            os.close(self._wakes)
        else:
            self._living.add(pid)
            (self._folder / str(pid)).unlink(missing_ok=True)
            os.write(1, b"%d\n" % pid)
        return pid

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                self._living.discard(pid)
                unfinished = self._folder / f"{pid}.new"
                unfinished.write_text(str(os.waitstatus_to_exitcode(status)))
                unfinished.rename(self._folder / str(pid))

    def _end_all(self) -> None:
        for pid in self._living:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class _StandIn(ModuleType):
    """Stands where the reactor will: the forker itself must have none, for its epoll would be that of all it forks."""

    def callLater(self, *arguments: Any) -> Any:
        """What `txredisapi` takes from the reactor while it is imported."""
        return sys.modules[self.__name__].callLater(*arguments)


def _import_all() -> _StandIn:
    """Import what CSS needs, with a stand-in for the reactor."""
    stand_in = _StandIn("twisted.internet.reactor")
    sys.modules[stand_in.__name__] = stand_in
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # what is looked at in a child would have to be copied for it
    return stand_in


def _become(wanted: dict[str, Any], stand_in: _StandIn) -> None:
    """Be the process that is wanted, up to the point at which `twistd` would begin."""
    log = Path(wanted["log"])
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(log.parent)
    os.environ.update(wanted["environment"])
    sys.argv = ["twistd", *wanted["arguments"]]
    del sys.modules[stand_in.__name__]
    reactor = importlib.import_module(stand_in.__name__)
    for module in list(sys.modules.values()):
        if getattr(module, "reactor", None) is stand_in:
            module.reactor = reactor  # type: ignore[attr-defined]


def _main(folder: Path) -> None:
    stand_in = _import_all()
    wanted = _Serving(folder).run()
    if wanted is not None:
        _become(wanted, stand_in)
        sys.modules["twisted.scripts.twistd"].run()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
