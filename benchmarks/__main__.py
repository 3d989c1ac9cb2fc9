"""All benchmarks on private real servers: `make bench`, or `python -m benchmarks [--quick] [PART ...]`.

Prints a table for each part and writes all figures to `benchmarks/results/`. About seven minutes; a few seconds a part
with `--quick`. The figures are worth something only on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.part import PARTS
from tests.runner import server_set

RESULTS = Path(__file__).resolve().parent / "results"
ROOT = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 600.0


def main() -> int:
    """Run the parts, one after the other. @return: the exit status."""
    options = parsed(sys.argv[1:])
    figures: dict[str, Any] = {}
    with server_set(all_at_once=False) as environment, TemporaryDirectory() as folder:
        for name in options.parts or PARTS:
            output = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", "benchmarks.part", name, "--json", str(output)]
            command += ["--quick"] if options.quick else []
            ended = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **environment}, check=False, timeout=LIMIT_SECONDS
            )
            if ended.returncode:
                print(f"{name} failed with status {ended.returncode}", file=sys.stderr)
                return 1
            figures[name] = msgspec.json.decode(output.read_bytes())
    path = written(figures, options.quick, datetime.now(UTC))
    print(f"\nall figures: {path}")
    return 0


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="a few seconds a part, figures of no worth")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    return options


def written(figures: dict[str, Any], quick: bool, at: datetime, folder: Path = RESULTS) -> Path:
    """Write all figures, with what they were measured on. @return: the file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{at:%Y%m%d-%H%M%S}{'-quick' if quick else ''}.json"
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    content = {"at": at.isoformat(timespec="seconds"), "quick": quick, "machine": machine, **figures}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
