"""The runner counts truly, whatever becomes of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.runner import WORKERS, judged, slowest, summary, trial_arguments
from tests.sources import ROOT
from tests.trial import Results, mixed

PLANTED = """
import os
from twisted.trial.unittest import SynchronousTestCase

class Mixed(SynchronousTestCase):
    def test_passes(self): pass
    def test_fails(self): self.assertEqual(1, 2)
    def test_breaks(self): raise RuntimeError("planted")
    def test_skips(self): ...
    test_skips.skip = "planted"
    def test_known(self): self.assertEqual(1, 2)
    test_known.todo = "planted"
    def test_mended(self): pass
    test_mended.todo = "planted"

class Good(SynchronousTestCase):
    def test_passes(self): pass

class Dying(SynchronousTestCase):
    def test_ends_its_process(self): os._exit(0)

class Empty(SynchronousTestCase):
    pass
"""


class _Named:
    """Something with a test's name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def id(self) -> str:
        return self._name


class Judging(SynchronousTestCase):
    """What is made of trial's results."""

    def test_summary(self) -> None:
        """Skipped tests are named only if there are any."""
        self.assertEqual("3 passed, 1 failed", summary(Results(passed=3, failed=1)))
        self.assertEqual("3 passed, 0 failed, 2 skipped", summary(Results(passed=3, skipped=2)))

    def test_slowest(self) -> None:
        """The slowest first, and no more than asked for."""
        lines = slowest(Results(seconds={"a": 0.5, "b": 12.25, "c": 1.0}), 2)
        self.assertEqual(["   12.25 s  b", "    1.00 s  c"], lines)

    def test_good(self) -> None:
        """Nothing is added to a run in which all went well."""
        results, problems = judged(Results(planned=2, ran=2, passed=2), 0)
        self.assertEqual(("2 passed, 0 failed", []), (summary(results), problems))

    def test_no_results(self) -> None:
        """A trial that died counts as a failure."""
        results, problems = judged(None, -9)
        self.assertEqual("0 passed, 1 failed", summary(results))
        self.assertEqual(["trial ended with status -9 and gave no results"], problems)

    def test_not_run(self) -> None:
        """Tests that were not run are failures."""
        results, problems = judged(Results(planned=5, ran=3, passed=3), 0)
        self.assertEqual("3 passed, 2 failed", summary(results))
        self.assertEqual(["2 of 5 tests were not run"], problems)

    def test_none(self) -> None:
        """No test at all is a problem."""
        self.assertEqual(["no test ran"], judged(Results(), 0)[1])

    def test_status_alone(self) -> None:
        """A status that no test explains is a failure."""
        results, problems = judged(Results(planned=1, ran=1, passed=1), 1)
        self.assertEqual("1 passed, 1 failed", summary(results))
        self.assertEqual(["trial ended with status 1 though no test failed"], problems)

    def test_arguments(self) -> None:
        """All tests in so many workers, unless the caller says otherwise."""
        for given, expected in [
            ([], [f"--jobs={WORKERS}", "tests"]),
            (["tests.domain"], [f"--jobs={WORKERS}", "tests.domain"]),
            (["--rterrors"], [f"--jobs={WORKERS}", "--rterrors", "tests"]),
            (["-j4"], ["-j4", "tests"]),
            (["--debug", "tests.domain"], ["--debug", "tests.domain"]),
        ]:
            arguments = trial_arguments(given, Path("folder"))
            self.assertIn("--temp-directory=folder", arguments)
            arguments.remove("--temp-directory=folder")
            self.assertEqual(expected, arguments)


class Order(SynchronousTestCase):
    """In which order tests are handed to the workers."""

    def order(self, *names: str) -> list[str]:
        """The order of tests with these names."""
        return [test.id() for test in mixed([_Named(name) for name in names])]

    def test_busy_among_waiting(self) -> None:
        """Those that only count are spread among those that wait; all others stay where they are."""
        waiting = [f"tests.scenarios.test_{n}" for n in range(4)]
        busy = [f"tests.simulation.test_{n}" for n in range(2)]
        expected = ["tests.domain.a", busy[0], *waiting[:2], busy[1], *waiting[2:], "tests.web.z"]
        self.assertEqual(self.order("tests.domain.a", *waiting, *busy, "tests.web.z"), expected)

    def test_one_kind_alone(self) -> None:
        for names in ([], ["tests.simulation.a", "tests.simulation.b"], ["tests.scenarios.a", "tests.web.z"]):
            self.assertEqual(self.order(*names), names)


class Running(TestCase):
    """The runner as a whole, on planted tests."""

    def run_planted(self, *names: str) -> tuple[int, list[str]]:
        """Run some of the planted tests; exit status and the lines printed."""
        folder = self.mktemp()
        os.makedirs(folder)
        Path(folder, "planted_tests.py").write_text(PLANTED)
        done = subprocess.run(
            [sys.executable, "-m", "tests.runner", *(f"planted_tests{name}" for name in names)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.path.abspath(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    def test_all_good(self) -> None:
        """Status 0, and the closing line last."""
        status, lines = self.run_planted(".Good")
        self.assertEqual((0, "1 passed, 0 failed"), (status, lines[-1]), lines)

    def test_mixed(self) -> None:
        """A known failure passes; an error, and a test that passed though it should fail, do not."""
        status, lines = self.run_planted(".Mixed")
        self.assertEqual((1, "2 passed, 3 failed, 1 skipped"), (status, lines[-1]), lines)

    def test_worker_dies(self) -> None:
        """A test that takes its worker with it is a failure."""
        status, lines = self.run_planted(".Dying", ".Good")
        self.assertEqual((1, "1 passed, 1 failed"), (status, lines[-1]), lines)

    def test_not_importable(self) -> None:
        """Names that don't exist are failures."""
        status, lines = self.run_planted("_missing")
        self.assertEqual((1, "0 passed, 1 failed"), (status, lines[-1]), lines)

    def test_empty(self) -> None:
        """A run without a test is no success."""
        status, lines = self.run_planted(".Empty")
        self.assertEqual((1, "0 passed, 0 failed"), (status, lines[-1]), lines)
