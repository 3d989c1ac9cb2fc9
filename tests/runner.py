"""Runs the tests on one set of private servers: `python -m tests.runner [trial's arguments]`.

Without arguments it runs all of `tests`. Its last line is `N passed, M failed`, with `, K skipped` if any were. Exit
status 0 means that tests ran and none failed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from tests.figures import FIGURES, not_struck, simulated
from tests.servers.install import MissingServers, ensure_installed
from tests.servers.process import guard, new_folder
from tests.servers.shared import Owner, Sharing
from tests.trial import Results

WORKERS = 5
"""Most tests wait most of the time: more of them than there are cores keep two cores busy."""
SLOWEST = 15
LIMIT_SECONDS = float(os.environ.get("CSS_TEST_LIMIT_SECONDS", "1800"))
"""A run that takes longer is ended, and has failed."""

_END_LIMIT_SECONDS = 10.0


def summary(results: Results) -> str:
    """The closing line."""
    skipped = f", {results.skipped} skipped" if results.skipped else ""
    return f"{results.passed} passed, {results.failed} failed{skipped}"


def slowest(results: Results, number: int) -> list[str]:
    """A line for each of the slowest tests, the slowest first."""
    ranked = sorted(results.seconds.items(), key=lambda entry: entry[1], reverse=True)
    return [f"{seconds:8.2f} s  {test}" for test, seconds in ranked[:number]]


def judged(results: Results | None, status: int) -> tuple[Results, list[str]]:
    """The results with everything counted as failed that went wrong around the tests, and a sentence for each."""
    if results is None:
        return Results(failed=1), [f"trial ended with status {status} and gave no results"]
    problems = []
    missing = results.planned - results.ran
    if missing > 0:
        results.failed += missing
        problems.append(f"{missing} of {results.planned} tests were not run")
    if results.ran == 0:
        problems.append("no test ran")
    if status != 0 and results.failed == 0:
        results.failed += 1
        problems.append(f"trial ended with status {status} though no test failed")
    return results, problems


def trial_arguments(arguments: list[str], temporary: Path) -> list[str]:
    """What to give to trial: the defaults first, so that the caller's own take their place."""
    defaults = [f"--jobs={WORKERS}", f"--temp-directory={temporary}"]
    if any(argument.startswith(("-j", "--jobs", "--debug", "--debugger", "-b")) for argument in arguments):
        del defaults[0]
    names = [argument for argument in arguments if not argument.startswith("-")]
    return [*defaults, *arguments, *([] if names else ["tests"])]


def run_trial(arguments: list[str], environment: dict[str, str], folder: Path) -> tuple[Results | None, int]:
    """Run trial in a process of its own, its output going where ours goes; results (None: it gave none) and status."""
    written = folder / "results.json"
    command = [sys.executable, "-m", "tests.trial", str(written), *trial_arguments(arguments, folder / "trial")]
    process = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)
    guard().started(process.pid)
    try:
        status = process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"the tests took longer than {LIMIT_SECONDS:.0f} s", flush=True)
        status = -signal.SIGKILL
    finally:
        _end_group(process)
    results = msgspec.json.decode(written.read_bytes(), type=Results) if written.exists() else None
    return results, status


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End trial and its workers, which share its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_LIMIT_SECONDS)
    guard().ended(process.pid)


@contextlib.contextmanager
def server_set(all_at_once: bool) -> Iterator[dict[str, str]]:
    """The run's servers, as long as the context lasts; gives what to add to trial's environment."""
    guard()
    owner = Owner()
    sharing = Sharing(owner)
    if all_at_once:
        # In the background: the first tests need no server, and who needs one waits for it.
        threading.Thread(target=owner.start_all, daemon=True).start()
    try:
        yield sharing.environment
    finally:
        sharing.close()
        owner.close()


def _interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    """Run the tests, and give the exit status."""
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        ensure_installed()
    except MissingServers as error:
        print(error, "0 passed, 1 failed", sep="\n", flush=True)
        return 1
    whole = all(argument.startswith("-") for argument in arguments)
    with server_set(all_at_once=whole) as environment:
        folder = new_folder("run")
        results, problems = judged(*run_trial(arguments, {**environment, FIGURES: str(folder)}, folder))
    if results.seconds:
        print("\nSlowest tests:", *slowest(results, SLOWEST), sep="\n")
    print(*simulated(folder), sep="\n")
    unseen = not_struck(folder)
    problems += unseen
    results.failed += len(unseen)
    print(*problems, summary(results), sep="\n", flush=True)
    return 1 if results.failed or problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
