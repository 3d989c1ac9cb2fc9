"""The benchmark of stored conferences, whole, with few of them: what does not depend on the machine must hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from benchmarks.idle import JUDGED
from benchmarks.stored import Result, describe

ROOT = Path(__file__).resolve().parent.parent.parent
MOST_MB = 20.0


class StoredTests(TestCase):
    """`python -m benchmarks.part stored --quick`."""

    timeout = 180

    async def test_quick(self) -> None:
        output = Path(self.mktemp()).absolute()
        command = [sys.executable, "-m", "benchmarks.part", "stored", "--quick", "--json", str(output)]
        ended = await deferToThread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=self.timeout, check=False
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        figures = msgspec.json.decode(output.read_bytes())
        result = msgspec.convert(figures, Result)
        self.assertEqual([each.scans for each in (*result.few_starts, *result.many_starts)], [0, 0], "no full scan")
        self.assertLess(result.more_mb, MOST_MB)
        self.assertLessEqual(set(JUDGED), set(result.few))
        self.assertEqual(set(result.few), set(result.many))
        for cost in (*result.few.values(), *result.many.values()):
            self.assertTrue(0 < cost.total < 10_000, figures)
        self.assertEqual(len(result.spread.pairs), result.plan.turns)
        sums = [sum(cost[name].total for name in JUDGED) for cost in (result.few, result.many)]
        self.assertEqual(result.ratio, sums[1] / sums[0])
        self.assertEqual(len(result.noise.pairs), result.plan.turns - 1)
        self.assertEqual(set(result.by_timer), set(result.few))
        self.assertIn(f"{result.ratio:.2f} times", describe(figures))
