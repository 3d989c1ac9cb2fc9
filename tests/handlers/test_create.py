"""A create request from its receipt to the CM's answer, and each way to refuse it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from css.domain.effects import EndReason
from css.handlers import addresses as to
from css.ports.bus import TryLater
from tests.handlers.site import CM_NOTICES, CM_REPLIES, LOCATOR, NOW, RMS, SiteCase, create, release, resources, token


class Flow(SiteCase):
    """All goes well."""

    def test_rms_is_asked(self) -> None:
        """One request, with the user domain; the reply goes to CSS's queue under the placement's token."""
        self.ask()
        (letter,) = self.site.letters(RMS)
        self.assertEqual(self.site.bodies(RMS), [{"type": "GET_RES_REQ", "moid": "uA"}])
        record = self.site.record("0755001")
        self.assertEqual(
            (letter.reply_to, letter.correlation_id), (to.RMS_REPLY_QUEUE, f"pA/0755001/{record['epoch']}")
        )
        self.assertEqual(record["state"], "creating")
        self.assertEqual(self.answers(), [])

    def test_host_is_asked(self) -> None:
        """With the CM's JSON, unknown fields too, and the placement; it expires with the request time-out."""
        request = self.give(self.ask(extra={"会": [1, 2]}, confname="晨会"), "10.0.0.2")
        epoch = int(self.site.record("0755001")["epoch"])
        placed = {"ip": "10.0.0.2", "roommoid": "room-0", "epoch": epoch, "xmpu": 0}
        expected = create(extra={"会": [1, 2]}) | placed | {"type": "MAU_MCU_CREATECONF_REQ"}
        self.assertEqual(request, expected)
        (letter,) = self.site.letters("cmu.conf.q:10.0.0.2")
        self.assertEqual(letter.expiration_ms, 5_000)
        self.assertEqual((letter.reply_to, letter.correlation_id), (to.MCU_QUEUE, token(request)))
        self.assertEqual(letter.headers, {"x-css-epoch": epoch, "x-css-version": 2})

    def test_recorder_and_mixer(self) -> None:
        """`vrs` only where the CM wants recording and RMS gave one, its first; `xmpu` where `mps` is not empty."""
        vrs, mps = [{"ip": "10.9.0.1"}, {"ip": "10.9.0.2"}], [{"ip": "10.8.0.1"}]
        cases: tuple[tuple[int, Any, Any, Any, int], ...] = (
            (1, vrs, mps, {"ip": "10.9.0.1"}, 1),
            (1, [], mps, None, 1),
            (0, vrs, [], None, 0),
        )
        for number, (record, given_vrs, given_mps, wanted, xmpu) in enumerate(cases):
            asked = self.ask(e164=f"{number}", record=record, vrs={"ip": "1.1.1.1"}, xmpu=7)
            request = self.give(asked, vrs=given_vrs, mps=given_mps)
            self.assertEqual((request.get("vrs"), request["xmpu"]), (wanted, xmpu))

    def test_answered(self) -> None:
        """The CM gets one ACK; the locator hears of it; SQL and `conf/` have it; the counts are there."""
        request = self.run_one()
        ack = {
            "type": "MAU_CM_CREATECONF_ACK",
            "confE164": "0755001",
            "confname": "晨会",
            "mtreqid": "m-1",
            "ip": request["ip"],
            "pid": "11",
            "roommoid": "room-0",
            "platformmoid": "pA",
            "endtime": NOW + 3_600,
        }
        self.assertEqual(self.answers(), [ack])
        self.assertEqual(self.site.letters(CM_REPLIES)[0].correlation_id, "c-0755001")
        self.assertEqual([body["type"] for body in self.site.bodies(LOCATOR)], ["UPU_ADD_CONF_REQ"])
        self.css.tick()
        assert self.site.database is not None
        row = self.site.database.rows["0755001"]
        self.assertEqual((row.confname, row.ip, row.begintime, row.endtime), ("晨会", request["ip"], NOW, NOW + 3_600))
        dump = self.site.store.dump()
        self.assertEqual(dump["conf/0755001"]["begintime"], str(NOW))
        self.assertEqual(dump["css/set/licence/uA/small"], {f"0755001:{dump['confex/0755001']['first_epoch']}"})
        self.css.tick()
        self.assertEqual(self.site.outbox(), {})

    def test_without_reply_to(self) -> None:
        """The answer goes where notifications go (contract, section 1)."""
        self.css.take(create(), message_id="x", correlation_id="c-9")
        self.accept(self.give(self.site.letters(RMS)[0].correlation_id))
        (letter,) = self.site.letters(CM_NOTICES)
        self.assertEqual(letter.correlation_id, "c-9")
        self.assertIn(b"MAU_CM_CREATECONF_ACK", letter.body)

    def test_for_a_platform_that_is_taken_over(self) -> None:
        """The record is in the source's store; it really runs here."""
        asked = self.ask(moid="uB")
        self.assertTrue(asked.startswith("pB/0755001/"))
        self.css.take(resources("10.0.0.1"), to.RMS_REPLY_QUEUE, correlation_id=asked)
        record = self.site.record("0755001", self.site.other)
        self.assertEqual((record["srcplatformmoid"], record["platformmoid"]), ("pB", "pA"))
        self.assertEqual(self.site.record("0755001"), {})


class Refused(SiteCase):
    """Each errcode, once, with nothing left behind; and which comes first."""

    def ask_and_get(self, **more: Any) -> str:
        """Ask. @return: the errcode of the answer, which must be the only one."""
        before = len(self.answers())
        number = len(self.css.points)
        self.css.take(create(**more), message_id=f"r-{number}", reply_to=CM_REPLIES, correlation_id="c-1")
        (answer,) = self.answers()[before:]
        self.assertEqual((answer["type"], answer["mtreqid"]), ("MAU_CM_CREATECONF_NACK", "m-1"))
        return str(answer["errcode"])

    def test_bad_request(self) -> None:
        """Required fields missing, a number that is none, a duration below zero."""
        for change in ({"moid": ""}, {"confE164": "12a"}, {"duration": -1}, {"confname": None}):
            self.assertEqual(self.ask_and_get(**change), "BAD_REQUEST")
        self.assertEqual(len(self.site.letters(to.PARK_QUEUE)), 4)

    def test_order(self) -> None:
        """Everything is wrong at once; each cause that goes away shows the next."""
        self.run_one("9")
        limits = {f"domain/{moid}/license": {"license": "x", "smallconfnum": "0"} for moid in ("uA", "pA")}
        self.css.run(self.site.store.write_hashes(dict(limits)))
        self.site.set_states(pA="abnormal", pB="normal")
        number = {"e164": "9"}
        self.assertEqual(self.ask_and_get(e164="9", moid="nobody", priority=77), "BAD_REQUEST")
        self.assertEqual(self.ask_and_get(**number, moid="nobody"), "PLATFORM_ABNORMAL")
        self.site.set_states(pA="normal", pB="normal")
        self.assertEqual(self.ask_and_get(**number, moid="nobody"), "UNKNOWN_DOMAIN")
        self.assertEqual(self.ask_and_get(**number, moid="uB"), "PLATFORM_NOT_SERVED")
        self.assertEqual(self.ask_and_get(**number, moid="uC"), "PLATFORM_NOT_SERVED")
        self.assertEqual(self.ask_and_get(**number), "CONF_EXISTS")
        self.assertEqual(self.ask_and_get(e164="10"), "LICENSE_LIMIT")
        self.assertEqual([body["moid"] for body in self.site.bodies(RMS)], ["uA"])

    def test_limits(self) -> None:
        """Of the user domain and of the platform, each size by itself; what ends makes room."""
        self.css.run(self.site.store.write_hashes({"domain/uA/license": {"license": "x", "smallconfnum": "1"}}))
        self.run_one("1")
        self.assertEqual(self.ask_and_get(e164="2"), "LICENSE_LIMIT")
        self.ask(e164="3", maxjoinmt=9)
        self.css.take(release("1"), message_id="end", reply_to=CM_REPLIES)
        self.ask(e164="4")
        self.assertEqual(self.site.record("4")["state"], "creating")

    def test_limits_of_the_source_hold_on_its_backup(self) -> None:
        """What this platform takes over is counted under the source's licence, in the source's store (seed 4.6)."""
        self.site.set_states(pA="normal", pB="abnormal")
        own = {"domain/pA/license": {"license": "x", "smallconfnum": "0"}}
        self.css.run(self.site.store.write_hashes(dict(own)))
        source = {"domain/pB/license": {"license": "x", "smallconfnum": "1"}}
        self.css.run(self.site.other.write_hashes(dict(source)))
        self.ask(e164="1", moid="uB")
        self.assertEqual(self.ask_and_get(e164="2", moid="uB"), "LICENSE_LIMIT")
        self.assertEqual(self.ask_and_get(e164="3", moid="uA"), "LICENSE_LIMIT")
        sizes = [self.css.run(store.index_size("licence/pB/small")) for store in (self.site.other, self.site.store)]
        self.assertEqual(sizes, [1, 0])

    def test_platform_without_a_licence(self) -> None:
        """Refused: the platform's own licence is required, the user domain's is not."""
        self.css.run(self.site.store.write_hashes({"domain/pA/license": None}))
        self.assertEqual(self.ask_and_get(), "LICENSE_LIMIT")

    def test_source_store_away(self) -> None:
        """INTERNAL, from the own store: the CM is not left waiting for a Redis that the PMS has wrong."""
        self.site.other.fail()
        self.assertEqual(self.ask_and_get(moid="uB"), "INTERNAL")
        del self.site.stores["pB"]
        self.assertEqual(self.ask_and_get(moid="uB"), "INTERNAL")

    def test_own_store_away(self) -> None:
        """Nothing is lost: the delivery is given back, and taken when the store is back."""
        self.site.store.fail()
        self.failureResultOf(self.css.begin(create(), message_id="x", reply_to=CM_REPLIES), TryLater)
        self.site.store.recover()
        self.css.take(create(), message_id="x", reply_to=CM_REPLIES, redelivered=True)
        self.assertEqual(len(self.site.letters(RMS)), 1)

    def test_rms_refuses(self) -> None:
        """RMS_NACK; the licence is given back, nothing but the tombstone stays."""
        asked = self.ask()
        nack = {"type": "GET_RES_NACK", "errcode": "NOTHING"}
        self.css.take(nack, to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.assertEqual(self.errcodes(), ["RMS_NACK"])
        self.css.tick()
        left = {key.split("/")[0] + "/" + key.split("/")[1] for key in self.site.store.dump()}
        self.assertEqual(left, {"css/ended", "css/req", "domain/pA"})
        self.assertEqual(self.site.store.dump()["css/ended/0755001"]["reason"], EndReason.FAILED)

    def test_rms_silent(self) -> None:
        """RMS_TIMEOUT when the request time-out has passed."""
        self.ask()
        self.site.pass_seconds(4.9)
        self.css.run(self.css.due.tick())
        self.assertEqual(self.errcodes(), [])
        self.site.pass_seconds(0.2)
        self.css.run(self.css.due.tick())
        self.assertEqual(self.errcodes(), ["RMS_TIMEOUT"])

    def test_no_host(self) -> None:
        """None given, or all of them drained: NO_RESOURCE."""
        empty = resources(mcu=[])
        self.css.take(empty, to.RMS_REPLY_QUEUE, correlation_id=self.ask(e164="1"))
        self.css.run(self.site.state.set_drained("10.0.0.1", True))
        self.css.take(resources("10.0.0.1"), to.RMS_REPLY_QUEUE, correlation_id=self.ask(e164="2"))
        self.assertEqual(self.errcodes(), ["NO_RESOURCE", "NO_RESOURCE"])

    def test_host_refuses_then_the_next(self) -> None:
        """Under a higher epoch; with none left the last one's errcode."""
        first = self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        self.refuse(first)
        second = self.asked("0755001")[-1]
        self.assertNotEqual(first["ip"], second["ip"])
        self.assertGreater(second["epoch"], first["epoch"])
        self.assertEqual(self.errcodes(), [])
        self.refuse(second)
        self.assertEqual(self.errcodes(), ["MCU_REJECTED"])
        self.assertEqual(len(self.asked("0755001")), 2)

    def test_host_without_a_queue(self) -> None:
        """Its silence at once, so the next one; MCU_TIMEOUT with none left."""
        self.site.broker.delete_queue("cmu.conf.q:10.0.0.1")
        self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        self.assertEqual([body["ip"] for body in self.asked("0755001")], ["10.0.0.2"])
        asked = self.ask(e164="2")
        self.css.take(resources("10.0.0.1"), to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.assertEqual(self.errcodes(), ["MCU_TIMEOUT"])

    def test_all_hosts_silent(self) -> None:
        """Each has its time-out; then MCU_TIMEOUT."""
        first = self.give(self.ask(), "10.0.0.1", "10.0.0.2")
        self.site.pass_seconds(5.1)
        self.css.run(self.css.due.tick())
        (second,) = self.asked("0755001")  # the first request has expired in its queue
        self.assertNotEqual(first["ip"], second["ip"])
        self.assertEqual(self.errcodes(), [])
        self.site.pass_seconds(5.1)
        self.css.run(self.css.due.tick())
        self.assertEqual(self.errcodes(), ["MCU_TIMEOUT"])


class Directory(SiteCase):
    """The domains change while a create is under way."""

    def change(self, generation: str, **domains: str) -> None:
        """Another instance has written the directory."""
        self.site.domains.current = domains
        key = "css/domains/generation"
        self.css.run(self.site.store.write_hashes({}, bump=key))
        self.assertEqual(self.css.run(self.site.store.read_string(key)), generation)

    def test_still_the_same_domain(self) -> None:
        """Read again, decided again: the create goes on."""
        self.change("1", uA="pA")

        async def refresh() -> None:
            self.site.domains.seen = dict(self.site.domains.current)
            self.site.domains.generation = "1"
            self.site.domains.refreshed += 1

        self.patch(self.site.domains, "refresh", refresh)
        self.ask()
        self.assertEqual(self.site.domains.refreshed, 1)
        self.assertEqual(self.site.record("0755001")["state"], "creating")

    def test_gone(self) -> None:
        """UNKNOWN_DOMAIN: the guard of the commit has seen what the cache had not."""
        self.change("1")
        self.css.take(create(), message_id="x", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["UNKNOWN_DOMAIN"])
        self.assertEqual(self.site.record("0755001"), {})

    def test_moved(self) -> None:
        """The domain belongs to another platform now: given back, and created there."""
        self.change("1", uA="pB")
        asking = {"message_id": "x", "reply_to": CM_REPLIES}
        self.failureResultOf(self.css.begin(create(), **asking), TryLater)
        self.css.take(create(), **asking, redelivered=True)
        self.assertEqual(self.answers(), [])
        self.assertEqual(self.site.record("0755001", self.site.other)["srcplatformmoid"], "pB")

    def test_never_the_same(self) -> None:
        """A directory that can't be read twice alike gives the delivery back instead of turning for ever."""
        self.change("1", uA="pA")
        self.failureResultOf(self.css.begin(create(), message_id="x", reply_to=CM_REPLIES), TryLater)
        self.assertEqual(self.site.domains.refreshed, 10)


class AfterAnEarlierOne(SiteCase):
    """The number had a conference before."""

    def test_epoch_above_the_tombstone(self) -> None:
        """Even where the earlier one's epochs ran ahead of the clock."""
        self.run_one()
        ahead = str(2**52)
        self.css.run(self.site.store.write_hashes({"css/ended/0755002": {"epoch": ahead, "reason": "released"}}))
        self.ask(e164="0755002")
        self.assertGreater(int(self.site.record("0755002")["epoch"]), 2**52)

    def test_created_again(self) -> None:
        """A number that was released can be had at once, under a higher epoch."""
        first = self.run_one()
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES)
        self.css.take(create(), message_id="again", reply_to=CM_REPLIES)
        self.assertGreater(int(self.site.record("0755001")["epoch"]), first["epoch"])


class LateAnswersOfRms(SiteCase):
    """What nobody awaits is dropped and counted."""

    def test_dropped(self) -> None:
        """Without a token, of a platform without a store, of a conference that is over, or answered before."""
        asked = self.ask()
        for correlation_id in ("", "x", "pZ/1/2", "pA/404/5", asked[:-1] + "0"):
            self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=correlation_id)
        self.assertEqual(self.asked("0755001"), [])
        self.give(asked)
        self.css.take(resources(), to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.assertEqual(len(self.asked("0755001")), 1)
        self.assertEqual(self.css.tally["answers_not_awaited"], 6)

    def test_while_the_store_is_away(self) -> None:
        """Given back, and the create goes on later."""
        asked = self.ask()
        self.site.store.fail()
        handled: Deferred[None] = self.css.begin(resources(), to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.failureResultOf(handled, TryLater)
        self.site.store.recover()
        self.give(asked)
        self.assertEqual(len(self.asked("0755001")), 1)
