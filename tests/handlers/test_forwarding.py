"""What runs on another platform is controlled and ended there, and answered on the broker it was asked on (2.3.3)."""

from __future__ import annotations

import json
from typing import Any

from css.handlers import addresses as to
from css.ports.bus import Outgoing
from css.ports.store import Commit
from tests.handlers.controlcase import E164, FORWARDED, PEER_CSS, ControlCase
from tests.handlers.site import CM_NOTICES, CM_REPLIES, PARKED, Instance, done, release


class Forwarded(ControlCase):
    """What runs on another platform goes to its CSS, once."""

    def setUp(self) -> None:
        super().setUp()
        self.move(platformmoid="pB")

    def test_as_it_came(self) -> None:
        """Body and properties are kept; origin and hop are added. No MCU has it; where it went is kept."""
        before = self.site.store.dump()
        self.control()
        (letter,) = self.there(PEER_CSS)
        self.assertEqual(letter.body, self.body())
        kept = (letter.message_id, letter.correlation_id, letter.reply_to)
        self.assertEqual(kept, ("control-1", "cm-7", CM_REPLIES))
        self.assertEqual(letter.headers, {"x-css-origin": "pA", "x-css-hop": 1})
        self.assertEqual((self.passed(), self.answers()), ([], []))
        after = self.site.store.dump()
        (trail,) = after.keys() - before.keys()
        self.assertTrue(trail.endswith("@"), trail)
        self.assertEqual({key: after[key] for key in before}, before)

    def test_notices_too(self) -> None:
        for kind in ("NTF", "CMD", "ACK"):
            self.control(kind)
        self.assertEqual(len(self.there(PEER_CSS)), 3)

    def test_unreachable(self) -> None:
        """Refused at once; a repetition gets the same, though the link is back; a notice is dropped and counted."""
        self.site.other_broker.stop()
        self.control()
        self.control("NTF")
        self.assertEqual(self.answers(), [self.nack("UNREACHABLE_PLATFORM")])
        self.assertEqual(self.css.tally["controls_dropped"], 1)
        self.site.other_broker.start()
        self.site.pass_seconds(5)
        self.control()
        self.assertEqual(self.answers(), [self.nack("UNREACHABLE_PLATFORM")] * 2)
        self.assertEqual(self.there(PEER_CSS), [])

    def test_never_heard_of(self) -> None:
        """A platform that no list names, or whose CSS never ran."""
        self.site.other_broker.delete_queue(PEER_CSS)
        self.control()
        self.move(platformmoid="pX")
        self.control(message_id="control-2")
        self.assertEqual(self.answers(), [self.nack("UNREACHABLE_PLATFORM")] * 2)

    def lose_in_mid_way(self, kind: str = "REQ") -> None:
        """The other broker takes no notice, and then the link is gone."""
        self.site.other_broker.hang()
        forwarding = self.css.begin(self.body(kind), to.CONTROL_QUEUE, **self.marks())
        self.assertNoResult(forwarding)
        self.site.other_broker.stop()
        self.site.pass_seconds(1)
        self.successResultOf(forwarding)

    def tick(self, *instances: Instance) -> None:
        """Each looks for what is to be sent again."""
        for css in instances or (self.css,):
            css.run(css.doubtful.tick())

    def test_link_lost_in_mid_way(self) -> None:
        """Nobody is refused whose request may have got there: it is sent again with the same id, by any instance."""
        self.lose_in_mid_way()
        self.site.pass_seconds(20)
        self.tick()
        self.assertEqual(self.answers(), [])
        self.site.other_broker.resume()
        self.site.other_broker.start()
        self.site.pass_seconds(30)
        self.tick(self.css, Instance(self.site, slot=2))
        self.site.pass_seconds(60)
        self.tick()
        self.assertEqual([each.message_id for each in self.there(PEER_CSS)], ["control-1"])
        self.assertEqual(self.there(PEER_CSS)[0].headers, {"x-css-origin": "pA", "x-css-hop": 1})
        self.assertEqual((self.answers(), self.left()), ([], []))

    def test_link_stays_lost(self) -> None:
        """It is given up after a minute, and refused once, even if the instance dies before it has noted that."""
        self.lose_in_mid_way()
        self.site.pass_seconds(58)
        self.tick()
        self.assertEqual(self.answers(), [])
        self.site.pass_seconds(3)
        self.tick(self.css, Instance(self.site, slot=2))
        self.assertEqual(self.answers(), [self.nack("UNREACHABLE_PLATFORM")])
        self.site.other_broker.resume()
        self.site.other_broker.start()
        self.site.pass_seconds(40)
        self.tick()
        self.assertEqual((self.there(PEER_CSS), self.left()), ([], []))

    def test_link_back_before_anybody_looks(self) -> None:
        """Nobody was there to send it for more than a minute: with a link it is sent, not refused beside its answer."""
        self.lose_in_mid_way()
        self.site.other_broker.resume()
        self.site.other_broker.start()
        self.site.pass_seconds(300, 10)
        self.tick(Instance(self.site, slot=2))
        self.assertEqual([each.message_id for each in self.there(PEER_CSS)], ["control-1"])
        self.assertEqual((self.answers(), self.left()), ([], []))

    def test_link_back_too_late(self) -> None:
        """The other platform may have forgotten it, and would do it a second time: refused, in spite of the link."""
        self.lose_in_mid_way()
        self.site.other_broker.resume()
        self.site.other_broker.start()
        self.site.pass_seconds(540, 10)
        self.tick()
        self.assertEqual(self.answers(), [self.nack("UNREACHABLE_PLATFORM")])
        self.assertEqual((self.there(PEER_CSS), self.left()), ([], []))

    def test_memory_that_cannot_be_read(self) -> None:
        """It is told of once, and goes when what is remembered does."""
        self.lose_in_mid_way()
        (key,) = (each for each in self.site.store.dump() if each.startswith("css/req/fwd-"))
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={key: "spoilt"})))
        for _ in range(20):
            self.site.pass_seconds(2, 1)
            self.tick()
        self.assertEqual((self.answers(), self.css.tally["set_aside"]), ([], 1))
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={key: ""})))
        self.site.pass_seconds(600, 10)
        self.tick()
        self.assertEqual(self.left(), [])

    def dies_at(self, point: str) -> None:
        """An instance looks for what is to be sent again, and stops for ever at a point of that."""

        def die(step: str, reached: str) -> None:
            if (step, reached) == ("doubtful", point):
                raise SystemError("killed")

        other = Instance(self.site, slot=2)
        other.on_point = die
        other.run(other.doubtful.tick())
        self.assertEqual(len(self.flushLoggedErrors(SystemError)), 1)

    def test_killed_as_it_is_sent_again(self) -> None:
        """Another instance sends it again, with the same id; once that is known it is sent no more."""
        for point, times in (("before_publish", 1), ("after_confirm", 2)):
            self.lose_in_mid_way()
            self.site.other_broker.resume()
            self.site.other_broker.start()
            self.site.pass_seconds(5)
            before = len(self.there(PEER_CSS))
            self.dies_at(point)
            self.assertEqual(len(self.there(PEER_CSS)) - before, times - 1)
            self.site.pass_seconds(2)
            self.tick()
            self.site.pass_seconds(70, 1)
            self.tick()
            self.assertEqual([each.message_id for each in self.there(PEER_CSS)[before:]], ["control-1"] * times)
            self.assertEqual((self.answers(), self.left()), ([], []))

    def test_killed_as_it_is_refused(self) -> None:
        """With one answer, whoever dies."""
        self.lose_in_mid_way()
        self.site.pass_seconds(61, 1)
        for point, answered in (("before_publish", 0), ("after_confirm", 1)):
            self.dies_at(point)
            self.assertEqual(len(self.answers()), answered)
            self.site.pass_seconds(2)
        self.tick()
        # The request was answered, and whoever looks again repeats that: same id, same answer.
        self.assertEqual({json.dumps(each) for each in self.answers()}, {json.dumps(self.nack("UNREACHABLE_PLATFORM"))})
        self.assertEqual(len({each.message_id for each in self.site.letters(CM_REPLIES)}), 1)
        self.assertNotIn("css/index/doubtful", self.site.store.dump())

    def test_comes_again_without_a_link(self) -> None:
        """Whoever had it before may have died after it got there: it is sent again as if its fate were unknown."""
        self.control()
        self.site.other_broker.stop()
        self.control(redelivered=True)
        self.assertEqual(self.answers(), [])
        self.site.other_broker.start()
        self.site.pass_seconds(5)
        self.tick()
        self.assertEqual([each.message_id for each in self.there(PEER_CSS)], ["control-1"] * 2)
        self.assertEqual((self.answers(), self.left()), ([], []))

    def test_a_notice_comes_again_without_a_link(self) -> None:
        """Dropped: nobody awaits an answer."""
        self.site.other_broker.stop()
        self.control("NTF", redelivered=True)
        self.assertEqual((self.css.tally["controls_dropped"], self.left()), (1, []))

    def test_a_notice_in_mid_way(self) -> None:
        """Sent again as long; nobody is told that it was given up."""
        self.lose_in_mid_way("NTF")
        self.site.pass_seconds(61)
        self.tick()
        self.assertEqual((self.answers(), self.left(), self.css.tally["forwards_failed"]), ([], [], 1))

    def test_an_answer_without_a_link(self) -> None:
        """What a CM says once waits for the link; what it may say again does not."""
        self.site.other_broker.stop()
        self.control("ACK")
        self.control("CMD", message_id="control-2")
        self.site.other_broker.start()
        self.site.pass_seconds(5)
        self.tick()
        self.assertEqual([each.message_id for each in self.there(PEER_CSS)], ["control-1"])
        self.assertEqual(self.left(), [])

    def test_in_mid_way_without_a_store(self) -> None:
        """What can't be kept is not acknowledged."""
        self.site.store.fail()
        letter = Outgoing(*to.TO_PEER_CSS, self.body(), "control-1")
        self.fails(self.css.doubtful.keep(E164, "pB", letter, None))
        self.fails(self.css.doubtful.tick())

    def test_only_once(self) -> None:
        """With a hop it is refused instead, to the requester on its own broker; a notice is dropped."""
        self.control(headers=FORWARDED)
        self.control("NTF", headers=FORWARDED)
        (answer,) = self.there(CM_REPLIES)
        self.assertEqual(json.loads(answer.body), self.nack("CONF_NOT_RUNNING"))
        self.assertEqual((answer.correlation_id, self.there(PEER_CSS), self.answers()), ("cm-7", [], []))

    def test_not_running_there(self) -> None:
        """Nobody is asked who can't know more."""
        self.move(state="pending_restore")
        self.control()
        self.assertEqual(self.answers(), [self.nack("CONF_NOT_RUNNING")])
        self.assertEqual(self.there(PEER_CSS), [])


class FromElsewhere(ControlCase):
    """What another platform's CSS has forwarded, and runs here."""

    def test_answered_there(self) -> None:
        """In the requester's own queue on its own broker."""
        self.control(headers=FORWARDED)
        body = self.answer(self.passed()[0])
        self.assertEqual([(each.body, each.correlation_id) for each in self.there(CM_REPLIES)], [(body, "cm-7")])
        self.assertEqual(self.site.letters(CM_REPLIES), [])

    def test_silence(self) -> None:
        self.control(headers=FORWARDED)
        self.site.pass_seconds(5.1)
        self.css.run(self.css.passed.tick())
        self.assertEqual([json.loads(each.body) for each in self.there(CM_REPLIES)], [self.nack("MCU_TIMEOUT")])

    def test_without_reply_to(self) -> None:
        """Among the notifications of the CM there."""
        self.control(headers=FORWARDED, reply_to="")
        self.answer(self.passed()[0])
        self.assertEqual(len(self.there(CM_NOTICES)), 1)
        self.assertEqual(self.site.letters(CM_NOTICES), [])

    def test_no_record(self) -> None:
        """CONF_NOT_FOUND, there."""
        self.ended(self.request)
        self.control(headers=FORWARDED)
        self.assertEqual([json.loads(each.body) for each in self.there(CM_REPLIES)], [self.nack("CONF_NOT_FOUND")])

    def test_again(self) -> None:
        """Repeated there."""
        self.control(headers=FORWARDED)
        self.answer(self.passed()[0])
        self.control(headers=FORWARDED)
        first, second = self.there(CM_REPLIES)
        self.assertEqual(first, second)
        self.assertEqual(len(self.passed()), 1)

    def test_bad(self) -> None:
        """Parked here, refused there."""
        body = {"type": "CM_CMU_MUTE_REQ", "mtreqid": "m-7"}
        self.css.take(body, to.CONTROL_QUEUE, **self.marks(), headers=FORWARDED)
        self.assertEqual([json.loads(each.body)["errcode"] for each in self.there(CM_REPLIES)], ["BAD_REQUEST"])
        self.assertEqual((self.answers(), len(self.site.letters(PARKED))), ([], 1))

    def test_bad_and_link_away(self) -> None:
        """Parked; it never was a request that CSS has taken."""
        self.site.other_broker.stop()
        body = {"type": "CM_CMU_MUTE_REQ", "mtreqid": "m-7"}
        self.css.take(body, to.CONTROL_QUEUE, **self.marks(), headers=FORWARDED)
        self.assertEqual((self.answers(), len(self.site.letters(PARKED))), ([], 1))
        self.assertEqual(self.css.tally["refusals_lost"], 1)

    def test_link_away(self) -> None:
        """The answer waits, and goes when the link is back."""
        self.control(headers=FORWARDED)
        self.site.other_broker.stop()
        self.answer(self.passed()[0])
        self.control(headers=FORWARDED)
        self.site.other_broker.start()
        self.site.pass_seconds(5)
        self.css.run(self.css.sweep.tick())
        self.assertEqual(len({each.message_id for each in self.there(CM_REPLIES)}), 1)
        self.assertEqual(self.left(), [])


class Releases(ControlCase):
    """The end of what runs on another platform."""

    def end(self, **more: Any) -> None:
        """The CM ends it."""
        marks = {"message_id": "end", "reply_to": CM_REPLIES, "correlation_id": "c-2"}
        self.css = Instance(self.site, slot=2)  # one that has not seen the record before it was moved
        self.css.take(release(), **(marks | more))

    def test_forwarded(self) -> None:
        """As any request; nothing ends here."""
        self.move(platformmoid="pB")
        self.end()
        (letter,) = self.there(PEER_CSS)
        self.assertEqual((letter.message_id, letter.reply_to, letter.headers["x-css-hop"]), ("end", CM_REPLIES, 1))
        self.assertEqual((self.answers(), self.state_of()), ([], "ongoing"))

    def test_unreachable(self) -> None:
        self.move(platformmoid="pB")
        self.site.other_broker.stop()
        self.end()
        self.assertEqual(self.errcodes(), ["UNREACHABLE_PLATFORM"])
        self.assertEqual(self.state_of(), "ongoing")

    def test_comes_again_without_a_link(self) -> None:
        """As any request: it may have got there."""
        self.move(platformmoid="pB")
        self.end()
        self.site.other_broker.stop()
        self.end(redelivered=True)
        self.assertEqual((self.answers(), self.css.tally["forwards_in_doubt"]), ([], 1))

    def test_only_once(self) -> None:
        self.move(platformmoid="pB")
        self.end(headers=FORWARDED)
        self.assertEqual([json.loads(each.body)["errcode"] for each in self.there(CM_REPLIES)], ["CONF_NOT_RUNNING"])
        self.assertEqual(self.there(PEER_CSS), [])

    def test_from_elsewhere(self) -> None:
        """It runs here: ended, and answered there, once more when asked once more."""
        self.end(headers=FORWARDED)
        self.end(headers=FORWARDED)
        types = [json.loads(each.body)["type"] for each in self.there(CM_REPLIES)]
        self.assertEqual(types, ["MAU_CM_RELEASECONF_ACK"] * 2)
        self.assertEqual((self.answers(), self.state_of()), ([], ""))

    def test_waits_to_be_restored(self) -> None:
        """It runs nowhere: ended by whoever is asked."""
        self.move(platformmoid="pB", state="pending_restore")
        self.end()
        self.assertEqual([body["type"] for body in self.answers()], ["MAU_CM_RELEASECONF_ACK"])
        self.assertEqual(self.state_of(), "")
