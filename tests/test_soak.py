"""The soak: it asks for the literal figures, and prints what was measured."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.scale import SOAK_VARIABLE, scaled, soaking
from tests.scenarios.figures import VARIABLE, lines, note, noted
from tests.soak.__main__ import runner_command, soak_environment


class SoakTests(SynchronousTestCase):
    """Its environment and its command."""

    def set_variable(self, name: str, value: str) -> None:
        """Set an environment variable until the test ends."""
        before = os.environ.get(name)
        os.environ[name] = value
        if before is None:
            self.addCleanup(os.environ.pop, name)
        else:
            self.addCleanup(os.environ.__setitem__, name, before)

    def test_scaled(self) -> None:
        self.set_variable(SOAK_VARIABLE, "0")
        self.assertEqual((soaking(), scaled(2, 30)), (False, 2))
        self.set_variable(SOAK_VARIABLE, "1")
        self.assertEqual((soaking(), scaled(0.5, 30.0)), (True, 30.0))

    def test_environment(self) -> None:
        environment = soak_environment(Path("figures"))
        self.assertEqual((environment[SOAK_VARIABLE], environment[VARIABLE]), ("1", "figures"))

    def test_all_scenarios_unless_some_are_named(self) -> None:
        self.assertEqual(runner_command(["-u"])[-2:], ["-u", "tests.scenarios"])
        self.assertEqual(runner_command(["tests.scenarios.test_flow"])[-2:], ["--jobs=1", "tests.scenarios.test_flow"])

    def test_figures(self) -> None:
        path = Path(self.mktemp())
        self.assertEqual(noted(path), [])
        self.set_variable(VARIABLE, str(path))
        note("creates", count=1000, per_second=1234.567)
        note("outage", seconds=30.0)
        self.assertEqual(lines(noted(path)), ["creates: count 1000, per_second 1,234.57", "outage: seconds 30.00"])
