"""The post and the outbox: what unroutable means, what is tried again, what is left to the sweep and in what order."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from css.handlers import addresses as to
from css.handlers.effects import Parcel
from css.handlers.letters import ASK_LANE, OWN_LANE, Kind, Letter, is_at_home, notice_lane, peer_lane, peer_of
from css.ports.bus import Outgoing, Queue, Topology
from css.ports.store import Commit, OutboxEntry, StoreError
from tests.handlers.site import CM_NOTICES, CM_REPLIES, LOCATOR, NOW, RMS, Instance, SiteCase

NOW_MS = NOW * 1000


class PostCase(SiteCase):
    """Letters of each kind."""

    def letter(self, kind: Kind, queue: str, number: int = 0, **more: Any) -> Letter:
        """A letter to a queue by its name."""
        return Letter(kind, NOW_MS, Outgoing("", queue, b"{}", f"id-{number}"), **more)

    def deliver(self, *letters: Letter, peer: str = "", patient: bool = True) -> Deferred[list[Letter]]:
        """Begin to deliver."""
        work = Deferred.fromCoroutine(self.css.post.deliver(list(letters), "pA", peer, patient))
        self.site.clock.advance(0)
        return work

    def left(self, *letters: Letter, peer: str = "") -> list[Letter]:
        """What is left after one try."""
        return self.successResultOf(self.deliver(*letters, peer=peer, patient=False))


class Unroutable(PostCase):
    """There is no such queue: each kind has its own meaning of that (contract, section 1)."""

    def test_reply_and_command(self) -> None:
        """Dropped and counted."""
        for kind in (Kind.REPLY, Kind.COMMAND):
            self.assertEqual(self.left(self.letter(kind, "gone")), [])
        self.assertEqual(self.css.tally["unroutable_dropped"], 2)
        self.assertEqual(self.site.letters(to.PARK_QUEUE), [])

    def test_request_to_a_host(self) -> None:
        """The host's silence, at once."""
        silent: list[str] = []
        self.css.post.on_silence.append(silent.append)
        self.assertEqual(self.left(self.letter(Kind.MCU_REQUEST, "gone", token="pA/1/2")), [])
        self.assertEqual(silent, ["pA/1/2"])

    def test_request_for_resources(self) -> None:
        """Tried again until nobody awaits its answer any more: also within the step."""
        ask = self.letter(Kind.RESOURCE_REQUEST, "late", until_ms=NOW_MS + 3_000)
        work = self.deliver(ask)
        self.site.pass_seconds(1)
        self.assertNoResult(work)
        self.site.declare("late")
        self.site.pass_seconds(0.3)
        self.assertEqual(self.successResultOf(work), [])
        self.assertEqual(len(self.site.letters("late")), 1)

    def test_request_for_resources_in_vain(self) -> None:
        """At its deadline it is over, without a trace."""
        work = self.deliver(self.letter(Kind.RESOURCE_REQUEST, "gone", until_ms=NOW_MS + 3_000))
        self.site.pass_seconds(3.3)
        self.assertEqual(self.successResultOf(work), [])
        self.assertEqual(self.css.tally["asked_too_late"], 1)

    def test_notice(self) -> None:
        """Tried again for a minute, then parked with the reason; the body unchanged."""
        notice = self.letter(Kind.NOTICE, "gone")
        self.assertEqual(self.left(notice), [notice])
        self.site.pass_seconds(60, 1)
        self.assertEqual(self.left(notice), [notice])
        self.site.pass_seconds(1)
        self.assertEqual(self.left(notice), [])
        (parked,) = self.site.letters(to.PARK_QUEUE)
        self.assertEqual((parked.body, parked.message_id), (b"{}", "id-0"))
        self.assertEqual(parked.headers, {"x-css-reason": "unroutable", "x-css-queue": "gone"})
        self.assertEqual(self.css.tally["parked_unroutable"], 1)

    def test_notice_that_can_not_be_parked(self) -> None:
        """It is kept."""
        notice = replace(self.letter(Kind.NOTICE, "gone"), born_ms=NOW_MS - 61_000)
        self.site.broker.delete_queue(to.PARK_QUEUE)
        self.assertEqual(self.left(notice), [notice])

    def test_too_late(self) -> None:
        """A host that comes back late is not asked what nobody awaits: the sweep's repetition is dropped."""
        ask = self.letter(Kind.MCU_REQUEST, "cmu.conf.q:10.0.0.1", until_ms=NOW_MS)
        self.assertEqual(self.left(ask), [])
        self.assertEqual(self.site.letters("cmu.conf.q:10.0.0.1"), [])
        self.assertEqual(self.left(replace(ask, until_ms=NOW_MS + 1_000)), [])
        self.assertEqual(len(self.site.letters("cmu.conf.q:10.0.0.1")), 1)


class LinkDown(PostCase):
    """The broker is away, or its confirm does not come."""

    def test_tried_again_for_five_seconds(self) -> None:
        """Then it is left to the outbox, in order."""
        self.site.broker.stop()
        letters = [self.letter(Kind.REPLY, CM_REPLIES, number) for number in range(3)]
        work = self.deliver(*letters)
        self.site.pass_seconds(4.9)
        self.assertNoResult(work)
        self.site.pass_seconds(0.3)
        self.assertEqual(self.successResultOf(work), letters)

    def test_back_in_time(self) -> None:
        """Sent when the link is back, in order."""
        self.site.broker.stop()
        work = self.deliver(*(self.letter(Kind.REPLY, CM_REPLIES, number) for number in range(3)))
        self.site.pass_seconds(0.5)
        self.site.broker.start()
        self.site.pass_seconds(4)
        self.assertEqual(self.successResultOf(work), [])
        self.assertEqual([each.message_id for each in self.site.letters(CM_REPLIES)], ["id-0", "id-1", "id-2"])

    def test_unconfirmed(self) -> None:
        """Published, but the link was lost before the confirm: again, with the same id."""
        self.site.broker.block()
        work = self.deliver(self.letter(Kind.REPLY, CM_REPLIES))
        self.css.bus.drop_link()
        self.site.broker.unblock()
        self.site.pass_seconds(4)
        self.assertEqual(self.successResultOf(work), [])
        self.assertEqual({each.message_id for each in self.site.letters(CM_REPLIES)}, {"id-0"})

    def test_blocked(self) -> None:
        """A broker that blocks publishers delays, and loses nothing."""
        self.site.broker.block()
        self.site.clock.advance(0)
        work = self.deliver(self.letter(Kind.REPLY, CM_REPLIES))
        self.site.pass_seconds(1)
        self.assertNoResult(work)
        self.site.broker.unblock()
        self.site.pass_seconds(1)
        self.assertEqual(self.successResultOf(work), [])
        self.assertEqual([each.message_id for each in self.site.letters(CM_REPLIES)], ["id-0"])


class OtherPlatform(PostCase):
    """Another platform's broker."""

    def test_waits(self) -> None:
        """Away, unknown, or without the queue: kept."""
        notice = self.letter(Kind.NOTICE, "gone")
        self.assertEqual(self.left(notice, peer="pB"), [notice])
        self.site.other_broker.stop()
        self.assertEqual(self.left(notice, peer="pB"), [notice])
        self.assertEqual(self.left(notice, peer="pX"), [notice])

    def test_unreachable(self) -> None:
        """After ten minutes it is parked at home."""
        old = replace(self.letter(Kind.NOTICE, "gone"), born_ms=NOW_MS - 600_001)
        self.site.other_broker.stop()
        self.assertEqual(self.left(old, peer="pB"), [])
        self.assertEqual(self.left(old, peer="pX"), [])
        self.assertEqual(
            [each.headers["x-css-reason"] for each in self.site.letters(to.PARK_QUEUE)], ["unreachable"] * 2
        )


class CarriedAbroad(SiteCase):
    """Letters to another platform go at once where there is a link, and hold nobody up."""

    def setUp(self) -> None:
        super().setUp()
        peers = self.site.connected_bus(self.site.other_broker)
        peers.declare(Topology(queues=(Queue("there"),)))
        self.site.clock.advance(0)

    def notice(self, number: int, css: Instance | None = None) -> Deferred[None]:
        """Commit a notice to pB, and carry it out."""
        css, lane, mark = css or self.css, peer_lane("pB"), f"1.{number}"
        parcels = {lane: Parcel([Letter(Kind.NOTICE, NOW_MS, Outgoing("", "there", b"{}", mark))], [], [])}
        entries = css.outbox.entries(parcels, mark, NOW_MS)
        commit = Commit(e164="1", touch_record=False, outbox=entries)
        result = css.run(self.site.store.commit(commit))
        carried = Deferred.fromCoroutine(css.outbox.carry_out(self.site.store, "1", parcels, mark, result.waiting))
        self.site.clock.advance(0)
        return carried

    def there(self) -> list[str]:
        """Ids of what has arrived."""
        return [each.message_id for each in self.site.other_broker.messages("there")]

    def test_at_once(self) -> None:
        """Not only with the next sweep; then it is forgotten."""
        self.successResultOf(self.notice(1))
        self.assertEqual(self.there(), ["1.1"])
        self.css.tick()
        self.assertEqual(self.site.outbox(), {})

    def test_broker_hangs(self) -> None:
        """The step does not wait for another platform's confirm; the sweep does not send it beside that."""
        self.site.other_broker.hang()
        self.successResultOf(self.notice(1))
        self.site.pass_seconds(2)
        self.css.run(self.css.sweep.tick())
        self.site.other_broker.resume()
        self.site.pass_seconds(0.2)
        self.assertEqual(self.there(), ["1.1"])

    def test_no_link(self) -> None:
        """Left to the sweep."""
        self.site.other_broker.stop()
        self.successResultOf(self.notice(1))
        self.assertEqual(self.site.outbox(), {"peer/pB/1": ["1.1"]})

    def test_behind_what_waits(self) -> None:
        """What another instance has not sent yet goes first."""
        self.site.other_broker.stop()
        self.successResultOf(self.notice(1, Instance(self.site, slot=2)))
        self.site.other_broker.start()
        self.site.pass_seconds(4)
        self.successResultOf(self.notice(2))
        self.assertEqual(self.there(), [])
        self.css.run(self.css.sweep.tick())
        self.assertEqual(self.there(), ["1.1", "1.2"])


class Lanes(SiteCase):
    """The outbox."""

    def parcels(self, **lanes: list[Letter]) -> dict[str, Parcel]:
        """Letters by lane."""
        return {lane: Parcel(letters, [], []) for lane, letters in lanes.items()}

    def test_names(self) -> None:
        """Which lanes go to the own broker, and which to another one."""
        self.assertTrue(all(is_at_home(lane) for lane in (OWN_LANE, ASK_LANE, notice_lane("x"))))
        self.assertFalse(any(is_at_home(lane) for lane in ("sql", "load", peer_lane("pB"))))
        self.assertEqual((peer_of(peer_lane("pB")), peer_of(OWN_LANE)), ("pB", ""))

    def test_partial(self) -> None:
        """What could not be sent stays, in its lane only; the lane that was emptied is forgotten."""
        self.site.broker.delete_queue(LOCATOR)
        self.run_one()
        self.css.tick()
        self.assertEqual(list(self.site.outbox()), ["to/UPU.CONF.EX/0755001"])
        self.assertEqual(len(self.answers()), 1)

    def test_some_letters_of_a_lane(self) -> None:
        """Only what is left of an entry is kept under its mark."""
        gone, there = (Letter(Kind.NOTICE, NOW_MS, Outgoing("", queue, b"{}", queue)) for queue in ("gone", CM_NOTICES))
        lane = notice_lane("x")
        parcels = self.parcels(**{lane: [there, gone]})
        self.css.run(self.css.outbox.carry_out(self.site.store, "1", parcels, "5.1", ()))
        (batch,) = self.take(lane)
        self.assertEqual(batch.entries, [("5.1", Parcel([gone]).data())])

    def take(self, lane: str) -> Any:
        """What a sweep would find when every lease has run out."""
        self.site.pass_seconds(11, 1)
        return self.css.run(self.site.store.take_outbox("pA", lane, 1_000, 10))

    def test_waiting_lane_is_left_to_the_sweep(self) -> None:
        """What another instance has not finished goes first; the other lanes do not wait for it."""
        self.site.broker.delete_queue(LOCATOR)
        request = self.run_one()
        self.site.declare(LOCATOR)
        self.ended(request)
        self.assertEqual(self.site.bodies(LOCATOR), [])
        self.assertEqual([body["type"] for body in self.site.bodies(CM_NOTICES)], ["MAU_CM_RELEASECONF_NTF"])
        self.site.bind(LOCATOR)
        self.css.tick()
        self.site.pass_seconds(10.1)
        self.css.run(self.css.sweep.tick())
        kinds = [body["type"] for body in self.site.bodies(LOCATOR)]
        self.assertEqual(kinds, ["UPU_ADD_CONF_REQ", "UPU_DEL_CONF_REQ"])

    def test_resources_that_can_not_be_asked_hold_up_nothing(self) -> None:
        """RMS has no queue: its time-out comes, and the CM's NACK with it."""
        self.site.broker.delete_queue(RMS)
        asking = self.css.begin(
            {"type": "CM_MAU_CREATECONF_REQ", "confE164": "1", "confname": "x", "moid": "uA", "mtreqid": "m"},
            message_id="x",
            reply_to=CM_REPLIES,
        )
        self.site.pass_seconds(5.3)
        self.successResultOf(asking)
        self.css.run(self.css.due.tick())
        self.assertEqual(self.errcodes(), ["RMS_TIMEOUT"])

    def test_forgotten_with_the_next_commit(self) -> None:
        """What is done goes with the number's next step; no command of its own is needed."""
        asked = self.ask()
        self.assertEqual(len(self.site.outbox()), 1)
        self.give(asked)
        marks = self.site.outbox()
        self.assertEqual(list(marks), ["ask/0755001"])
        self.assertEqual(len(marks["ask/0755001"]), 1)
        self.assertEqual(self.css.outbox.cleared(self.site.store, "other"), ())

    def test_flush_with_one_store_away(self) -> None:
        """The others forget all the same, whatever the order in which things were done."""
        for store, e164 in ((self.site.other, "1"), (self.site.store, "2")):
            entry = OutboxEntry("pA", OWN_LANE, "1.1", b"", 0)
            self.css.run(store.commit(Commit(e164=e164, touch_record=False, outbox=(entry,))))
            self.css.outbox.mark_done(store, e164, OWN_LANE, "1.1")
        self.site.other.fail()
        flush = Deferred.fromCoroutine(self.css.outbox.flush(self.site.stores))
        self.site.pass_seconds(3)
        self.failureResultOf(flush, StoreError)
        self.assertEqual(self.site.outbox(), {})
        self.site.other.recover()
        self.css.run(self.css.outbox.flush(self.site.stores))
        self.assertEqual(self.site.outbox(self.site.other), {})

    def test_flush_fails(self) -> None:
        """The store is away: what was not forgotten is so at the next flush."""
        self.ask()
        self.site.store.fail()
        flush = Deferred.fromCoroutine(self.css.outbox.flush(self.site.stores))
        self.failureResultOf(flush, StoreError)
        self.site.store.recover()
        self.assertEqual(len(self.site.outbox()), 1)
        self.css.tick()
        self.assertEqual(self.site.outbox(), {})

    def test_same_ids_on_every_try(self) -> None:
        """Two instances that write the same step down give its messages the same ids (here: a step and its sweep)."""
        self.site.broker.stop()
        work = self.css.begin(
            {"type": "CM_MAU_RELEASECONF_REQ", "confE164": "404"}, message_id="x", reply_to=CM_REPLIES
        )
        self.site.pass_seconds(5.3)
        self.successResultOf(work)
        self.site.broker.start()
        other = Instance(self.site, slot=2)
        self.site.pass_seconds(10)
        other.run(other.sweep.tick())
        first = [each.message_id for each in self.site.letters(CM_REPLIES)]
        self.css.take(
            {"type": "CM_MAU_RELEASECONF_REQ", "confE164": "404"}, message_id="x", reply_to=CM_REPLIES, redelivered=True
        )
        again = [each.message_id for each in self.site.letters(CM_REPLIES)]
        self.assertEqual((len(first), again), (1, first * 2))
