"""Processes that are forked are processes of their own, and end with whoever asked for them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.scenarios.forking import Forked
from tests.scenarios.processes import PROJECT
from tests.servers.guard import started_at
from tests.servers.process import new_folder

LIMIT_SECONDS = 30.0
CONFIG = '[platform]\nmoid = "platform-a"\n[amqp]\nurl = "amqp://127.0.0.1:1/none"\n'
OWNER = """
import sys
from pathlib import Path
from tests.scenarios.forking import Forked
folder = Path(sys.argv[1])
child = Forked(["-n", "--pidfile=", "css", "--config", str(folder / "css.toml")], folder / "log", {})
print(child.pid, flush=True)
sys.stdin.read()
"""


class ForkedTests(SynchronousTestCase):
    """A CSS that finds no broker, and goes on looking for it."""

    def setUp(self) -> None:
        self.folder = new_folder("forked")
        (self.folder / "css.toml").write_text(CONFIG)

    def forked(self, config: str = "css.toml") -> Forked:
        """Start one."""
        arguments = ["-n", "--pidfile=", "css", "--config", str(self.folder / config)]
        child = Forked(arguments, self.folder / "log", {})
        self.addCleanup(child.end, signal.SIGKILL)
        return child

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        give_up_at = time.monotonic() + LIMIT_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), give_up_at, self.log())
            time.sleep(0.01)

    def log(self) -> str:
        """What all have printed."""
        return Path(self.folder, "log").read_text()

    def test_signals_and_statuses(self) -> None:
        """Each has a status of its own, whatever becomes of the other."""
        first, second = self.forked(), self.forked()
        first.end(signal.SIGKILL)
        self.assertEqual((first.status, second.status), (-signal.SIGKILL, None))
        self.wait_until(lambda: "Cannot connect to amqp://guest@127.0.0.1:1" in self.log())
        second.end(signal.SIGTERM)
        self.assertIn(second.status, (0, -signal.SIGTERM))
        self.assertIn("has stopped", self.log())

    def test_a_start_that_is_refused(self) -> None:
        """It ends as `twistd` does, and has said why."""
        (self.folder / "bad.toml").write_text("[platform]\n")
        refused = self.forked("bad.toml")
        self.wait_until(lambda: not refused.running)
        self.assertEqual(refused.status, 1)
        self.assertIn("[platform] moid", self.log())

    def test_ends_with_its_owner(self) -> None:
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(self.folder)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(owner.communicate)
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        self.assertTrue(started_at(pid))
        owner.kill()
        self.wait_until(lambda: not started_at(pid))
