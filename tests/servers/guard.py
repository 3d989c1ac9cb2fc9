"""Ends servers whose owner has died: a small process that outlives it.

A test process that is killed, or crashes, can't end the servers that it started. So each owner has a guard and tells
it, a line each, `start <pid>`, `end <pid>` and `folder <path>`. When the owner's end of the pipe closes, the guard
kills what is left, by process id, and deletes the folders.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import IO


def started_at(pid: int) -> str:
    """The start time of a process in clock ticks since boot, by which a reused process id is told apart; "" if gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


class Guard:
    """The owner's side. One a process, made at the first server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Its own session: Ctrl-C in the terminal ends the owner, and must not end the guard before it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__], stdin=subprocess.PIPE, start_new_session=True
        )
        atexit.register(self.close)

    def started(self, pid: int) -> None:
        """A process was started that must not outlive this one."""
        self._tell(f"start {pid}")

    def ended(self, pid: int) -> None:
        """It has ended, and was waited for."""
        self._tell(f"end {pid}")

    def folder(self, path: str) -> None:
        """A folder was made that must not outlive this process."""
        self._tell(f"folder {path}")

    def close(self) -> None:
        """Let the guard clean up what is left, and wait for it."""
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            if not self._process.stdin.closed:
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()


def watch(lines: IO[str]) -> None:
    """The guard's side: listen until the owner is gone, then clean up."""
    processes: dict[int, str] = {}
    folders: list[str] = []
    for line in lines:
        verb, _, value = line.rstrip("\n").partition(" ")
        if verb == "start":
            processes[int(value)] = started_at(int(value))
        elif verb == "end":
            processes.pop(int(value), None)
        else:
            folders.append(value)
    for pid, start in processes.items():
        if start and started_at(pid) == start:
            # Each leads a process group of its own: what it started goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.stdin)
