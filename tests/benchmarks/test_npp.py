"""The benchmark of NPPCLIENT's pages, whole, with few conferences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from benchmarks.npp import QUICK, Result, describe
from tests.sources import ROOT


class NppTests(TestCase):
    """`python -m benchmarks.part npp --quick`."""

    timeout = 120

    async def test_quick(self) -> None:
        output = Path(self.mktemp()).absolute()
        command = [sys.executable, "-m", "benchmarks.part", "npp", "--quick", "--json", str(output)]
        ended = await deferToThread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=self.timeout, check=False
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        figures = msgspec.json.decode(output.read_bytes())
        result = msgspec.convert(figures, Result)
        self.assertEqual(result.plan, QUICK)
        for side in (result.npp, result.bare):
            self.assertTrue(0 < side.p50_ms <= side.p99_ms <= side.max_ms < 60_000, figures)
            self.assertTrue(0 < side.cpu_ms < 10_000 and side.pages_per_second > 0, figures)
        self.assertGreater(result.between_p99_ms, 0)
        self.assertIn("times the bare one", describe(figures))
