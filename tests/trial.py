"""Trial as the runner uses it: the ordinary command line, but its results also go to a file as JSON.

python -m tests.trial RESULTS [trial's arguments]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import TestSuite

import msgspec
from twisted.scripts import trial
from twisted.trial._asyncrunner import _iterateTests
from twisted.trial._dist.distreporter import DistReporter
from twisted.trial._dist.disttrial import DistTrialRunner
from twisted.trial.reporter import TreeReporter
from twisted.trial.unittest import Todo

BUSY = ("tests.simulation.", "tests.test_lint.")
WAITING = "tests.scenarios."


class Results(msgspec.Struct):
    """What became of a run."""

    planned: int = 0
    """How many tests there were to run."""
    ran: int = 0
    passed: int = 0
    """Those that were known to fail, and did, included."""
    failed: int = 0
    """Failures, errors (a module that can't be imported is one) and tests that passed though marked as failing."""
    skipped: int = 0
    seconds: dict[str, float] = {}
    """How long each test took."""


class ResultsReporter(TreeReporter):
    """Prints what trial prints, and keeps how long each test took."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.seconds: dict[str, float] = {}
        self._began = 0.0

    def startTest(self, test: Any) -> None:
        self._began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        self.seconds.setdefault(test.id(), time.monotonic() - self._began)

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        # From a worker the reason comes as a plain text, on which trial's own summary would break.
        super().addUnexpectedSuccess(test, Todo(todo) if isinstance(todo, str) else todo)

    def results(self, planned: int) -> Results:
        """What became of the run."""
        return Results(
            planned=planned,
            ran=self.testsRun,
            passed=self.successes + len(self.expectedFailures),
            failed=len(self.failures) + len(self.errors) + len(self.unexpectedSuccesses),
            skipped=len(self.skips),
            seconds=self.seconds,
        )


class TimingDistReporter(DistReporter):
    """Times tests in workers: the wrapped reporter hears of a test's start only when it has ended."""

    def __init__(self, original: ResultsReporter) -> None:
        super().__init__(original)
        self._began: dict[str, float] = {}

    def startTest(self, test: Any) -> None:
        self._began[test.id()] = time.monotonic()
        super().startTest(test)

    def stopTest(self, test: Any) -> None:
        self.original.seconds[test.id()] = time.monotonic() - self._began.pop(test.id())
        super().stopTest(test)


def mixed(tests: Sequence[Any]) -> list[Any]:
    """An order in which those that use a core all the time run beside those that mostly wait, not beside each other."""
    busy = [test for test in tests if test.id().startswith(BUSY)]
    others = [test for test in tests if not test.id().startswith(BUSY)]
    waiting = [place for place, test in enumerate(others) if test.id().startswith(WAITING)] or [len(others)]
    for number in reversed(range(len(busy))):
        others.insert(waiting[number * len(waiting) // len(busy)], busy[number])
    return others


def main(results: Path, arguments: list[str]) -> int:
    """Run trial, and write the results; the exit status is trial's."""
    options = trial.Options()
    options.parseOptions(arguments)
    reporters: list[ResultsReporter] = []

    def make_reporter(*positional: Any, **named: Any) -> ResultsReporter:
        reporters.append(ResultsReporter(*positional, **named))
        return reporters[0]

    options["reporter"] = make_reporter
    DistTrialRunner._distReporterFactory = TimingDistReporter
    runner = trial._makeRunner(options)
    suite = TestSuite(mixed(list(_iterateTests(trial._getSuite(options)))))
    planned = suite.countTestCases()
    if not list(_iterateTests(suite)):  # with nothing to hand to them trial would wait for its workers for ever
        results.write_bytes(msgspec.json.encode(Results()))
        return 0
    try:
        return 0 if runner.run(suite).wasSuccessful() else 1
    finally:
        if reporters:
            results.write_bytes(msgspec.json.encode(reporters[0].results(planned)))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
