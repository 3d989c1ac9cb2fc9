"""The same request: known again, and its answer repeated (contract, section 1)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from css.handlers import addresses as to
from css.ports.bus import TryLater
from tests.handlers.site import (
    CM_NOTICES,
    CM_REPLIES,
    LEASE_MS,
    PARKED,
    RMS,
    Instance,
    SiteCase,
    create,
    release,
)


class Repeated(SiteCase):
    """A create, sent twice in each of the ways in which it can be told that it is the same."""

    def twice(self, *, body: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **first: Any) -> None:
        """Two deliveries."""
        self.css.take(body or create(), reply_to=CM_REPLIES, **first)
        self.css.take(body or create(), reply_to=CM_REPLIES, **(first if second is None else second))

    def is_the_same(self) -> bool:
        """Whether nothing was answered, as the first one is still pending; else it was refused."""
        self.assertIn(self.errcodes(), ([], ["CONF_EXISTS"]))
        return not self.answers()

    def test_same_message_id(self) -> None:
        """The same, whatever else differs."""
        self.twice(message_id="x", correlation_id="1", second={"message_id": "x", "correlation_id": "2"})
        self.assertTrue(self.is_the_same())
        self.assertEqual(len(self.site.letters(RMS)), 1)

    def test_other_message_id(self) -> None:
        """Another request, though all else is equal."""
        self.twice(message_id="x", second={"message_id": "y"})
        self.assertFalse(self.is_the_same())

    def test_same_ids(self) -> None:
        """Without a message id: type, number, `mtreqid`, `reply_to`, `correlation_id`."""
        self.twice(correlation_id="c")
        self.assertTrue(self.is_the_same())

    def test_other_ids(self) -> None:
        """Each of them tells requests apart."""
        self.twice(correlation_id="c", second={"correlation_id": "d"})
        self.assertFalse(self.is_the_same())

    def test_neither(self) -> None:
        """With nothing to tell them apart by, two requests are two."""
        self.twice(body=create(mtreqid=""))
        self.assertFalse(self.is_the_same())

    def test_neither_but_redelivered(self) -> None:
        """Only what the broker flags is the same."""
        self.twice(body=create(mtreqid=""), second={"redelivered": True})
        self.assertTrue(self.is_the_same())

    def test_refusals_of_two_requests_have_two_ids(self) -> None:
        """Also where nothing tells the requests apart: a CM that drops what it has seen must see both."""
        for _ in range(3):
            self.css.take(create(mtreqid=""), reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["CONF_EXISTS"] * 2)
        self.assertEqual(len({each.message_id for each in self.site.letters(CM_REPLIES)}), 2)


class Answered(SiteCase):
    """The answer is kept for ten minutes and repeated."""

    def repeats(self, body: dict[str, Any], **delivery: Any) -> None:
        """A repetition gets the very same answer, from another instance too, and changes nothing."""
        (first,) = self.site.letters(CM_REPLIES)
        for css in (self.css, Instance(self.site, slot=2)):
            css.take(body, reply_to=CM_REPLIES, **delivery)
        self.assertEqual(self.site.letters(CM_REPLIES), [first] * 3)

    def test_ack(self) -> None:
        """While it runs."""
        self.run_one()
        self.repeats(create(), message_id="create-0755001", correlation_id="c-0755001")

    def test_ack_after_the_end(self) -> None:
        """The conference has ended: the answer is the same, and no second one is created."""
        self.ended(self.run_one())
        self.repeats(create(), message_id="create-0755001", correlation_id="c-0755001")
        self.assertEqual(self.site.record("0755001"), {})

    def test_nack_of_a_create_that_failed(self) -> None:
        """RMS refused."""
        asked = self.ask()
        self.css.take({"type": "GET_RES_NACK", "errcode": "X"}, to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.repeats(create(), message_id="create-0755001", correlation_id="c-0755001")
        self.assertEqual(len(self.site.letters(RMS)), 1)

    def test_nack_of_a_refused_one(self) -> None:
        """Even if it would be accepted now."""
        self.css.take(create(moid="nobody"), message_id="x", reply_to=CM_REPLIES)
        self.site.domains.current["nobody"] = self.site.domains.seen["nobody"] = "pA"
        self.repeats(create(moid="nobody"), message_id="x")

    def test_release(self) -> None:
        """A late repetition does not end the conference that has the number now."""
        self.run_one()
        self.site.broker.delete_queue(CM_REPLIES)
        self.site.declare(CM_REPLIES)
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES)
        self.css.take(create(), message_id="again", reply_to="elsewhere")
        self.repeats(release(), message_id="end")
        self.assertEqual(self.site.record("0755001")["state"], "creating")

    def test_forgotten(self) -> None:
        """After ten minutes it is a new request."""
        self.ended(self.run_one())
        self.css.tick()
        self.site.pass_seconds(599, 1)
        self.assertEqual(len([key for key in self.site.store.dump() if key.startswith("css/req/")]), 1)
        self.site.pass_seconds(2, 1)
        self.assertEqual([key for key in self.site.store.dump() if key.startswith("css/req/")], [])

    def test_asked_anew_from_another_queue(self) -> None:
        """The CM has connected again: it hears where it listens now, under the id that it awaits. Whatever it asked."""
        self.site.declare("cm.reply.2")
        self.run_one()
        unknown = {"e164": "0100", "moid": "nobody", "mtreqid": "m-5", "name": "会", "content": {}}
        for number, (body, queue) in enumerate(
            (
                (create(), to.CM_QUEUE),
                (create("0755009", moid="nobody"), to.CM_QUEUE),
                ({"type": "ADD_TEMPLATE_REQ"} | unknown, to.CM_QUEUE),
                ({"type": "CM_CMU_MUTE_REQ", "confE164": "0755009", "mtreqid": "m"}, to.CONTROL_QUEUE),
                ({"type": "CM_MAU_DELAYCONF_REQ", "confE164": "0755001", "delay": 30, "mtreqid": "m"}, to.CM_QUEUE),
                (release(), to.CM_QUEUE),
            )
        ):
            name = "create-0755001" if not number else f"r-{number}"
            self.css.take(body, queue, message_id=name, reply_to=CM_REPLIES, correlation_id="c-1")
            first = self.site.letters(CM_REPLIES)[-1]
            self.css.take(body, queue, message_id=name, reply_to="cm.reply.2", correlation_id="c-2")
            again = self.site.letters("cm.reply.2")[-1]
            self.assertEqual((again.body, again.correlation_id), (first.body, "c-2"), body["type"])
            self.assertEqual(len(self.site.letters("cm.reply.2")), number + 1)
            self.css.take(body, queue, message_id=name)
            self.assertEqual(self.site.letters(CM_NOTICES)[-1].body, first.body, body["type"])

    def test_at_the_notices(self) -> None:
        """An answer that went where notifications go is repeated there."""
        self.css.take(create(moid="nobody"), message_id="x")
        self.css.take(create(moid="nobody"), message_id="x")
        self.assertEqual(len({each.message_id for each in self.site.letters("meeting.mccntf.q")}), 1)
        self.assertEqual(len(self.site.letters("meeting.mccntf.q")), 2)


class DomainMoved(SiteCase):
    """The repetition of a create whose domain or platform has changed meanwhile: still the first answer, once more."""

    def move(self, moid: str | None) -> None:
        """The user domain `uA` belongs to another platform now, or to none."""
        for known in (self.site.domains.current, self.site.domains.seen):
            known.pop("uA", None)
            if moid is not None:
                known["uA"] = moid

    def again(self) -> None:
        """The same create once more, and from another instance."""
        for css in (self.css, Instance(self.site, slot=2)):
            css.take(create(), message_id="create-0755001", reply_to=CM_REPLIES, correlation_id="c-0755001")

    def test_to_another_platform(self) -> None:
        """It runs: not created a second time in the other store."""
        self.run_one()
        self.move("pB")
        self.again()
        self.assertEqual([body["type"] for body in self.answers()], ["MAU_CM_CREATECONF_ACK"] * 3)
        self.assertEqual(self.site.record("0755001", self.site.other), {})
        self.assertEqual(len(self.site.letters(RMS)), 1)

    def test_to_nowhere(self) -> None:
        """A domain that is unknown by now."""
        self.run_one()
        self.move(None)
        self.again()
        self.assertEqual(self.errcodes(), ["", "", ""])

    def test_to_a_platform_that_is_not_served(self) -> None:
        """Nor by now."""
        self.run_one()
        self.move("pC")
        self.again()
        self.assertEqual(self.errcodes(), ["", "", ""])

    def test_pending_where_it_was_before(self) -> None:
        """Not answered yet: the repetition is answered with it, not refused."""
        self.move("pB")
        asked = self.ask()
        self.move(None)
        self.again()
        self.assertEqual(self.answers(), [])
        request = self.give(asked)
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(ack, to.MCU_QUEUE, correlation_id=f"pB/0755001/{request['epoch']}")
        self.assertEqual([body["type"] for body in self.answers()], ["MAU_CM_CREATECONF_ACK"])

    def test_refused_before_it_became_known(self) -> None:
        """Refused in the own store: not created in the other one."""
        self.move(None)
        self.again()
        self.move("pB")
        self.again()
        self.assertEqual(self.errcodes(), ["UNKNOWN_DOMAIN"] * 4)
        self.assertEqual(self.site.record("0755001", self.site.other), {})


class Undelivered(SiteCase):
    """An answer that can't be delivered now is not lost: it is kept, or the request is given back."""

    def cut_off(self, body: dict[str, Any], **delivery: Any) -> Deferred[None]:
        """Hand a request over while the broker is away, for longer than a step waits for it."""
        self.site.broker.stop()
        handled = self.css.begin(body, message_id="x", **delivery)
        self.site.pass_seconds(6)
        self.site.broker.start()
        return handled

    def swept(self) -> None:
        """The sweep carries out what is due."""
        self.site.pass_seconds(LEASE_MS / 1000, 1)
        self.css.run(self.css.sweep.tick())

    def test_repeated(self) -> None:
        """A kept answer waits in the outbox until the broker is back."""
        self.css.take(create(moid="nobody"), message_id="x", reply_to=CM_REPLIES)
        self.successResultOf(self.cut_off(create(moid="nobody"), reply_to=CM_REPLIES))
        self.swept()
        first, second = self.site.letters(CM_REPLIES)
        self.assertEqual(first, second)

    def test_repeated_without_the_store(self) -> None:
        """The store goes away, too: the request is given back."""
        self.css.take(create(moid="nobody"), message_id="x", reply_to=CM_REPLIES)
        self.site.broker.stop()
        again = self.css.begin(create(moid="nobody"), message_id="x", reply_to=CM_REPLIES)
        self.site.store.fail()
        self.site.pass_seconds(6)
        self.failureResultOf(again, TryLater)

    def test_repeated_where_nobody_is(self) -> None:
        """Among the notices, whose queue is not there: tried again for a minute, then parked."""
        self.css.take(create(moid="nobody"), message_id="x")
        self.site.broker.delete_queue(CM_NOTICES)
        self.css.take(create(moid="nobody"), message_id="x")
        for _ in range(8):
            self.swept()
        (parked,) = self.site.letters(PARKED)
        self.assertEqual(parked.headers["x-css-reason"], "unroutable")
        self.css.tick()
        self.assertEqual(self.site.outbox(), {})

    def test_while_abnormal(self) -> None:
        """A refusal is kept where the own store can be written."""
        self.site.set_states(pA="abnormal")
        self.successResultOf(self.cut_off(create(), reply_to=CM_REPLIES))
        self.swept()
        self.assertEqual(self.errcodes(), ["PLATFORM_ABNORMAL"])

    def test_by_a_clock_that_is_wrong(self) -> None:
        """An instance that has just started, an hour ahead of Redis: what it leaves behind is due soon all the same."""
        self.site.set_states(pA="abnormal")
        self.an_hour_ahead()
        self.successResultOf(self.cut_off(create(), reply_to=CM_REPLIES))
        self.swept()
        self.assertEqual(self.errcodes(), ["PLATFORM_ABNORMAL"])

    def test_while_abnormal_without_the_store(self) -> None:
        """It can't be written either: the request is given back."""
        self.site.set_states(pA="abnormal")
        self.site.store.fail()
        self.failureResultOf(self.cut_off(create(), reply_to=CM_REPLIES), TryLater)

    def test_while_abnormal_where_nobody_is(self) -> None:
        """Nor is there a queue: parked at once, as nothing else would remember how long it has been tried."""
        self.site.set_states(pA="abnormal")
        self.site.store.fail()
        self.site.broker.delete_queue(CM_NOTICES)
        self.css.take(create(), message_id="x")
        (parked,) = self.site.letters(PARKED)
        self.assertEqual(parked.headers["x-css-reason"], "unroutable")


class WhileAbnormal(SiteCase):
    """The own platform is abnormal: answers need no store."""

    def test_without_any_store(self) -> None:
        """PLATFORM_ABNORMAL to a create and a release, though the store is away."""
        self.site.set_states(pA="abnormal")
        self.site.store.fail()
        self.css.take(create(), message_id="x", reply_to=CM_REPLIES)
        self.css.take(release(), message_id="y", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["PLATFORM_ABNORMAL"] * 2)
