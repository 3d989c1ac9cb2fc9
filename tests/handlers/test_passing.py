"""Requests that an MCU has been passed: it is silent, answers late, or CSS dies in between."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from css.handlers import addresses as to
from css.ports.store import Commit
from tests.handlers.controlcase import E164, ControlCase
from tests.handlers.site import CM_NOTICES, CM_REPLIES, Instance, done


class Silence(ControlCase):
    """The MCU does not answer, or not in time."""

    def timed_out(self) -> None:
        """The time-out passes, and is noticed."""
        self.site.pass_seconds(5.1)
        self.css.run(self.css.passed.tick())

    def test_timed_out(self) -> None:
        """MCU_TIMEOUT, once, whichever instance notices; nothing is left."""
        self.control()
        self.timed_out()
        for css in (self.css, Instance(self.site, slot=2)):
            css.run(css.passed.tick())
        self.assertEqual(self.answers(), [self.nack("MCU_TIMEOUT")])
        self.assertEqual(self.site.letters(CM_REPLIES)[0].correlation_id, "cm-7")
        self.assertEqual(self.left(), [])

    def test_not_before(self) -> None:
        """Nor after an answer."""
        self.control()
        self.site.pass_seconds(4.5)
        self.css.run(self.css.passed.tick())
        self.assertEqual(self.answers(), [])
        self.answer(self.passed()[0])
        self.timed_out()
        self.assertEqual(len(self.answers()), 1)

    def test_late(self) -> None:
        """An answer after the NACK is dropped and counted; a repetition of the request gets the NACK."""
        self.control()
        (letter,) = self.passed()
        self.timed_out()
        self.answer(letter)
        self.control()
        self.assertEqual(self.answers(), [self.nack("MCU_TIMEOUT")] * 2)
        self.assertEqual(self.css.tally["answers_not_awaited"], 1)
        self.assertEqual(self.site.letters(CM_NOTICES), [])

    def test_by_a_clock_that_is_wrong(self) -> None:
        """What an instance passes back that was just started, an hour ahead of Redis, is due as soon all the same."""
        self.control()
        (letter,) = self.passed()
        css = self.an_hour_ahead()
        self.site.broker.stop()
        body = {"type": "CMU_CM_MUTE_ACK", "confE164": E164, "mtreqid": "m-7"}
        passed_back = css.begin(body, to.MCU_QUEUE, correlation_id=letter.correlation_id)
        self.site.pass_seconds(6)
        self.successResultOf(passed_back)
        self.site.broker.start()
        self.site.pass_seconds(15)
        css.run(css.sweep.tick())
        self.assertEqual([each["type"] for each in self.answers()], ["CMU_CM_MUTE_ACK"])

    def test_memory_that_cannot_be_read(self) -> None:
        """It keeps no other from being refused, is told of once, and goes when what is remembered does."""
        self.control()
        self.control(message_id="control-2")
        (key,) = [f"css/req/fwd-{each.correlation_id.partition('?')[2]}" for each in self.passed()[:1]]
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={key: "spoilt"})))
        for _ in range(20):
            self.timed_out()
        self.assertEqual((self.answers(), self.css.tally["set_aside"]), ([self.nack("MCU_TIMEOUT")], 1))
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={key: ""})))
        self.site.pass_seconds(600, 10)
        self.timed_out()
        self.assertEqual(self.left(), [])

    def test_no_queue(self) -> None:
        """Silence at once."""
        self.site.broker.delete_queue(self.queue)
        self.control()
        self.assertEqual(self.answers(), [self.nack("MCU_TIMEOUT")])
        self.assertEqual(self.left(), [])

    def test_many(self) -> None:
        """More than one look can claim."""
        for n in range(250):
            self.control(message_id=f"n{n}")
        self.timed_out()
        self.assertEqual(len(self.answers()), 250)

    def test_store_away(self) -> None:
        """Refused when it is back."""
        self.control()
        self.site.store.fail()
        self.site.pass_seconds(5.1)
        self.fails(self.css.passed.tick())
        self.site.store.recover()
        self.timed_out()
        self.assertEqual(self.answers(), [self.nack("MCU_TIMEOUT")])

    def test_its_memory_has_expired(self) -> None:
        """All instances were down for longer: nobody is answered, nothing is left."""
        self.control()
        self.site.pass_seconds(601, 1)
        self.css.run(self.css.passed.tick())
        self.assertEqual(self.answers(), [])
        self.assertEqual(self.left(), [])


class Crashes(ControlCase):
    """The instance dies between two steps; another one has the outbox and the redelivered message."""

    def die_at(self, step: str, point: str, work: Any) -> None:
        """The instance is gone from a point on."""

        class Died(Exception):
            pass

        def die(at: str, where: str) -> None:
            if (at, where) == (step, point):
                raise Died

        self.css.on_point = die
        work()
        self.flushLoggedErrors(Died)
        self.css.on_point = lambda step, point: None
        self.css = Instance(self.site, slot=2)

    def begun(self) -> Deferred[None]:
        """Hand the request over, whatever comes of it."""
        begun = self.css.begin(self.body(), to.CONTROL_QUEUE, **self.marks())
        return begun.addErrback(lambda _: None)

    def survived(self) -> None:
        """In the end the MCU has got it, and the CM its answer."""
        self.control(redelivered=True)
        self.site.pass_seconds(1.1)
        self.css.run(self.css.sweep.tick())
        (letter,) = {each.message_id: each for each in self.passed()}.values()
        self.answer(letter)
        self.assertEqual(len({each.message_id for each in self.site.letters(CM_REPLIES)}), 1)
        self.assertEqual(self.left(), [])

    def test_before_the_commit(self) -> None:
        self.die_at("pass", "before_commit", self.begun)
        self.assertEqual(self.passed(), [])
        self.survived()

    def test_after_the_commit(self) -> None:
        self.die_at("pass", "after_commit", self.begun)
        self.assertEqual(self.passed(), [])
        self.survived()

    def test_after_the_confirm(self) -> None:
        self.die_at("pass", "after_confirm", self.begun)
        self.assertEqual(len(self.passed()), 1)
        self.survived()

    def test_with_the_answer(self) -> None:
        """After the commit of the answer: the sweep gives it, the redelivered one is dropped."""
        self.control()
        (letter,) = self.passed()

        def answered() -> None:
            body = {"type": "CMU_CM_MUTE_ACK", "confE164": E164}
            taken = self.css.begin(body, to.MCU_QUEUE, correlation_id=letter.correlation_id)
            _ = taken.addErrback(lambda _: None)

        self.die_at("pass_back", "after_commit", answered)
        self.assertEqual(self.answers(), [])
        self.answer(letter)
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        self.assertEqual(len(self.answers()), 1)
