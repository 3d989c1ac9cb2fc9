"""How recoveries are told."""

from __future__ import annotations

import io

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.ledger import MemoryLedger
from css.adapters.memory.server import MemoryServer
from css.demo.recoveries import Recoveries
from css.demo.screen import Screen
from css.ports.ledger import LedgerStep, Recovery
from tests.handlers.site import done


class RecoveriesTests(SynchronousTestCase):
    """One platform's ledger."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.ledger = MemoryLedger(MemoryServer(self.clock))
        self.text = io.StringIO()
        self.recoveries = Recoveries({"pA": self.ledger}, Screen(self.text, colour=False))

    def open(self, name: str = "mcu:1") -> None:
        done(self.ledger.open(Recovery(name, "mcu", "10.1.0.1:1", "it fell silent", 1_000)))

    def note(self, e164: str, mark: str, text: str, planned: bool = False, settled: bool = False) -> None:
        step = LedgerStep("mcu:1", e164, mark, 1_000 + int(mark) * 500, text, planned, settled)
        done(self.ledger.note([step]))

    def told(self) -> list[str]:
        """What a round tells, without time and platform."""
        self.text.seek(0)
        self.text.truncate()
        done(self.recoveries.tick())
        return [line.split("platform", 1)[-1][22:] for line in self.text.getvalue().splitlines()]

    def test_step_by_step(self) -> None:
        """Each step once, then the end."""
        self.open()
        self.note("1", "1", "it has gone", planned=True)
        self.assertEqual(self.told(), ["          recovery begins: it fell silent", "1         it has gone"])
        self.assertEqual(self.told(), [])
        self.note("1", "2", "RMS is asked")
        self.note("1", "3", "restored on 10.1.0.2", settled=True)
        over = "recovery of mcu 10.1.0.1:1 is over after 1.5 s: 1 of 1 conferences are restored or have ended"
        self.assertEqual(self.told(), ["1         RMS is asked", "1         restored on 10.1.0.2", f"          {over}"])
        self.assertEqual(self.told(), [])

    def test_one_that_goes_on(self) -> None:
        """Another conference joins after the end."""
        self.open()
        self.note("1", "1", "restored", planned=True, settled=True)
        self.assertEqual(len(self.told()), 3)
        self.note("2", "2", "it has gone", planned=True)
        self.assertEqual(self.told(), ["2         it has gone"])

    def test_earlier_runs(self) -> None:
        """What was over at the beginning is not told; what was under way is."""
        self.open()
        self.note("1", "1", "restored", planned=True, settled=True)
        done(self.recoveries.begin())
        self.note("2", "2", "it has gone", planned=True)
        self.assertEqual(len(self.told()), 3)

    def test_one_without_conferences(self) -> None:
        """Two instances noticed the same; one of them took it all. Nothing is told of the other's entry."""
        self.open()
        self.assertEqual(self.told(), [])

    def test_operators(self) -> None:
        """What was done with `cssctl`."""
        entry = Recovery("operator:pause:1", "operator", "pause", "li: why", 1_000, ended_ms=1_000)
        done(self.ledger.open(entry))
        self.assertEqual(self.told(), ["          operator li: why: pause"])
        self.assertEqual(self.told(), [])
