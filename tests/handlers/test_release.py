"""A CM's release, in each situation and with each dependency away."""

from __future__ import annotations

from css.handlers import addresses as to
from css.ports.bus import TryLater
from tests.handlers.site import BILLING, CM_NOTICES, CM_REPLIES, LOCATOR, NOW, SiteCase, release


class Releases(SiteCase):
    """What is told to whom."""

    def end(self, **delivery: object) -> None:
        """The CM ends it."""
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES, correlation_id="c-2")

    def test_running(self) -> None:
        """ACK, command with the epoch, notice, bill, locator, row, licence, place: each once."""
        request = self.run_one()
        self.css.tick()
        self.site.clock.advance(90)
        self.end()
        self.css.tick()
        ack = {"type": "MAU_CM_RELEASECONF_ACK", "confE164": "0755001", "mtreqid": "m-2"}
        self.assertEqual(self.answers()[1:], [ack])
        self.assertEqual(self.site.letters(CM_REPLIES)[-1].correlation_id, "c-2")
        command = {"type": "MAU_MCU_RELEASECONF_CMD", "confE164": "0755001", "pid": "11"}
        command |= {name: request[name] for name in ("ip", "epoch")}
        self.assertEqual(self.site.bodies(f"cmu.conf.q:{request['ip']}:11"), [command])
        notice = {"type": "MAU_CM_RELEASECONF_NTF", "confE164": "0755001", "reason": "released"}
        self.assertEqual(self.site.bodies(CM_NOTICES), [notice])
        self.assertEqual([body["type"] for body in self.site.bodies(LOCATOR)], ["UPU_ADD_CONF_REQ", "UPU_DEL_CONF_REQ"])
        bill = {
            "type": "CONF_BILL_NTF",
            "confE164": "0755001",
            "confname": "晨会",
            "moid": "uA",
            "srcplatformmoid": "pA",
            "platformmoid": "pA",
            "begintime": NOW,
            "endtime": NOW + 90,
            "reason": "released",
        }
        self.assertEqual(self.site.bodies(BILLING), [bill])
        assert self.site.database is not None
        self.assertEqual(self.site.database.rows, {})
        self.assertEqual(self.css.run(self.site.state.loads([request["ip"]])), {request["ip"]: 0})
        kinds = {"/".join(key.split("/")[:2]) for key in self.site.store.dump()}
        self.assertEqual(kinds, {"css/ended", "css/req", "css/booked", "css/bookings", "domain/pA"} & kinds)
        self.assertEqual(self.site.outbox(), {})

    def test_ended_by_the_mcu(self) -> None:
        """The same without ACK and command, once however often it is said."""
        request = self.run_one()
        self.ended(request)
        self.ended(request)
        self.assertEqual(len(self.site.bodies(CM_NOTICES)), 1)
        self.assertEqual(len(self.site.bodies(BILLING)), 1)
        self.assertEqual(self.site.letters(f"cmu.conf.q:{request['ip']}:11"), [])

    def test_pending(self) -> None:
        """The create gets its NACK, the release its ACK; no notice, no bill; a late ACK is answered with a release."""
        request = self.give(self.ask())
        self.end()
        kinds = {body["type"]: body.get("errcode") for body in self.answers()}
        self.assertEqual(kinds, {"MAU_CM_RELEASECONF_ACK": None, "MAU_CM_CREATECONF_NACK": "CONF_NOT_RUNNING"})
        self.assertEqual(self.site.bodies(CM_NOTICES) + self.site.bodies(BILLING), [])
        self.accept(request)
        (command,) = self.site.bodies(f"cmu.conf.q:{request['ip']}:11")
        self.assertEqual(command["epoch"], request["epoch"])

    def test_unknown(self) -> None:
        """CONF_NOT_FOUND if all stores have answered."""
        self.end()
        self.assertEqual(self.errcodes(), ["CONF_NOT_FOUND"])

    def test_unknown_and_a_store_is_silent(self) -> None:
        """UNREACHABLE_PLATFORM: it may be there."""
        self.site.other.fail()
        self.end()
        self.assertEqual(self.errcodes(), ["UNREACHABLE_PLATFORM"])

    def test_own_store_away(self) -> None:
        """Given back; then released."""
        self.run_one()
        self.site.store.fail()
        self.failureResultOf(self.css.begin(release(), message_id="end", reply_to=CM_REPLIES), TryLater)
        self.site.store.recover()
        self.end()
        self.assertEqual(self.site.record("0755001"), {})

    def test_source_platform_that_is_not_served(self) -> None:
        """The notice is for the source platform's CM, on that platform's broker (contract, "Which CM")."""
        asked = self.ask(moid="uB")
        self.css.take(
            {"type": "GET_RES_ACK", "roommoid": "r", "mcu": [{"ip": "10.0.0.1"}]},
            to.RMS_REPLY_QUEUE,
            correlation_id=asked,
        )
        (request,) = self.asked("0755001")
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(ack, to.MCU_QUEUE, correlation_id=f"pB/0755001/{request['epoch']}")
        self.site.set_states(pA="normal", pB="normal")
        self.end()
        self.assertEqual(self.site.bodies(CM_NOTICES), [])
        self.assertIn("peer/pB/0755001", self.site.outbox(self.site.other))

    def test_notices_away_keep_nobody_else_waiting(self) -> None:
        """The CM's notice queue is gone: the ACK comes all the same, the notice by the sweep."""
        self.run_one()
        self.css.tick()
        self.site.broker.delete_queue(CM_NOTICES)
        self.end()
        self.assertEqual(self.answers()[-1]["type"], "MAU_CM_RELEASECONF_ACK")
        self.css.tick()
        self.assertEqual(list(self.site.outbox()), ["to/meeting.mccntf.ex/0755001"])
        self.site.declare(CM_NOTICES)
        self.site.bind(CM_NOTICES)
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        self.assertEqual(len(self.site.bodies(CM_NOTICES)), 1)
