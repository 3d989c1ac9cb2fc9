"""The benchmark of creates, whole, with a few creates: CSS and the relay on real servers, each in its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import msgspec
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from benchmarks.creates import Result, describe

ROOT = Path(__file__).resolve().parent.parent.parent


class CreatesTests(TestCase):
    """`python -m benchmarks.part creates --quick`."""

    timeout = 120

    async def test_quick(self) -> None:
        output = Path(self.mktemp()).absolute()
        command = [sys.executable, "-m", "benchmarks.part", "creates", "--quick", "--json", str(output)]
        ended = await deferToThread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=self.timeout, check=False
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        figures = msgspec.json.decode(output.read_bytes())
        result = msgspec.convert(figures, Result)
        for side in (result.css, result.relay):
            self.assertTrue(0 < side.busy <= 2.5 and 0 < side.ready <= 1.1 and side.creates_per_second > 1, figures)
            self.assertTrue(10 < side.cpu_us_per_create < 100_000, figures)
        for latency in (result.css_latency, result.relay_latency):
            self.assertTrue(0 < latency.p50_ms <= latency.p99_ms <= latency.max_ms, figures)
        pairs = [
            css.cpu_seconds / relay.cpu_seconds for css, relay in zip(result.css_runs, result.relay_runs, strict=True)
        ]
        self.assertEqual((len(pairs), result.spread.pairs), (result.plan.rounds, pairs))
        self.assertEqual(result.ratio, median(pairs))
        self.assertIn(f"{result.ratio:.2f} times", describe(figures))
