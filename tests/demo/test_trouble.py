"""Trouble on demand."""

from __future__ import annotations

import io

from css.demo.screen import Screen
from css.demo.trouble import BACK_SECONDS, Trouble
from css.handlers.tracker import Tracker
from css.peers.cmu_process import Running
from css.peers.platform import PlatformPeers
from tests.peers.world import PeerTestCase


class TroubleTests(PeerTestCase):
    """Two hosts in two rooms; the first has two processes."""

    def setUp(self) -> None:
        super().setUp()
        self.text = io.StringIO()
        self.platform = PlatformPeers(
            self.peers,
            self.clock,
            self.random,
            "pA",
            hosts=("10.1.0.1", "10.1.0.2"),
            rooms={"10.1.0.1": "r1", "10.1.0.2": "r2"},
            licence_key=b"x" * 43 + b"=",
            configs={},
        )
        self.host = self.platform.hosts["10.1.0.1"]
        self.host.add_process("2")
        self.platform.start()
        self.settle()
        self.tracker = Tracker()
        screen = Screen(self.text, colour=False)
        self.trouble = Trouble(self.clock, {"pA": self.platform}, screen, self.tracker)
        self.addCleanup(self.trouble.stop)
        self.addCleanup(self.platform.stop)

    def told(self, kind: str) -> list[tuple[str, str]]:
        """(ip, pid) of the messages of a kind that MCUs have sent."""
        return [(body["ip"], body["pid"]) for body in self.bodies("MAU.MCU.Q", kind)]

    def test_one_process(self) -> None:
        """It dies with its conferences, CSS is told; another one comes in its place."""
        self.host.processes["2"].conferences["1"] = Running("1", "", "", 1, 1)
        self.trouble.kill_mcu("10.1.0.1 2")
        self.settle()
        self.assertEqual((list(self.host.processes), self.told("MCU_MAU_DISCONNECT_NTF")), (["1"], [("10.1.0.1", "2")]))
        self.assertIn("process 2 dies with 1 conferences", self.text.getvalue())
        self.clock.advance(BACK_SECONDS)
        self.settle()
        self.assertEqual((list(self.host.processes), self.host.conferences), (["1", "3"], {}))
        self.assertIn(("10.1.0.1", "3"), self.told("MCU_MAU_CONFLIST_NTF"))

    def test_the_whole_host(self) -> None:
        """All processes die; one that says that it replaces them comes."""
        self.trouble.kill_mcu("10.1.0.1")
        self.settle()
        self.assertEqual((self.host.processes, self.host.running, self.tracker.in_flight), ({}, False, 0))
        with self.assertRaisesRegex(ValueError, "it is dead already"):
            self.trouble.kill_mcu("10.1.0.1")
        self.clock.advance(BACK_SECONDS)
        self.settle()
        self.assertEqual((list(self.host.processes), self.host.running), (["3"], True))
        self.assertTrue(self.host.processes["3"].restarted)

    def test_platform(self) -> None:
        """The PMS tells everybody, and remembers; who is away is known to the others; one platform is left."""
        away: set[str] = set()
        screen = Screen(self.text, colour=False)
        trouble = Trouble(self.clock, {"pA": self.platform, "pB": self.platform}, screen, self.tracker, away)
        trouble.platform_down("a")
        self.settle()
        self.assertEqual((away, self.platform.pms.state_of("pA")), ({"pA"}, "abnormal"))
        with self.assertRaisesRegex(ValueError, "pA is down already"):
            trouble.platform_down("b")
        trouble.platform_up("pA")
        self.assertEqual((away, self.platform.pms.state_of("pA")), (set(), "normal"))
        for text in ("", "x", "p"):
            with self.assertRaisesRegex(ValueError, "give one of the platforms: pA, pB"):
                trouble.platform_down(text)
        self.assertIn("the PMS says that pA is abnormal", self.text.getvalue())

    def test_room(self) -> None:
        """The PMS tells everybody, and remembers."""
        self.trouble.room_down("r2")
        self.settle()
        told = self.bodies("rooms")[-1]
        self.assertEqual(
            (told["roommoid"], told["state"], self.platform.pms.abnormal_rooms), ("r2", "abnormal", {"r2"})
        )
        self.trouble.room_up("r2")
        self.settle()
        self.assertEqual(self.bodies("rooms")[-1]["state"], "normal")
        self.assertEqual(self.platform.pms.abnormal_rooms, set())

    def test_what_is_not_there(self) -> None:
        """The user is told what there is."""
        for text in ("", "10.9.9.9", "x 1"):
            with self.assertRaisesRegex(ValueError, "10.1.0.1, 10.1.0.2"):
                self.trouble.kill_mcu(text)
        with self.assertRaisesRegex(ValueError, "can be killed: 1, 2"):
            self.trouble.kill_mcu("10.1.0.1 9")
        for text in ("", "r9"):
            with self.assertRaisesRegex(ValueError, "r1, r2"):
                self.trouble.room_down(text)

    def test_stop(self) -> None:
        """At the end nobody comes back."""
        self.trouble.kill_mcu("10.1.0.2")
        self.settle()
        self.trouble.stop()
        self.clock.advance(BACK_SECONDS)
        self.assertEqual(self.platform.hosts["10.1.0.2"].processes, {})
