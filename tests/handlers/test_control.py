"""Control of running conferences, passed through in both directions (seed 2.3.3, 5.1, 10), and refused."""

from __future__ import annotations

import json
from typing import Any

from css.domain.conference import Conference
from css.domain.errors import ErrCode
from css.handlers import addresses as to
from css.messages.control import CmRequest
from css.ports.bus import TryLater
from css.ports.store import IConferenceStore, StoreError
from tests.handlers.controlcase import CM_REQUESTS, E164, ControlCase
from tests.handlers.site import CM_NOTICES, CM_REPLIES, PARKED, Instance, create


class PassedOn(ControlCase):
    """What runs here."""

    def test_to_the_process_and_back(self) -> None:
        """Byte for byte, under an id of CSS's own; the answer, byte for byte, under the CM's."""
        self.control()
        (letter,) = self.passed()
        self.assertEqual((letter.body, letter.reply_to), (self.body(), to.MCU_QUEUE))
        self.assertNotIn(letter.correlation_id, ("", "cm-7"))
        body = self.answer(letter)
        (answer,) = self.site.letters(CM_REPLIES)
        self.assertEqual((answer.body, answer.correlation_id), (body, "cm-7"))
        self.assertEqual(self.left(), [])

    def test_a_refusal_is_an_answer(self) -> None:
        """Passed as it is."""
        self.control()
        body = self.answer(self.passed()[0], "NACK")
        self.assertEqual(self.site.letters(CM_REPLIES)[0].body, body)

    def test_any_instance_takes_the_answer(self) -> None:
        """What is pending is in Redis: the instance that passed it may have died."""
        self.control()
        self.answer(self.passed()[0], css=Instance(self.site, slot=2))
        self.assertEqual(len(self.site.letters(CM_REPLIES)), 1)

    def test_answered_twice(self) -> None:
        """The second one is dropped and counted, at whatever instance."""
        self.control()
        for css in (self.css, self.css, Instance(self.site, slot=2)):
            self.answer(self.passed()[0], css=css)
        self.assertEqual(len(self.site.letters(CM_REPLIES)), 1)
        self.assertEqual(self.site.letters(CM_NOTICES), [])
        self.assertEqual(self.css.tally["answers_not_awaited"], 1)

    def test_without_reply_to(self) -> None:
        """Answered where the CM's notifications go."""
        self.control(reply_to="")
        self.answer(self.passed()[0])
        self.assertEqual([each.correlation_id for each in self.site.letters(CM_NOTICES)], ["cm-7"])

    def test_the_same_again_before_the_answer(self) -> None:
        """Not passed twice, answered once."""
        for css in (self.css, Instance(self.site, slot=2)):
            self.control(css=css)
        self.assertEqual(len(self.passed()), 1)
        self.answer(self.passed()[0])
        self.assertEqual(len(self.site.letters(CM_REPLIES)), 1)

    def test_the_same_again_after_the_answer(self) -> None:
        """The kept answer, also when the conference has ended; the MCU is left alone."""
        self.control()
        self.answer(self.passed()[0])
        (first,) = self.site.letters(CM_REPLIES)
        self.ended(self.request)
        for css in (self.css, Instance(self.site, slot=2)):
            self.control(css=css)
        self.assertEqual(self.site.letters(CM_REPLIES), [first] * 3)
        self.assertEqual(len(self.passed()), 1)

    def test_nothing_to_tell_requests_apart_by(self) -> None:
        """Each is passed under an id of its own."""
        body = self.body(mtreqid="")
        for _ in range(2):
            self.css.take(body, to.CONTROL_QUEUE, reply_to=CM_REPLIES)
        self.assertEqual(len({each.correlation_id for each in self.passed()}), 2)
        for letter in self.passed():
            self.answer(letter)
        self.assertEqual(len(self.site.letters(CM_REPLIES)), 2)

    def test_in_order(self) -> None:
        """Of one conference as they came."""
        bodies = [self.body(name=f"STEP{n}") for n in range(5)]
        for n, body in enumerate(bodies):
            _ = self.css.begin(body, to.CONTROL_QUEUE, message_id=f"n{n}", reply_to=CM_REPLIES)
        self.assertEqual([each.body for each in self.passed()], bodies)

    def test_monitoring(self) -> None:
        """Passed like the others; whoever notes it sees it before the MCU does, with the record and its store."""
        seen: list[tuple[str, str, str]] = []

        async def note(request: CmRequest, c: Conference, store: IConferenceStore) -> ErrCode | None:
            self.assertEqual(self.passed(), [])
            seen.append((type(request).__name__, c.ip, store.platform))
            return None

        self.css.control.before_passing.append(note)
        body = {"type": "CM_CMU_STARTMONITOR_REQ", "confE164": E164, "monitorid": "w1", "mtreqid": "m"}
        self.css.take(body, to.CONTROL_QUEUE, **self.marks())
        self.assertEqual(seen, [("StartMonitorRequest", self.request["ip"], "pA")])
        self.assertEqual(len(self.passed()), 1)

    def test_monitoring_that_is_refused(self) -> None:
        """The MCU is left alone; the refusal is kept for the same request."""

        async def note(request: CmRequest, c: Conference, store: IConferenceStore) -> ErrCode | None:
            return ErrCode.NO_RESOURCE

        self.css.control.before_passing.append(note)
        for _ in range(2):
            self.control()
        self.assertEqual(self.passed(), [])
        self.assertEqual(self.site.bodies(CM_REPLIES), [self.nack("NO_RESOURCE")] * 2)

    def test_monitoring_that_can_not_be_noted(self) -> None:
        """Is not passed, but given back."""

        async def note(request: CmRequest, c: Conference, store: IConferenceStore) -> ErrCode | None:
            raise StoreError("away")

        self.css.control.before_passing.append(note)
        given_back = self.css.begin(self.body(), to.CONTROL_QUEUE, **self.marks())
        self.failureResultOf(given_back, TryLater)
        self.assertEqual(self.passed(), [])

    def test_told(self) -> None:
        """Notices and commands go as they came, under their own id, and leave no trace."""
        for kind in ("NTF", "CMD"):
            self.control(kind)
        self.assertEqual([each.body for each in self.passed()], [self.body("NTF"), self.body("CMD")])
        self.assertEqual({each.message_id for each in self.passed()}, {"control-1"})
        self.assertEqual(self.left(), [])

    def test_a_cms_answer(self) -> None:
        """Under the id of the MCU's request."""
        self.control("ACK", correlation_id="mcu-5")
        self.assertEqual([each.correlation_id for each in self.passed()], ["mcu-5"])


class Refused(ControlCase):
    """What can't be controlled."""

    def test_no_record(self) -> None:
        self.ended(self.request)
        self.control()
        self.assertEqual(self.answers(), [self.nack("CONF_NOT_FOUND")])

    def test_not_running(self) -> None:
        """Being created, or waiting to be restored."""
        self.css.take(create("2"), message_id="create-2", reply_to="elsewhere")
        self.css.take(self.body(confE164="2"), to.CONTROL_QUEUE, **self.marks())
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": self.request["ip"], "pid": "11"}, to.MCU_QUEUE)
        self.css.run(self.css.mcu_watch.tick())
        self.control(message_id="control-2")
        self.assertEqual(self.errcodes(), ["CONF_NOT_RUNNING"] * 2)
        self.assertEqual(self.passed(), [])

    def test_a_store_is_silent(self) -> None:
        """And no other has a record."""
        self.ended(self.request)
        self.site.other.fail()
        self.control()
        self.assertEqual(self.errcodes(), ["UNREACHABLE_PLATFORM"])

    def test_another_store_hangs(self) -> None:
        """That does not concern what is in the own one."""
        self.site.other.hang()
        self.control()
        self.assertEqual(len(self.passed()), 1)

    def test_the_own_store_is_away(self) -> None:
        """Given back."""
        self.site.store.fail()
        self.failureResultOf(self.css.begin(self.body(), to.CONTROL_QUEUE, **self.marks()), TryLater)

    def test_own_platform_abnormal(self) -> None:
        """Refused, whatever is known; a notice is dropped."""
        self.site.set_states(pA="abnormal")
        self.control()
        self.control("NTF")
        self.assertEqual(self.answers(), [self.nack("PLATFORM_ABNORMAL")])
        self.assertEqual(self.css.tally["controls_dropped"], 1)
        self.assertEqual(self.passed(), [])

    def test_bad(self) -> None:
        """Without a number: parked, and answered."""
        self.css.take({"type": "CM_CMU_MUTE_REQ", "mtreqid": "m-7"}, to.CONTROL_QUEUE, **self.marks())
        self.assertEqual(self.errcodes(), ["BAD_REQUEST"])
        self.assertEqual(len(self.site.letters(PARKED)), 1)

    def test_notices_to_nobody(self) -> None:
        """No record, or no queue: dropped and counted."""
        self.site.broker.delete_queue(self.queue)
        self.control("NTF")
        self.assertEqual(self.css.tally["unroutable_dropped"], 1)
        self.ended(self.request)
        self.control("CMD")
        self.assertEqual(self.css.tally["controls_dropped"], 1)


class FromMcu(ControlCase):
    """What MCUs say to CMs."""

    def say(self, type_name: str, e164: str = E164, css: Instance | None = None, **delivery: Any) -> bytes:
        """Process 11 says something."""
        fields = {"type": type_name, "confE164": e164, "ip": self.request["ip"], "pid": "11", "状态": "好"}
        body = json.dumps(fields, ensure_ascii=False, indent=2).encode()
        (css or self.css).take(body, to.MCU_QUEUE, **({"message_id": "mcu-1"} | delivery))
        return body

    def of_pb(self) -> str:
        """A conference of pB that runs here. @return: its number."""
        self.css.take(create("2", moid="uB"), message_id="create-2", reply_to="elsewhere")
        request = self.give(self.site.letters("RMS.RES.Q")[-1].correlation_id)
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE)
        return "2"

    def test_notice(self) -> None:
        """To this platform's CM, as it came."""
        body = self.say("CMU_CM_SPEAKER_NTF")
        (letter,) = self.site.letters(CM_NOTICES)
        self.assertEqual((letter.body, letter.message_id), (body, "mcu-1"))
        self.assertEqual(self.left(), [])

    def test_request(self) -> None:
        """To the CM's requests; its answer comes back to CSS."""
        body = self.say("CMU_CM_INVITE_REQ", correlation_id="mcu-5", reply_to=self.queue)
        (letter,) = self.site.letters(CM_REQUESTS)
        self.assertEqual((letter.body, letter.correlation_id, letter.reply_to), (body, "mcu-5", to.CONTROL_QUEUE))

    def test_of_a_served_platform(self) -> None:
        """Its CM is away with it: this platform's is told."""
        self.say("CMU_CM_SPEAKER_NTF", self.of_pb())
        self.assertEqual(len(self.site.letters(CM_NOTICES)), 1)
        self.assertEqual(self.there(CM_NOTICES), [])

    def test_of_a_platform_that_is_back(self) -> None:
        """Its own CM, on its own broker: notices and requests."""
        number = self.of_pb()
        self.site.set_states(pA="normal", pB="normal")
        notice, request = self.say("CMU_CM_SPEAKER_NTF", number), self.say("CMU_CM_INVITE_REQ", number)
        self.assertEqual([each.body for each in self.there(CM_NOTICES)], [notice])
        self.assertEqual([each.body for each in self.there(CM_REQUESTS)], [request])
        self.assertEqual((self.site.letters(CM_NOTICES), self.site.letters(CM_REQUESTS)), ([], []))

    def test_its_broker_is_away(self) -> None:
        """They wait there, in order."""
        number = self.of_pb()
        self.site.set_states(pA="normal", pB="normal")
        self.site.other_broker.stop()
        bodies = [self.say(f"CMU_CM_STEP{n}_NTF", number, message_id=f"mcu-{n}") for n in range(3)]
        self.site.other_broker.start()
        self.site.pass_seconds(5)
        self.css.run(self.css.sweep.tick())
        self.assertEqual([each.body for each in self.there(CM_NOTICES)], bodies)

    def test_the_cm_is_away(self) -> None:
        """No queue: it waits, and goes when there is one."""
        self.site.broker.delete_queue(CM_NOTICES)
        body = self.say("CMU_CM_SPEAKER_NTF")
        self.site.declare(CM_NOTICES)
        self.site.bind(CM_NOTICES)
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        self.assertEqual([each.body for each in self.site.letters(CM_NOTICES)], [body])

    def test_nobody_awaits_it(self) -> None:
        """An answer under an unknown id, or none: among the notices."""
        for correlation_id in ("", "unknown", "0755001?nonsense", f"{E164}?{'0' * 36}"):
            self.say("CMU_CM_MUTE_ACK", message_id=f"m{correlation_id}", correlation_id=correlation_id)
        self.assertEqual(len(self.site.letters(CM_NOTICES)), 4)

    def test_an_answer_while_the_platform_is_abnormal(self) -> None:
        """And its Redis is gone: nobody can know who asked. Dropped, since it would come back for as long as that."""
        self.control()
        (letter,) = self.passed()
        self.site.store.fail()
        body = {"type": "CMU_CM_MUTE_ACK", "confE164": E164}
        given_back = self.css.begin(body, to.MCU_QUEUE, correlation_id=letter.correlation_id)
        self.failureResultOf(given_back, TryLater)
        self.site.set_states(pA="abnormal")
        self.answer(letter)
        self.assertEqual(self.css.tally["answers_not_awaited"], 1)

    def test_without_a_number(self) -> None:
        """This platform's CM."""
        self.css.take({"type": "CMU_CM_LOAD_NTF", "ip": "10.0.0.1", "pid": "11"}, to.MCU_QUEUE)
        self.assertEqual(len(self.site.letters(CM_NOTICES)), 1)

    def test_without_message_ids(self) -> None:
        """Each gets one of its own: the CM must not take the second for the first."""
        for _ in range(2):
            self.say("CMU_CM_SPEAKER_NTF", message_id="")
        ids = [each.message_id for each in self.site.letters(CM_NOTICES)]
        self.assertEqual((len(set(ids)), "" in ids), (2, False))

    def test_by_a_clock_that_is_wrong(self) -> None:
        """By an instance that was started while its platform is abnormal, an hour ahead: due as soon all the same."""
        css = self.an_hour_ahead()
        self.site.broker.stop()
        told = css.begin({"type": "CMU_CM_SPEAKER_NTF", "confE164": E164}, to.MCU_QUEUE, message_id="m")
        self.site.pass_seconds(6)
        self.successResultOf(told)
        self.site.broker.start()
        self.site.pass_seconds(15)
        css.run(css.sweep.tick())
        self.assertEqual(len(self.site.letters(CM_NOTICES)), 1)

    def test_the_own_store_is_away(self) -> None:
        """Told all the same."""
        self.site.store.fail()
        self.say("CMU_CM_SPEAKER_NTF")
        self.assertEqual(len(self.site.letters(CM_NOTICES)), 1)

    def test_whose_it_is_can_not_be_known(self) -> None:
        """Unknown here, and the store of a platform that has its own CM is silent: tried once more, then told here."""
        self.site.set_states(pA="normal", pB="normal")
        self.site.other.fail()
        body = {"type": "CMU_CM_SPEAKER_NTF", "confE164": "9"}
        self.failureResultOf(self.css.begin(body, to.MCU_QUEUE), TryLater)
        self.css.take(body, to.MCU_QUEUE, redelivered=True)
        self.assertEqual(len(self.site.letters(CM_NOTICES)), 1)


class Names(ControlCase):
    """A new name that an MCU asks for (seed 5.1)."""

    def agree(self, type_name: str = "CM_CMU_MODIFYCONFNAME_ACK", **more: Any) -> None:
        """The CM answers."""
        fields = {"type": type_name, "confE164": E164, "confname": "新", "mtreqid": "9", "更": 1}
        self.css.take(fields | more, to.CONTROL_QUEUE, message_id="name", correlation_id="mcu-5")

    def test_asked(self) -> None:
        """The CM gets it as any request."""
        body = {"type": "CMU_CM_MODIFYCONFNAME_REQ", "confE164": E164, "confname": "新", "ip": "10.0.0.1", "pid": "11"}
        self.css.take(body, to.MCU_QUEUE, correlation_id="mcu-5", reply_to=self.queue)
        (letter,) = self.site.letters(CM_REQUESTS)
        self.assertEqual((json.loads(letter.body), letter.correlation_id), (body, "mcu-5"))

    def test_answered(self) -> None:
        """To the process that runs it, as CSS spells it, with all that was in it."""
        self.agree()
        self.agree("CM_MAU_MODIFYCONFNAME_NACK", errcode="NO", ip=self.request["ip"], pid=11)
        types = ["CM_CMU_MODIFYCONFNAME_ACK", "CM_CMU_MODIFYCONFNAME_NACK"]
        self.assertEqual([body["type"] for body in self.site.bodies(self.queue)], types)
        self.assertEqual([body["更"] for body in self.site.bodies(self.queue)], [1, 1])
        self.assertEqual({each.correlation_id for each in self.passed()}, {"mcu-5"})

    def test_moved_meanwhile(self) -> None:
        """Dropped and counted: the process that asked has it no more."""
        self.agree(ip="10.9.9.9", pid="11")
        self.agree(ip=self.request["ip"], pid="12")
        self.assertEqual(self.passed(), [])
        self.assertEqual(self.css.tally["controls_dropped"], 2)
