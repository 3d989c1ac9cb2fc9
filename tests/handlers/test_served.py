"""The service list is read again just before each placement is committed (seed 2.3.1, 2.3.2)."""

from __future__ import annotations

from typing import Any

from css.handlers import addresses as to
from css.ports.store import McuSeen
from tests.handlers.site import CM_REPLIES, HOSTS, RMS, SiteCase, create, release, resources


class ServedCase(SiteCase):
    """Conferences of platform pB, which is served here until it is normal again."""

    def handback(self) -> None:
        """pB is normal again."""
        self.site.set_states(pA="normal", pB="normal")

    def stored(self) -> dict[str, str]:
        """The record in pB's Redis."""
        return self.site.record("7", self.site.other)

    def asked_hosts(self) -> list[dict[str, Any]]:
        """All requests to hosts."""
        return self.asked("7")

    def run_it(self) -> dict[str, Any]:
        """Bring a conference of pB to `ongoing` on 10.0.0.1."""
        request = self.give(self.ask(e164="7", moid="uB"), "10.0.0.1")
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=f"pB/7/{request['epoch']}")
        return request


class Repeated(ServedCase):
    """The same create comes again while the store that remembers it can't be asked."""

    def again(self, **delivery: Any) -> Any:
        """The request of `run_it`, once more."""
        body = create("7", moid="uB")
        return self.css.begin(body, message_id="create-7", reply_to=CM_REPLIES, correlation_id="c-7", **delivery)

    def test_store_away(self) -> None:
        """Whoever has begun it answers, once; served or not."""
        asked = self.ask(e164="7", moid="uB")
        self.site.other.fail()
        self.successResultOf(self.again())
        self.handback()
        self.successResultOf(self.again())
        self.assertEqual(self.answers(), [])
        self.site.other.recover()
        self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.successResultOf(self.again())
        self.assertEqual(self.errcodes(), ["PLATFORM_NOT_SERVED"] * 2)

    def test_release_and_delay(self) -> None:
        """Done and answered; again while their store is away: not refused, for they were not."""
        delay = {"type": "CM_MAU_DELAYCONF_REQ", "confE164": "7", "mtreqid": "m", "delay": 5}
        self.run_it()
        for body in (delay, release("7")):
            self.css.take(body, message_id=body["type"], reply_to=CM_REPLIES)
        self.site.other.fail()
        for body in (delay, release("7")):
            self.css.take(body, message_id=body["type"], reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["", "", ""])
        self.css.take(release("7"), message_id="another", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes()[3:], ["UNREACHABLE_PLATFORM"])


class Creates(ServedCase):
    """Of a platform that has come back."""

    def test_before_rms_answers(self) -> None:
        """Refused; nothing stays of it, no host was asked."""
        asked = self.ask(e164="7", moid="uB")
        self.handback()
        self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.assertEqual((self.errcodes(), self.stored(), self.asked_hosts()), (["PLATFORM_NOT_SERVED"], {}, []))
        self.css.tick()
        self.site.clock.advance(0)
        self.assertEqual(self.loads(), {})

    def test_between_the_booking_and_the_commit(self) -> None:
        """The last look counts."""
        asked = self.ask(e164="7", moid="uB")
        book = self.site.state.book

        async def book_and_hand_back(*args: Any) -> Any:
            booking = await book(*args)
            self.handback()
            return booking

        self.patch(self.site.state, "book", book_and_hand_back)
        self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.assertEqual((self.errcodes(), self.asked_hosts()), (["PLATFORM_NOT_SERVED"], []))
        self.site.clock.advance(0)
        self.assertEqual(self.loads(), {})

    def test_after_a_host_was_asked(self) -> None:
        """It finishes here: its ACK is taken."""
        request = self.give(self.ask(e164="7", moid="uB"))
        self.handback()
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=f"pB/7/{request['epoch']}")
        self.assertEqual((self.stored()["state"], self.stored()["platformmoid"]), ("ongoing", "pA"))
        self.assertEqual(self.answers()[-1]["type"], "MAU_CM_CREATECONF_ACK")

    def test_host_refuses(self) -> None:
        """The next one is not asked."""
        request = self.give(self.ask(e164="7", moid="uB"))
        self.handback()
        body = {"type": "MCU_MAU_CREATECONF_NACK", "errcode": "FULL"}
        body |= {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=f"pB/7/{request['epoch']}")
        self.assertEqual((self.errcodes(), self.stored()), (["PLATFORM_NOT_SERVED"], {}))
        self.assertEqual(len(self.asked_hosts()), 1)


class Restores(ServedCase):
    """Of a platform that has come back."""

    def setUp(self) -> None:
        super().setUp()
        self.first = self.run_it()
        self.css.run(self.css.restoring.lose(McuSeen("10.0.0.1", "11", 0), "gone"))
        self.css.run(self.css.restores.tick())
        self.correlation_id = self.site.letters(RMS)[-1].correlation_id

    def test_before_rms_answers(self) -> None:
        """It waits for its own platform, and nobody is asked here any more."""
        self.handback()
        self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=self.correlation_id)
        self.assertEqual((self.stored()["state"], self.stored().get("attempt")), ("pending_restore", None))
        self.site.pass_seconds(10)
        self.css.round()
        # What was asked before has expired.
        self.assertEqual(self.asked_hosts(), [])

    def test_host_is_silent(self) -> None:
        """The attempt fails, the next host is not asked."""
        self.css.take(resources(*HOSTS), to.RMS_REPLY_QUEUE, correlation_id=self.correlation_id)
        self.assertEqual(self.stored()["state"], "creating")
        self.handback()
        self.site.pass_seconds(6)
        self.css.round()
        self.assertEqual((self.stored()["state"], self.stored()["ip"]), ("pending_restore", ""))
        self.assertEqual(self.asked_hosts(), [])
