"""From a delivery to its handler; what is bad is parked and never stops the consumer (contract, section 1)."""

from __future__ import annotations

import json
from typing import Any

from css.handlers import addresses as to
from css.handlers.dispatch import merge
from css.messages.create import CreateRequest, ReleaseRequest
from css.ports.bus import BadMessage, Delivery, NotConnected, TryLater
from css.ports.sql import SqlError
from css.ports.store import StoreError
from tests.handlers.site import CM_NOTICES, CM_REPLIES, SiteCase, create, release


class Parked(SiteCase):
    """Messages that no handler gets."""

    def parked(self) -> tuple[bytes, str, Any]:
        """Body, reason and queue of the only parked message."""
        (letter,) = self.site.letters(to.PARK_QUEUE)
        return letter.body, letter.headers["x-css-reason"], letter.headers["x-css-queue"]

    def test_unchanged(self) -> None:
        """Body, ids and headers as they came, with reason and real queue name; counted."""
        body = b'{"type": "NO_SUCH",  "x": "\xe4\xbc\x9a"}'
        headers = {"x-death": [{"count": 2**40}], "mine": "y"}
        self.css.take(body, to.MCU_QUEUE, message_id="m", correlation_id="c", reply_to=CM_REPLIES, headers=headers)
        self.assertEqual(self.parked(), (body, "unknown_type", to.MCU_QUEUE))
        (letter,) = self.site.letters(to.PARK_QUEUE)
        self.assertEqual((letter.message_id, letter.correlation_id, letter.reply_to), ("m", "c", CM_REPLIES))
        self.assertEqual({name: letter.headers[name] for name in headers}, headers)
        self.assertEqual(self.css.tally["parked"], 1)
        self.assertEqual(self.answers(), [])

    def test_reasons(self) -> None:
        """The kind comes first; nothing of the message is in it."""
        bodies = {
            b"\xff\x00": "bad_json",
            b"[1]": "bad_json",
            b"{}": "no_type",
            b'{"type": 5}': "no_type",
            b'{"type": "GET_RES_ACK"}': "bad_fields",
            b'{"type": "GET_RES_NACK", "errcode": "x", "errcode": "y"}': "duplicate_key",
            b'{"type": "GET_RES_NACK", "a": ' + b"[" * 20 + b"]" * 20 + b"}": "too_deep",
        }
        for body in bodies:
            self.css.take(body)
        reasons = [letter.headers["x-css-reason"].partition(":")[0] for letter in self.site.letters(to.PARK_QUEUE)]
        self.assertEqual(reasons, list(bodies.values()))

    def test_without_message_id(self) -> None:
        """A parked message has an id, the same one when it is parked again."""
        for _ in range(2):
            self.css.take(b"{}")
        self.css.take(b"[]")
        ids = [letter.message_id for letter in self.site.letters(to.PARK_QUEUE)]
        self.assertTrue(ids[0] and ids[0] == ids[1] != ids[2])

    def test_too_large(self) -> None:
        """Its beginning is parked with its size."""
        self.css.take(b'{"type":', too_large_bytes=17_000_000)
        (letter,) = self.site.letters(to.PARK_QUEUE)
        self.assertEqual((letter.headers["x-css-reason"], letter.headers["x-css-size"]), ("too_large", 17_000_000))

    def test_known_but_not_for_css(self) -> None:
        """A message that CSS itself sends."""
        self.css.take({"type": "GET_RES_REQ", "moid": "uA"})
        self.assertEqual(self.parked()[1].partition(":")[0], "unknown_type")

    def test_broker_away(self) -> None:
        """What can't be parked now is given back."""
        self.site.broker.stop()
        self.failureResultOf(self.css.begin(b"{}"), NotConnected, TryLater)


class BadRequest(SiteCase):
    """A request that can be answered also gets its NACK."""

    def test_to_reply_to(self) -> None:
        """With what could be told of it."""
        self.css.take(create(duration=-1), message_id="m", correlation_id="c", reply_to=CM_REPLIES)
        nack = {"confE164": "0755001", "mtreqid": "m-1", "errcode": "BAD_REQUEST", "type": "MAU_CM_CREATECONF_NACK"}
        self.assertEqual(self.answers(), [nack])
        self.assertEqual(self.site.letters(CM_REPLIES)[0].correlation_id, "c")
        self.assertEqual(len(self.site.letters(to.PARK_QUEUE)), 1)

    def test_without_reply_to(self) -> None:
        """Where notifications go; a request of an MCU process to that process."""
        self.css.take(release("x"))
        self.assertEqual([body["errcode"] for body in self.site.bodies(CM_NOTICES)], ["BAD_REQUEST"])
        delay = {"type": "MCU_MAU_DELAYCONF_REQ", "confE164": "1", "ip": "10.0.0.1", "pid": 11, "mtreqid": 7}
        self.css.take(delay, to.MCU_QUEUE)
        (nack,) = self.site.bodies("cmu.conf.q:10.0.0.1:11")
        self.assertEqual((nack["errcode"], nack["mtreqid"]), ("BAD_REQUEST", "7"))

    def test_whose_request_it_is(self) -> None:
        """A CM's is answered where the CM listens, whatever process it names; one of an MCU that does not say which it
        is has nobody to be answered: least of all the CM."""
        self.css.take({"type": "CM_CMU_MUTE_REQ", "confE164": "x", "ip": "10.0.0.1", "pid": "11"}, to.CONTROL_QUEUE)
        self.assertEqual([body["type"] for body in self.site.bodies(CM_NOTICES)], ["CMU_CM_MUTE_NACK"])
        self.css.take({"type": "CMU_CM_MUTE_REQ", "confE164": "x"}, to.MCU_QUEUE)
        self.assertEqual(len(self.site.bodies(CM_NOTICES)), 1)
        self.assertEqual(len(self.site.letters(to.PARK_QUEUE)), 2)

    def test_nobody_there(self) -> None:
        """The requester has gone: the NACK is dropped and counted, the message parked."""
        self.css.take(create(duration=-1), reply_to="gone")
        self.assertEqual(self.css.tally["unroutable_dropped"], 1)
        self.assertEqual(len(self.site.letters(to.PARK_QUEUE)), 1)

    def test_same_id_again(self) -> None:
        """Redelivered after a crash between the two, it is the same NACK."""
        for _ in range(2):
            self.css.take(create(duration=-1), message_id="m", reply_to=CM_REPLIES)
        self.assertEqual(len({letter.message_id for letter in self.site.letters(CM_REPLIES)}), 1)


class Failing(SiteCase):
    """What a handler raises."""

    def handled_by(self, error: Exception) -> None:
        """Have every release fail so."""

        async def handler(message: ReleaseRequest, delivery: Delivery) -> None:
            raise error

        self.patch(self.css.dispatcher, "_routes", {ReleaseRequest: handler})

    def test_dependency_away(self) -> None:
        """Given back as often as it takes, and never parked."""
        for error in (StoreError("x"), NotConnected("x"), SqlError("x"), TryLater("x")):
            self.handled_by(error)
            for redelivered in (False, True, True):
                self.failureResultOf(self.css.begin(release(), redelivered=redelivered), TryLater)
        self.assertEqual(self.site.letters(to.PARK_QUEUE), [])

    def test_bad_message(self) -> None:
        """Acknowledged by the bus."""
        self.handled_by(BadMessage("x"))
        self.failureResultOf(self.css.begin(release(), redelivered=True), BadMessage)

    def test_anything_else(self) -> None:
        """Once more, then parked."""
        self.handled_by(KeyError("x"))
        self.failureResultOf(self.css.begin(release()), KeyError)
        self.css.take(release(), redelivered=True)
        (letter,) = self.site.letters(to.PARK_QUEUE)
        self.assertEqual(letter.headers["x-css-reason"], "failed: KeyError")
        self.assertEqual(json.loads(letter.body), release())
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.css.tally["failed_for_good"], 1)


class Merge(SiteCase):
    """One routing table of many."""

    def test_merged(self) -> None:
        """All of them."""

        async def one(message: Any, delivery: Delivery) -> None:
            """A handler."""

        self.assertEqual(
            merge({CreateRequest: one}, {}, {ReleaseRequest: one}), {CreateRequest: one, ReleaseRequest: one}
        )

    def test_twice(self) -> None:
        """Two families that claim one message are a mistake."""

        async def one(message: Any, delivery: Delivery) -> None:
            """A handler."""

        self.assertRaises(ValueError, merge, {CreateRequest: one}, {CreateRequest: one})
