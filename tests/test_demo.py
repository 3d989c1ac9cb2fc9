"""`make run` as a user has it: as a child process. Its parts are tested in `tests/demo/`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 60.0
SUMMARY = re.compile(
    r"Summary: created (?P<created>\d+), answered (?P<answered>\d+), refused (?P<refused>\d+), "
    r"released (?P<released>\d+), running (?P<running>\d+), lost (?P<lost>\d+)"
)


class _Run:
    """A demo as a child process; what it prints is read all the time."""

    def __init__(self, folder: str, seconds: str = "", stdin: int = subprocess.PIPE) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "DEMO_SECONDS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "css.demo", "--var", folder],
            cwd=ROOT,
            env={**environment, **({"DEMO_SECONDS": seconds} if seconds else {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=pair)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.decode().rstrip("\n"))

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait_for(self, pattern: str) -> str:
        """@return: the first line that has it."""
        give_up_at = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < give_up_at:
            for line in list(self.lines):
                if re.search(pattern, line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line {pattern!r} in {self.lines}, {self.errors}")

    def wait(self) -> int:
        """@return: the exit status."""
        status = self.process.wait(LIMIT_SECONDS)
        for reader in self._readers:
            reader.join(LIMIT_SECONDS)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    @property
    def text(self) -> str:
        return "\n".join([*self.lines, *self.errors])

    def summary(self) -> dict[str, int]:
        found = SUMMARY.search(self.text)
        if found is None:
            raise AssertionError(f"no summary in {self.text}")
        return {name: int(value) for name, value in found.groupdict().items()}


class AsProcess(SynchronousTestCase):
    """The whole of it, as a user has it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="css-demo-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_demo(self, seconds: str = "", stdin: int = subprocess.PIPE) -> _Run:
        run = _Run(self.folder, seconds, stdin)
        self.addCleanup(run.close)
        return run

    def assert_nothing_left(self, patience_seconds: float = 0.0) -> None:
        """The lock is held by the demo and by its Valkey, for as long as they live."""
        give_up_at = time.monotonic() + patience_seconds
        with open(Path(self.folder) / "demo.lock", "rb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() >= give_up_at:
                        raise AssertionError("a process is left") from None
                time.sleep(0.02)

    def assert_ends_well(self, run: _Run) -> None:
        self.assertEqual(run.wait(), 0)
        summary = run.summary()
        self.assertEqual((summary["lost"], summary["answered"]), (0, summary["created"]))
        self.assertEqual(run.errors, [])
        self.assert_nothing_left()

    def assert_clean(self, run: _Run) -> None:
        log = (Path(self.folder) / "css.log").read_text(encoding="utf-8")
        self.assertNotIn("Traceback", run.text + log)
        self.assertNotIn("WARNING", run.text)
        self.assertEqual(run.errors, [])

    def test_ends_by_itself_and_goes_on_at_the_next_start(self) -> None:
        """Commands are taken, the account is right, and the next start has the conferences of this one."""
        run = self.run_demo("6")
        run.wait_for("in service")
        run.type("create 项目 会议\nbogus\n" + "create 留\n" * 3)  # the oldest end by themselves: one must be left
        number = run.wait_for("项目 会议").split()[2]
        run.wait_for(f"{number} +runs on MCU 10")
        run.type("list\nhelp\n")
        run.wait_for(f"{number} +ongoing on platform-[ab], MCU 10.*: 项目 会议")
        run.type(f"release {number}\n")
        run.end_input()
        run.wait_for(f"{number} +has ended")
        self.assertEqual(run.wait(), 0)
        self.assertIn("There is no command 'bogus': type help", run.lines)
        self.assertTrue(any(line.startswith("  release NUMBER") for line in run.lines))
        summary = run.summary()
        self.assertGreaterEqual(summary["created"], 3)
        self.assertEqual(summary["answered"], summary["created"])
        self.assertEqual(summary["running"], summary["created"] - summary["released"])
        self.assertEqual((summary["refused"], summary["lost"]), (0, 0))
        self.assert_clean(run)
        self.assert_nothing_left()

        again = self.run_demo()
        again.wait_for("in service")
        again.type("quit\n")
        self.assertEqual(again.wait(), 0)
        self.assertIn(f"Still running since an earlier start: {summary['running']}", again.lines)
        account = again.summary()
        self.assertEqual(account["running"], summary["running"] + account["created"] - account["released"])
        self.assertEqual(account["lost"], 0)
        self.assert_clean(again)
        self.assert_nothing_left()

    def test_an_mcu_dies_and_a_room_fails(self) -> None:
        """All that is lost is restored, step by step on the screen; nothing is lost, also where the end comes soon."""
        run = self.run_demo()
        run.wait_for("in service")
        run.type("create 早\n" * 8 + "create 末\ncreate 末\n")  # those that end by themselves are the oldest
        e164 = run.wait_for("platform-a .*is asked for by .*: 末").split()[2]
        ip = run.wait_for(f"{e164} .*runs on MCU").split("MCU ")[1].split(",")[0]
        run.type(f"kill-mcu {ip}\n")
        run.wait_for(f"MCU {ip} process 1 dies with [1-9]")
        run.wait_for(f"recovery begins: MCU {ip} process 1 disconnected")
        run.wait_for(r"restored on 10\.1\.0\.\d process 1")
        run.wait_for(f"recovery of mcu {ip}:1 is over after")
        run.type("room-down room-b1\nroom-down nowhere\nkill-mcu 10.1.0.1 77\n")
        run.wait_for("the PMS says that room-b1 is abnormal")
        run.wait_for("give one of the rooms: room-a1, room-a2, room-b1, room-b2")
        run.wait_for("kill-mcu: processes of 10.1.0.1 that can be killed: ")
        run.type("room-up room-b1\nkill-mcu 10.2.0.3\nquit\n")
        self.assert_ends_well(run)

    def test_a_platform_dies_and_returns(self) -> None:
        """Its backup takes over what the plan said; it gives nothing back but what is new; nothing is lost."""
        run = self.run_demo()
        run.wait_for("in service")
        run.type("create 早\n" * 8 + "create 末\ncreate 末\n")  # those that end by themselves are the oldest
        number = run.wait_for(r"platform-a +0\d+ +is asked for by .*: 末").split()[2]
        run.wait_for(f"{number} +runs on MCU 10.1")
        run.type("plan takeover A\nplan takeover x\n")
        run.wait_for("dry run on platform-b: takeover platform-a; nothing is written")
        run.wait_for("plan: give one of the platforms: platform-a, platform-b")
        run.type("platform-down A\n")
        run.wait_for("recovery begins: the PMS says that platform platform-a is abnormal")
        run.wait_for(f"{number} +restored on 10.2.0")
        run.wait_for("recovery of platform platform-a is over after")
        run.type("create 备份\n" * 2)
        run.wait_for(r"platform-a .* is asked for by a-\w+: 备份")
        run.type(f"platform-up A\ncontrol {number} mute\nrename {number} 新名\ndelay {number} 30\n")
        run.wait_for("the PMS says that platform-a is normal")
        run.wait_for(f"{number} +(is answered CMU_CM_MUTE_ACK|has ended)")
        run.type("plan handback A\nquit\n")
        run.wait_for("dry run on platform-b: handback platform-a")
        self.assert_ends_well(run)

    def test_typed_before_it_is_in_service(self) -> None:
        """It is done once that is so: a platform that is down from the start would keep the demo from beginning."""
        run = self.run_demo("8")
        run.type("platform-down A\ncreate 早\n")
        run.wait_for("the PMS says that platform-a is abnormal")
        run.wait_for("is asked for by .*: 早")
        run.type("platform-up A\n")
        self.assertEqual(run.wait(), 0)
        told = [line for line in run.lines if "in service" in line or "platform-a is abnormal" in line]
        self.assertIn("platform-a is in service", told[0])
        self.assertEqual(run.summary()["lost"], 0)
        self.assertEqual(run.errors, [])

    def test_interrupted(self) -> None:
        """Without input it goes on, at rest; a second one keeps off its folder; Ctrl-C ends it in order."""
        run = self.run_demo(stdin=subprocess.DEVNULL)
        run.wait_for("runs on MCU")
        second = self.run_demo(stdin=subprocess.DEVNULL)
        self.assertEqual(second.wait(), 1)
        self.assertIn(f"is in use by another demo (process {run.process.pid})", second.text)
        self.assertEqual(len(second.lines + second.errors), 1)
        self.assertIsNone(run.process.poll())
        before = _cpu_seconds(run.process.pid)
        time.sleep(1.0)
        self.assertLess(_cpu_seconds(run.process.pid) - before, 0.5)
        run.process.send_signal(signal.SIGINT)
        while run.process.poll() is None:  # impatience, to the very last moment
            time.sleep(0.001)
            run.process.send_signal(signal.SIGINT)
        self.assertEqual(run.wait(), 0)
        self.assertEqual(run.lines.count("Ending: SIGINT received"), 1)
        self.assertEqual(run.summary()["lost"], 0)
        self.assert_clean(run)
        self.assert_nothing_left()

    def test_killed(self) -> None:
        """Even then Valkey ends, and its data are whole."""
        run = self.run_demo(stdin=subprocess.DEVNULL)
        run.wait_for("runs on MCU")
        run.process.kill()
        run.wait()
        self.assert_nothing_left(patience_seconds=10)
        again = self.run_demo("2", subprocess.DEVNULL)
        self.assertEqual(again.wait(), 0)
        again.wait_for("Still running since an earlier start: [1-9]")
        self.assertEqual(again.summary()["lost"], 0)
        self.assert_nothing_left()

    def test_wrong_seconds(self) -> None:
        """What can't be is told in one line."""
        run = self.run_demo("soon", subprocess.DEVNULL)
        self.assertEqual(run.wait(), 1)
        self.assertEqual(
            run.errors, ["make run: DEMO_SECONDS=soon: give a number of seconds above 0, as in DEMO_SECONDS=20"]
        )


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; Linux has it in /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
