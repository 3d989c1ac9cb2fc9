"""Names and ends that are changed on demand."""

from __future__ import annotations

import io

from css.demo.changes import Changes
from css.demo.ledger import Ledger, Line
from css.demo.screen import Screen
from css.demo.story import Story
from css.peers.cmu_process import Running
from css.peers.platform import PlatformPeers
from tests.peers.world import PeerTestCase


class ChangeTests(PeerTestCase):
    """One host that runs 0123456."""

    def setUp(self) -> None:
        super().setUp()
        self.text = io.StringIO()
        self.platform = PlatformPeers(
            self.peers, self.clock, self.random, "pA", hosts=("10.1.0.1",), licence_key=b"x" * 43 + b"=", configs={}
        )
        self.platform.start()
        self.addCleanup(self.platform.stop)
        self.settle()
        self.process = next(iter(self.platform.hosts["10.1.0.1"].processes.values()))
        self.process.conferences["0123456"] = Running("0123456", "旧", "", 1, 1)
        screen, ledger = Screen(self.text, colour=False), Ledger()
        ledger.found(Line("0123456", "pA", "旧"))
        self.story = Story(screen, ledger)
        self.story.follow(self.platform)
        self.changes = Changes({"pA": self.platform}, ledger, screen)

    def test_control(self) -> None:
        """The CM's request, and what it is answered."""
        told = (("ACK", "is answered CMU_CM_MUTE_ACK"), ("NACK", "is answered CMU_CM_MUTE_NACK: CONF_NOT_FOUND"))
        for kind, expected in told:
            self.changes.control("0123456 mute")
            self.settle()
            (wish,) = self.bodies("MAU.CMMCU.Q", "CM_CMU_MUTE_REQ")
            self.assertEqual(wish["confE164"], "0123456")
            request = self.received["MAU.CMMCU.Q"].pop()
            answer = {"type": f"CMU_CM_MUTE_{kind}", "confE164": "0123456", "errcode": "CONF_NOT_FOUND"}
            self.publish(("", request.reply_to), answer, correlation_id=request.correlation_id)
            self.settle()
            self.assertIn(expected, self.text.getvalue())
        for text in ("", "0123456", "x mute", "0123456 m-1"):
            with self.assertRaisesRegex(ValueError, "as in: control 0123456 mute"):
                self.changes.control(text)

    def test_rename(self) -> None:
        """The MCU asks CSS for it."""
        self.changes.rename("0123456 新 名")
        self.settle()
        (wish,) = self.bodies("MAU.MCU.Q", "CMU_CM_MODIFYCONFNAME_REQ")
        self.assertEqual((wish["confE164"], wish["confname"]), ("0123456", "新 名"))
        self.assertIn("asks for the name 新 名", self.text.getvalue())

    def test_delay(self) -> None:
        """The CM asks CSS for it; what comes of it is told."""
        self.changes.delay("0123456 30")
        self.settle()
        (wish,) = self.bodies("MAU.CM.Q", "CM_MAU_DELAYCONF_REQ")
        self.assertEqual((wish["confE164"], wish["delay"]), ("0123456", 30))
        notice = ("meeting.mccntf.ex", "meeting.mccntf.k")
        told = {"confE164": "0123456", "endtime": 1_800_000_000, "duration": 90}
        self.publish(notice, {"type": "CM_MAU_CONFDURATION_NTF", **told})
        self.publish(
            notice, {"type": "CM_MAU_DELAYCONF_NACK", "confE164": "1", "mtreqid": "", "errcode": "BAD_REQUEST"}
        )
        self.settle()
        self.assertIn("after 90 minutes in all", self.text.getvalue())
        self.assertIn("can't be delayed: BAD_REQUEST", self.text.getvalue())

    def test_renamed(self) -> None:
        """The locator has heard of it."""
        entry = {
            "confE164": "0123456",
            "confname": "新",
            "conftype": 1,
            "moid": "u",
            "platformmoid": "pA",
            "running": 1,
        }
        self.publish(("UPU.CONF.EX", "UPU.CONF.K"), {"type": "UPU_MOD_CONF_REQ", **entry})
        self.settle()
        self.assertIn("is called 新 now", self.text.getvalue())

    def test_no_good(self) -> None:
        """Said in words."""
        for text in ("", "0123456", "0123456 x", "0123456 0", "x 5"):
            self.assertRaises(ValueError, self.changes.delay, text)
        for text in ("", "0123456", "404 name"):
            self.assertRaises(ValueError, self.changes.rename, text)
