"""The inbox: bounded, without repeats, made to be waited on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from css.peers.inbox import Inbox, Received
from css.peers.mood import Mood, Verdict


def received(type: str = "T", e164: str = "1", message_id: str = "", **fields: Any) -> Received:
    body = repr(fields).replace("'", '"').encode()
    return Received(type, e164, body, "q", message_id, "", "", {}, 0.0)


class InboxTests(SynchronousTestCase):
    """What is kept and what is told."""

    def test_queries(self) -> None:
        inbox = Inbox()
        for kind, number in (("A", "1"), ("A", "2"), ("B", "1"), ("A", "1")):
            inbox.add(received(kind, number))
        self.assertEqual([inbox.count(), inbox.count("A"), inbox.count(e164="1"), inbox.count("A", "1")], [4, 3, 3, 2])
        self.assertEqual([len(inbox.all()), len(inbox.all("A")), len(inbox.all("A", "1"))], [4, 3, 2])
        self.assertIs(inbox.last("B"), inbox.all()[2])
        self.assertIsNone(inbox.last("C"))

    def test_fields(self) -> None:
        self.assertEqual(received(a=1, b="x").fields, {"a": 1, "b": "x"})

    def test_repeats(self) -> None:
        inbox = Inbox()
        self.assertEqual([inbox.add(received(message_id=name)) for name in ("x", "x", "y", "", "")], [1, 0, 1, 1, 1])
        self.assertEqual((inbox.total, inbox.repeats, inbox.count()), (4, 1, 4))

    def test_bounded(self) -> None:
        inbox = Inbox(limit=3)
        for number in range(10):
            inbox.add(received("T", str(number), message_id=str(number)))
        self.assertEqual([got.e164 for got in inbox.all()], ["7", "8", "9"])
        self.assertEqual((inbox.count("T", "6"), inbox.count("T", "7"), inbox.count("T"), inbox.total), (0, 1, 3, 10))
        self.assertTrue(inbox.add(received("T", "0", message_id="0")))

    def test_wait_for(self) -> None:
        inbox = Inbox()
        second = inbox.wait_for("A", "1", count=2)
        for kind, number in (("A", "1"), ("B", "1"), ("A", "2")):
            inbox.add(received(kind, number))
        self.assertNoResult(second)
        last = received("A", "1")
        inbox.add(last)
        self.assertIs(self.successResultOf(second), last)
        self.assertIs(self.successResultOf(inbox.wait_for("A", "1", count=2)), last)

    def test_wait_cancelled(self) -> None:
        inbox = Inbox()
        waiting = inbox.wait_for("A")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertTrue(inbox.add(received("A")))

    def test_listeners_hear_no_repeats(self) -> None:
        inbox = Inbox()
        heard: list[Received] = []
        inbox.listen(heard.append)
        inbox.add(received(message_id="x"))
        inbox.add(received(message_id="x"))
        self.assertEqual(len(heard), 1)

    def test_clear(self) -> None:
        inbox = Inbox()
        inbox.add(received(message_id="x"))
        inbox.clear()
        self.assertEqual((inbox.count(), inbox.count("T", "1")), (0, 0))
        self.assertTrue(inbox.add(received(message_id="x")))


class MoodTests(SynchronousTestCase):
    """Verdicts in their order."""

    def verdicts(self, mood: Mood, count: int) -> list[Verdict]:
        return [mood.next() for _ in range(count)]

    def test_serves_at_first(self) -> None:
        self.assertEqual(self.verdicts(Mood(), 2), [Verdict.SERVE] * 2)

    def test_times(self) -> None:
        mood = Mood()
        for verb, verdict in (
            (lambda: mood.reject("FULL", 2), Verdict.REJECT),
            (lambda: mood.silent(2), Verdict.IGNORE),
            (lambda: mood.lose_answers(2), Verdict.LOSE_ANSWER),
        ):
            verb()
            self.assertEqual(self.verdicts(mood, 4), [verdict, verdict, Verdict.SERVE, Verdict.SERVE])
        self.assertEqual(mood.errcode, "FULL")

    def test_for_ever_until_resumed(self) -> None:
        mood = Mood()
        mood.silent()
        mood.late(3)
        self.assertEqual(self.verdicts(mood, 5), [Verdict.IGNORE] * 5)
        mood.resume()
        self.assertEqual((self.verdicts(mood, 2), mood.delay_seconds), ([Verdict.SERVE] * 2, 0))

    def test_no_times_is_nothing(self) -> None:
        mood = Mood()
        mood.silent(0)
        self.assertIs(mood.next(), Verdict.SERVE)
