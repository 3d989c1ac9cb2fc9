"""What happens in the demo by itself, and how it is told."""

from __future__ import annotations

import io
import re
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.demo.layout import CEILING
from css.demo.ledger import Ledger, Line
from css.demo.screen import Screen
from css.demo.story import Story
from css.demo.traffic import Traffic
from css.peers.inbox import Inbox, Received


class _Cm:
    """Takes requests, answers as told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.answers: list[Deferred[dict[str, Any]]] = []

    def create(self, e164: str, name: str, moid: str, duration: int) -> Deferred[dict[str, Any]]:
        return self._ask("create", e164, name, moid)

    def release(self, e164: str) -> Deferred[dict[str, Any]]:
        return self._ask("release", e164)

    def _ask(self, *request: str) -> Deferred[dict[str, Any]]:
        self.asked.append(request)
        self.answers.append(Deferred())
        return self.answers[-1]


class TrafficTests(SynchronousTestCase):
    """What happens by itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ledger = Ledger()
        self.screen = io.StringIO()
        self.cms: dict[str, Any] = {"platform-a": _Cm(), "platform-b": _Cm()}
        screen = Screen(self.screen, colour=False)
        self.away: set[str] = set()
        self.traffic = Traffic(self.clock, Random(1), self.cms, self.ledger, screen, self.away)
        self.inbox = Inbox()
        Story(screen, self.ledger).follow_cm("platform-a", self.inbox)

    def answer_all(self) -> None:
        for e164 in list(self.ledger.unanswered):
            self.ledger.accepted(e164, "platform-a", "")

    def test_a_platform_is_away(self) -> None:
        """The CM of the other one asks for its conferences, and has them released."""
        self.away.add("platform-a")
        numbers = [self.traffic.create() for _ in range(2)]
        self.assertEqual((len(self.cms["platform-a"].asked), len(self.cms["platform-b"].asked)), (0, 2))
        homes = {line.home for line in self.ledger.unanswered.values()}
        self.assertEqual(homes, {"platform-a", "platform-b"})
        for e164 in numbers:
            self.traffic.release(e164)
        self.assertEqual((len(self.cms["platform-a"].asked), len(self.cms["platform-b"].asked)), (0, 4))
        self.away.clear()
        self.traffic.create()
        self.assertEqual(len(self.cms["platform-a"].asked), 1)

    def test_ceiling(self) -> None:
        """It stays near the ceiling, with conferences coming and going, on both platforms."""
        self.traffic.start()
        for _ in range(200):
            self.clock.advance(0.7)
            self.answer_all()
            for cm in self.cms.values():
                answers, cm.answers = cm.answers, []
                requests = cm.asked[-len(answers) :] if answers else []
                for request, answer in zip(requests, answers, strict=True):
                    answer.callback({"type": f"MAU_CM_{request[0].upper()}CONF_ACK"})
            self.assertLessEqual(len(self.ledger.running), CEILING)
        self.traffic.stop()
        self.assertGreater(len(self.ledger.running), CEILING - 5)
        self.assertGreater(self.ledger.released, 50)
        numbers = [request[1] for cm in self.cms.values() for request in cm.asked if request[0] == "create"]
        self.assertEqual(len(numbers), len(set(numbers)))
        self.assertTrue(all(re.fullmatch(r"0\d{6}", number) for number in numbers))
        self.assertTrue(all(cm.asked for cm in self.cms.values()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence_does_not_pile_up(self) -> None:
        """Without answers no more than the ceiling is asked for."""
        for _ in range(100):
            self.traffic.step()
        self.assertEqual(self.ledger.created, CEILING)

    def test_release_goes_where_it_was_asked_for(self) -> None:
        self.ledger.found(Line("7", "platform-b", "name"))
        self.traffic.release("7")
        self.traffic.release("8")
        self.assertEqual(
            (self.cms["platform-b"].asked, self.cms["platform-a"].asked), ([("release", "7")], [("release", "8")])
        )

    def test_released_when_acknowledged(self) -> None:
        for type, running in (("MAU_CM_RELEASECONF_NACK", True), ("MAU_CM_RELEASECONF_ACK", False)):
            self.ledger.found(Line("7", "platform-a", "name"))
            self.traffic.release("7")
            self.cms["platform-a"].answers[-1].callback({"type": type})
            self.assertIs("7" in self.ledger, running)

    def heard(self, type: str, **fields: Any) -> None:
        body = msgspec.json.encode(fields)
        self.inbox.add(Received(type, "7", body, "q", "", "", "", {}, 3.5))

    def test_story(self) -> None:
        """Each answer and notice in one line, and in the ledger."""
        self.ledger.asked(Line("7", "platform-a", "name", 3.25))
        self.heard("MAU_CM_CREATECONF_ACK", confname="name", ip="10.1.0.1")
        self.assertIn("runs on MCU 10.1.0.1, answered in 250 ms", self.screen.getvalue())
        self.heard("MAU_CM_RELEASECONF_NTF", reason="lost")
        self.assertIn("is LOST", self.screen.getvalue())
        self.assertEqual(self.ledger.lost_by_notice, 1)
        self.ledger.asked(Line("7", "platform-a", "name", 3.25))
        self.heard("MAU_CM_CREATECONF_NACK", errcode="NO_RESOURCE")
        self.assertIn("is refused: NO_RESOURCE", self.screen.getvalue())
        self.assertEqual((self.ledger.refused, self.ledger.unanswered), (1, {}))
