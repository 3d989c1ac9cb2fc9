"""Runs the scenarios with the literal figures of the requirements: `python -m tests.soak [trial's arguments]`.

One test at a time, so that figures are not disturbed, on one set of private servers. What tests have measured is
printed at the end, and kept in the file that `CSS_FIGURES` names, if it is set. Exit status 0: none failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.scale import SOAK_VARIABLE
from tests.scenarios.figures import VARIABLE, lines, noted

SOAKED = ("tests.scenarios",)
LIMIT_SECONDS = 6 * 3600
"""A soak that takes longer is ended, and has failed."""


def soak_environment(figures: Path) -> dict[str, str]:
    """What to add to the environment of the runner."""
    limit = os.environ.get("CSS_TEST_LIMIT_SECONDS", str(LIMIT_SECONDS))
    return {SOAK_VARIABLE: "1", VARIABLE: str(figures), "CSS_TEST_LIMIT_SECONDS": limit}


def runner_command(arguments: list[str]) -> list[str]:
    """How to run the tests; names among the arguments take the place of all scenarios."""
    named = any(not argument.startswith("-") for argument in arguments)
    return [sys.executable, "-m", "tests.runner", "--jobs=1", *arguments, *(() if named else SOAKED)]


def main(arguments: list[str]) -> int:
    """Run, print the figures, and give the exit status."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="css-soak-") as folder:
        figures = Path(os.environ.get(VARIABLE) or Path(folder, "figures"))
        figures.unlink(missing_ok=True)
        try:
            status = subprocess.call(runner_command(arguments), env={**os.environ, **soak_environment(figures)})
        except KeyboardInterrupt:  # the runner had it too, and has ended its servers
            status = 130
        print("\nMeasured:", *lines(noted(figures)), f"soak: {time.monotonic() - began:,.0f} s", sep="\n", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
