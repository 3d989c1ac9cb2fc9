"""The linters, as tests among the others: they use a core while most tests wait. `make lint` runs them alone."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.sources import ROOT

LIMIT_SECONDS = 300


class Linters(SynchronousTestCase):
    """Nothing is found in the project; what each says is in the failure."""

    def check(self, *arguments: str) -> None:
        """Run a linter that is installed beside this Python, on the whole project."""
        command = [sys.executable, "-m", *arguments]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
        self.assertEqual(ran.returncode, 0, f"{' '.join(arguments)}:\n{ran.stdout}{ran.stderr}")

    def test_ruff(self) -> None:
        """Its rules, those of pyproject.toml."""
        self.check("ruff", "check", ".")

    def test_format(self) -> None:
        """`make format` would change nothing."""
        self.check("ruff", "format", "--check", ".")

    def test_mypy(self) -> None:
        """Types, strict."""
        self.check("mypy")
