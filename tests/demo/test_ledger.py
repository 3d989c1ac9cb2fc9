"""The demo's account, and what it is compared with."""

from __future__ import annotations

from random import Random

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.bus import MemoryBroker
from css.demo.ledger import Ledger, Line
from css.demo.records import take_up, verified, waiting
from css.domain.conference import Conference, State
from css.peers.cmu import CmuHost


class LedgerTests(SynchronousTestCase):
    """The account tells the truth."""

    def setUp(self) -> None:
        self.ledger = Ledger()
        for number in ("1", "2", "3", "4"):
            self.ledger.asked(Line(number, "a", "name", 1.0))

    def test_all_well(self) -> None:
        for number in ("1", "2", "3"):
            self.ledger.accepted(number, "a", "name")
        self.ledger.rejected("4")
        self.assertTrue(self.ledger.ended("1"))
        self.assertFalse(self.ledger.ended("1"))
        summary = self.ledger.summary(["2", "3"])
        self.assertEqual(summary.text(), "Summary: created 4, answered 4, refused 1, released 1, running 2, lost 0")

    def test_what_waits_to_be_restored_is_not_lost(self) -> None:
        """CSS still has it: the next start restores it."""
        for number in ("1", "2", "3", "4"):
            self.ledger.accepted(number, "a", "name")
        summary = self.ledger.summary(["1", "2", "3"], ["4"])
        self.assertEqual(summary.lost, 0)
        self.assertTrue(summary.text().endswith("running 3, lost 0, waiting to be restored 1"))

    def test_each_kind_of_loss(self) -> None:
        """No answer, no record or MCU, and what CSS itself gave up."""
        for number in ("1", "2", "3"):
            self.ledger.accepted(number, "a", "name")
        self.ledger.ended("1", "lost")
        summary = self.ledger.summary(["2"])
        self.assertEqual(
            summary.text().splitlines(),
            [
                "Summary: created 4, answered 3, refused 0, released 0, running 1, lost 3",
                "never answered: 4",
                "without record or MCU: 3",
            ],
        )

    def test_answer_of_an_earlier_run(self) -> None:
        line = self.ledger.accepted("9", "b", "周会")
        self.assertEqual((line.home, line.confname, self.ledger.answered), ("b", "周会", 0))
        self.assertIn("9", self.ledger)


class RecordTests(SynchronousTestCase):
    """Records and simulated MCUs are compared for what they are."""

    def setUp(self) -> None:
        clock = Clock()
        bus = MemoryBroker(clock, Random(1)).bus("peers")
        self.hosts = {"10.0.0.1": CmuHost(bus, clock, Random(1), "10.0.0.1", "room")}

    def conference(self, e164: str, ip: str = "10.0.0.1", pid: str = "1", state: State = State.ONGOING) -> Conference:
        return Conference(
            e164=e164,
            moid="u",
            source="a",
            platformmoid="a",
            state=state,
            epoch=5,
            first_epoch=5,
            ip=ip,
            pid=pid,
            confname="周会",
        )

    def test_taken_up(self) -> None:
        """Only what runs, on a host that is there; a process of an earlier run comes with it."""
        conferences = [
            self.conference("1"),
            self.conference("2", ip="10.0.0.9"),
            self.conference("3", pid="9"),
            self.conference("4", state=State.CREATING),
        ]
        taken = take_up(conferences, self.hosts)
        self.assertEqual([c.e164 for c in taken], ["1", "3"])
        self.assertEqual(self.hosts["10.0.0.1"].conferences["1"].confname, "周会")
        self.assertEqual(list(self.hosts["10.0.0.1"].processes["9"].conferences), ["3"])
        self.assertEqual(verified(conferences, self.hosts), ["1", "3"])

    def test_waiting(self) -> None:
        """What has run, and does not now; not what has yet to begin."""
        lost = self.conference("1", state=State.PENDING_RESTORE)
        conferences = [msgspec.structs.replace(lost, begintime=5), self.conference("2", state=State.CREATING)]
        self.assertEqual(waiting([*conferences, self.conference("3")]), ["1"])

    def test_another_placement_is_not_it(self) -> None:
        take_up([self.conference("1")], self.hosts)
        self.hosts["10.0.0.1"].conferences["1"].epoch = 4
        self.assertEqual(verified([self.conference("1")], self.hosts), [])
