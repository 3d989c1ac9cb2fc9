"""Percentiles, sums, tables."""

from __future__ import annotations

import contextlib
import io
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.__main__ import parsed, written
from benchmarks.figures import Ratio, Run, Side, cpu_seconds, percentile, ratio_of, ready_seconds, summed, table


class PercentileTests(SynchronousTestCase):
    """`percentile`."""

    def test_nearest_rank(self) -> None:
        values = [float(each) for each in range(100, 0, -1)]
        self.assertEqual([percentile(values, each) for each in (0, 1, 50, 99, 99.5, 100)], [1, 1, 50, 99, 100, 100])

    def test_few_values(self) -> None:
        self.assertEqual(percentile([7.0], 99), 7.0)
        self.assertEqual(percentile([2.0, 1.0, 3.0], 50), 2.0)

    def test_no_values(self) -> None:
        self.assertRaises(ValueError, percentile, [], 50)


class SumTests(SynchronousTestCase):
    """`summed`."""

    def test_all_stretches_count(self) -> None:
        side = summed([Run(100, 1.0, 0.1, 0.5), Run(300, 1.0, 0.1, 1.0)])
        self.assertEqual(side, Side(creates_per_second=200.0, cpu_us_per_create=500.0, busy=0.1, ready=0.75))


class RatioTests(SynchronousTestCase):
    """`ratio_of`."""

    def test_median_and_spread(self) -> None:
        pairs = [2.0, 9.0, 1.0, 2.5, 3.0, 2.2, 1.5]
        self.assertEqual(ratio_of(pairs), Ratio(2.2, 1.0, 9.0, (1.5, 3.0), pairs))

    def test_of_one(self) -> None:
        self.assertEqual(ratio_of([2.0]), Ratio(2.0, 2.0, 2.0, (2.0, 2.0), [2.0]))


class CpuTests(SynchronousTestCase):
    """`cpu_seconds`."""

    def test_grows_with_work(self) -> None:
        before = cpu_seconds(os.getpid())
        while cpu_seconds(os.getpid()) < before + 0.05:
            sum(range(10_000))
        times = os.times()
        self.assertApproximates(cpu_seconds(os.getpid()), times.user + times.system, 0.05)

    def test_of_no_process(self) -> None:
        """Linux has no process of this number, nor of a greater one."""
        self.assertRaises(ProcessLookupError, cpu_seconds, 4_194_304)

    def test_ready_while_it_works(self) -> None:
        ready, began = ready_seconds(os.getpid()), time.monotonic()
        while time.monotonic() < began + 0.2:
            sum(range(10_000))
        self.assertApproximates(ready_seconds(os.getpid()) - ready, time.monotonic() - began, 0.05)

    def test_not_ready_while_it_sleeps(self) -> None:
        ready = ready_seconds(os.getpid())
        time.sleep(0.2)
        self.assertLess(ready_seconds(os.getpid()) - ready, 0.1)


class TableTests(SynchronousTestCase):
    """`table`."""

    def test_columns(self) -> None:
        lines = table(["who", "n", "µs"], [["CSS", 12345.6, 1.234], ["relay", 7, 12.34]]).split("\n")
        self.assertEqual(lines, ["who         n    µs", "CSS    12,346  1.23", "relay       7  12.3"])


class CommandTests(SynchronousTestCase):
    """What `python -m benchmarks` takes and writes."""

    def test_parts(self) -> None:
        self.assertEqual((parsed([]).parts, parsed([]).quick), ([], False))
        self.assertEqual((parsed(["--quick", "store"]).parts, parsed(["--quick"]).quick), (["store"], True))

    def test_unknown_part(self) -> None:
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertRaises(SystemExit, parsed, ["speed"])
        self.assertIn("no such part: speed", said.getvalue())

    def test_written(self) -> None:
        folder = Path(self.mktemp())
        path = written({"store": {"load": 1}}, True, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), folder)
        content = msgspec.json.decode(path.read_bytes())
        self.assertEqual((path.name, content["store"]), ("20260102-030405-quick.json", {"load": 1}))
        self.assertEqual((content["at"], content["quick"]), ("2026-01-02T03:04:05+00:00", True))
