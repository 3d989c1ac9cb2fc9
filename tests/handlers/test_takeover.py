"""Platform pA takes pB over, hands it back, and looks after what a backup has left behind (seed 2.3.1)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from css.adapters.memory.store import MemoryStore
from css.domain.conference import from_fields, indexes
from css.domain.platforms import Known, Platforms, PlatformState
from css.handlers import addresses as to
from css.handlers import takeover
from css.handlers.letters import Kind, Letter, pack
from css.ports.bus import Outgoing
from css.ports.ledger import Recovery
from css.ports.store import Commit, OutboxEntry, Outcome
from tests.handlers.site import CM_NOTICES, CM_REPLIES, RMS, Instance, SiteCase, done


class TakeoverCase(SiteCase):
    """Conferences that say that they run on pB, as pB's own CSS would have left them."""

    def setUp(self) -> None:
        super().setUp()
        self.say(pA="normal", pB="normal")
        peers = self.css.other_bus
        peers.declare(to.PEER_TOPOLOGY)
        self.site.clock.advance(0)

    def say(self, **states: str) -> None:
        """What the PMS says now; pB is both backed up by this platform and its backup."""
        known = {moid: Known(PlatformState(state)) for moid, state in states.items()}
        self.site.platforms = Platforms("pA", ("pB",), ("pB", "pC"), known, True)

    def on_peer(self, e164: str) -> None:
        """Have a record of pB's store say that it is on pB."""
        self.move(self.site.other, e164, "pB")

    def move(self, store: MemoryStore, e164: str, platform: str) -> None:
        """Rewrite a record as if it ran, or were placed, on another platform, as that one's CSS would."""
        loaded = done(store.load(e164))
        before = from_fields(e164, loaded.record, loaded.conf)
        after = replace(before, platformmoid=platform)
        commit = Commit(
            e164=e164,
            expected=(str(before.first_epoch), before.version),
            set_fields={"platformmoid": platform},
            index_add=indexes(after),
            index_drop=tuple(name for name in indexes(before) if name not in indexes(after)),
        )
        self.assertEqual(done(store.commit(commit)).outcome, Outcome.DONE)
        self.css.steps._hints.clear()

    def run_on_peer(self, e164: str, **more: Any) -> dict[str, Any]:
        """A conference of pB that runs there."""
        self.say(pA="normal", pB="abnormal")
        request = self.give(self.ask(e164=e164, moid="uB", **more), "10.0.0.1")
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=f"pB/{e164}/{request['epoch']}")
        self.css.tick()
        self.say(pA="normal", pB="normal")
        self.on_peer(e164)
        return request

    def peer_record(self, e164: str) -> dict[str, str]:
        """The record in pB's Redis."""
        return self.site.record(e164, self.site.other)

    def asked_to_restore(self, e164: str, css: Instance | None = None) -> dict[str, Any]:
        """The restore timer's round, and RMS's answer. @return: the request to a host here."""
        (css or self.css).run((css or self.css).restores.tick())
        correlation_id = self.site.letters(RMS)[-1].correlation_id
        self.assertEqual(correlation_id.split("/")[:2], ["pB", e164])
        return self.give(correlation_id, css=css)

    def restored(self, request: dict[str, Any]) -> None:
        """The host's process 11 answers."""
        body = {"type": "CMU_MAU_RESTORECONF_ACK", "pid": "11"}
        body |= {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=f"pB/{request['confE164']}/{request['epoch']}")


class TakenOver(TakeoverCase):
    """The PMS says that pB is abnormal."""

    def test_whole_way(self) -> None:
        """Voided, restored here; its CM here is told; the place on pB's host, and pB's locator, wait for pB's CSS."""
        request = self.run_on_peer("7")
        self.css.run(self.css.takeover.tick())
        self.assertEqual(self.peer_record("7")["state"], "ongoing")
        self.say(pA="normal", pB="abnormal")
        self.css.run(self.css.takeover.tick())
        record = self.peer_record("7")
        self.assertEqual((record["state"], record["ip"], record["pid"]), ("pending_restore", "", ""))
        self.assertEqual(record["platformmoid"], "pB")
        self.assertGreater(int(record["epoch"]), request["epoch"])
        again = self.asked_to_restore("7")
        self.assertEqual((again["type"], self.peer_record("7")["platformmoid"]), ("MAU_CMU_RESTORECONF_REQ", "pA"))
        self.restored(again)
        self.assertEqual(self.peer_record("7")["state"], "ongoing")
        notice = self.site.bodies(CM_NOTICES)[-1]
        self.assertEqual((notice["type"], notice["platformmoid"]), ("MAU_CM_RESTORECONF_NTF", "pA"))
        left = {key for key in self.site.other.dump() if key.startswith("css/out/pB/")}
        self.assertEqual(left, {"css/out/pB/load/7", "css/out/pB/to/UPU.CONF.EX/7"})

    def test_an_entry_whose_maker_died_is_not_another_loss(self) -> None:
        """What was entered and came to nothing is under way for a moment; later it names another time's loss."""
        old = Recovery("platform:pB:1@pA", "platform", "pB", "before", int(self.site.clock.seconds() * 1000))
        done(self.site.ledger.open(old))
        self.run_on_peer("7")
        self.site.pass_seconds(61, 1.0)
        self.run_on_peer("8")
        self.say(pA="normal", pB="abnormal")
        self.css.run(self.css.takeover.tick())
        self.css.tick()
        newest, before = done(self.site.ledger.recent(2))
        self.assertEqual((before.name, before.planned, newest.planned), (old.name, 0, 2))

    def test_restores_begin_at_once(self) -> None:
        """Nothing is left for the next round, which may be that of a platform that does not know that it is lost."""
        self.run_on_peer("7")
        self.say(pA="normal", pB="abnormal")
        asked = len(self.site.letters(RMS))
        self.css.run(self.css.takeover.tick())
        self.assertEqual([each.correlation_id.split("/")[:2] for each in self.site.letters(RMS)[asked:]], [["pB", "7"]])
        self.assertEqual(done(self.site.other.ready_restores(9)), (0, False))

    def test_ledger(self) -> None:
        """One entry, of both pages and both instances, which ends with the last restore."""
        self.run_on_peer("7")
        self.run_on_peer("8")
        self.say(pA="normal", pB="abnormal")
        self.css.run(self.css.takeover.tick())
        self.css.tick()
        self.run_late("9")
        other = Instance(self.site, 2)
        other.run(other.takeover.tick())
        other.tick()
        (recovery,) = self.css.run(self.site.ledger.recent(9))
        self.assertEqual((recovery.kind, recovery.subject, recovery.planned), ("platform", "pB", 3))
        asked = {each.correlation_id.split("/")[1]: each.correlation_id for each in self.site.letters(RMS)}
        for correlation_id in asked.values():
            self.restored(self.give(correlation_id))
        self.css.tick()
        (recovery,) = self.css.run(self.site.ledger.recent(9))
        self.assertEqual((recovery.settled, recovery.ended_ms > 0), (3, True))

    def run_late(self, e164: str) -> None:
        """One more, of which only a later round can know."""
        self.run_on_peer(e164)
        self.say(pA="normal", pB="abnormal")

    def test_being_created(self) -> None:
        """Removed, the licence given back, the CM there is told on its broker; never restored."""
        self.say(pA="normal", pB="abnormal")
        self.ask(e164="7", moid="uB")
        self.on_peer("7")
        self.css.run(self.css.takeover.tick())
        self.assertEqual(self.peer_record("7"), {})
        self.assertNotIn("css/set/licence/pB/small", self.site.other.dump())
        self.site.clock.advance(0)
        self.assertEqual(self.answers(), [])
        nacks = self.site.other_broker.messages(CM_REPLIES)
        # There is no such queue on that broker in this test: it was published there, and dropped.
        self.assertEqual((nacks, self.css.tally["unroutable_dropped"]), ([], 1))
        self.assertEqual(self.css.run(self.site.ledger.recent(9)), [])

    def test_legacy(self) -> None:
        """It is not taken over, and costs no look in later rounds."""
        self.run_on_peer("7", legacy=1)
        self.say(pA="normal", pB="abnormal")
        self.css.run(self.css.takeover.tick())
        self.assertEqual((self.peer_record("7")["state"], self.peer_record("7")["platformmoid"]), ("ongoing", "pB"))
        self.assertNotIn("css/index/live/pB", self.site.other.dump())

    def test_on_a_third_platform_and_here(self) -> None:
        """They stay."""
        self.run_on_peer("7")
        self.run_on_peer("8")
        self.move(self.site.other, "7", "pC")
        self.move(self.site.other, "8", "pA")
        self.say(pA="normal", pB="abnormal", pC="normal")
        self.css.run(self.css.takeover.tick())
        self.assertEqual([self.peer_record(each)["state"] for each in "78"], ["ongoing", "ongoing"])

    def test_crash_half_way(self) -> None:
        """Another instance, or the same one started again, goes on."""
        for e164 in "789":
            self.run_on_peer(e164)
        self.say(pA="normal", pB="abnormal")
        taken: list[str] = []

        def die(step: str, point: str) -> None:
            if (step, point) == ("take_over", "before_commit"):
                taken.append(step)
                if len(taken) > 1:
                    raise RuntimeError("killed")

        self.css.on_point = die
        self.css.run(self.css.takeover.tick())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        fresh = Instance(self.site, 2)
        fresh.run(fresh.takeover.tick())
        self.assertEqual([self.peer_record(each)["state"] for each in "789"], ["pending_restore"] * 3)

    def test_it_comes_back_in_the_middle(self) -> None:
        """What has not been taken yet is left to it."""
        for e164 in "78":
            self.run_on_peer(e164)
        self.say(pA="normal", pB="abnormal")

        def back(step: str, point: str) -> None:
            if (step, point) == ("take_over", "after_commit"):
                self.say(pA="normal", pB="normal")

        self.css.on_point = back
        page = self.site.other.page_index

        async def one_by_one(index: str, cursor: str, limit: int) -> Any:
            return await page(index, cursor, 1)

        self.patch(self.site.other, "page_index", one_by_one)
        self.css.run(self.css.takeover.tick())
        self.assertEqual([self.peer_record(each)["state"] for each in "78"], ["pending_restore", "ongoing"])

    def test_its_redis_is_away(self) -> None:
        """The round says so; it is taken over when it answers."""
        self.run_on_peer("7")
        self.say(pA="normal", pB="abnormal")
        self.site.other.fail()
        self.fails(self.css.takeover.tick())
        self.site.other.recover()
        self.css.run(self.css.takeover.tick())
        self.assertEqual(self.peer_record("7")["state"], "pending_restore")


class BackupDied(TakeoverCase):
    """This platform's own conferences that run on a backup."""

    def run_there(self, e164: str) -> dict[str, Any]:
        """A conference of pA that the backup pB restored."""
        request = self.run_one(e164)
        self.css.tick()
        self.move(self.site.store, e164, "pB")
        return request

    def test_dies_after_handback(self) -> None:
        """They are voided and restored here; nothing is told to hosts that only have the same address."""
        request = self.run_there("7")
        before = len(self.site.bodies(f"cmu.conf.q:{request['ip']}:11"))
        self.say(pA="normal", pB="abnormal")
        self.css.run(self.css.takeover.tick())
        self.assertEqual(self.site.record("7")["state"], "pending_restore")
        self.assertEqual(len(self.site.bodies(f"cmu.conf.q:{request['ip']}:11")), before)
        self.css.run(self.css.restores.tick())
        again = self.give(self.site.letters(RMS)[-1].correlation_id)
        self.assertEqual((again["type"], self.site.record("7")["platformmoid"]), ("MAU_CMU_RESTORECONF_REQ", "pA"))

    def test_lives(self) -> None:
        """They stay there until they end."""
        self.run_there("7")
        for _ in range(3):
            self.css.round()
            self.site.pass_seconds(10, 1.0)
        self.assertEqual((self.site.record("7")["state"], self.site.record("7")["platformmoid"]), ("ongoing", "pB"))


class Abandoned(TakeoverCase):
    """What the backup began to place in this platform's store, and never finished."""

    def look(self) -> None:
        """A round over the others' placements."""
        self.css.run(self.css.takeover.watch_others())

    def test_restore(self) -> None:
        """Failed after twice the creating time-out, not before; its epoch is raised, and it is restored here."""
        self.run_one("7")
        self.css.tick()
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": self.site.record("7")["ip"], "pid": "11"}, to.MCU_QUEUE)
        self.css.run(self.css.mcu_watch.tick())
        self.css.run(self.css.restores.tick())
        self.give(self.site.letters(RMS)[-1].correlation_id)
        self.css.tick()
        self.move(self.site.store, "7", "pB")
        record = self.site.record("7")
        self.assertEqual(record["state"], "creating")
        self.site.pass_seconds(59, 1.0)
        self.look()
        self.assertEqual(self.site.record("7"), record)
        self.site.pass_seconds(1.5, 0.5)
        self.look()
        after = self.site.record("7")
        self.assertEqual((after["state"], int(after["epoch"])), ("pending_restore", int(record["epoch"]) + 1))

    def test_behind_what_is_overdue_and_runs(self) -> None:
        """However much there is of it: the platform that should end it is cut off."""
        self.patch(takeover, "PAGE", 2)
        for n in range(5):
            self.run_one(f"8{n}", duration=1)
            self.css.tick()
            self.move(self.site.store, f"8{n}", "pB")
        self.site.pass_seconds(60, 1.0)
        self.ask(e164="7")
        self.move(self.site.store, "7", "pB")
        self.site.pass_seconds(61, 1.0)
        for _ in range(3):
            self.look()
        self.assertEqual(self.site.record("7"), {})
        for _ in range(4):
            self.look()
        self.assertEqual(self.state_of("80"), "ongoing")

    def test_create(self) -> None:
        """Removed; the CM that asked is told on its own broker."""
        self.ask(e164="7")
        self.move(self.site.store, "7", "pB")
        self.site.pass_seconds(61, 1.0)
        self.look()
        self.assertEqual(self.site.record("7"), {})
        self.site.clock.advance(0)
        self.assertEqual((self.answers(), self.css.tally["unroutable_dropped"]), ([], 1))

    def test_what_runs_there_and_what_is_placed_here(self) -> None:
        """They are no business of this round."""
        self.run_one("7", duration=1)
        self.ask(e164="8")
        self.css.tick()
        self.move(self.site.store, "7", "pB")
        self.site.pass_seconds(300, 5.0)
        self.look()
        self.assertEqual((self.site.record("7")["state"], self.site.record("8")["state"]), ("ongoing", "creating"))


class LeftBehind(TakeoverCase):
    """Effects that an abnormal platform has committed and not carried out."""

    def leave(self, lane: str) -> None:
        """Have what waits in a lane of pB's store be pB's, due now."""
        store, key = self.site.other, f"css/out/pA/{lane}/7"
        waiting = store.dump()[key]
        ((mark, data),) = waiting.items()
        entry = _entry("pB", lane, mark, data)
        done(store.commit(Commit(e164="7", touch_record=False, outbox=(entry,))))
        done(store.clear_outbox("pA", lane, [("7", mark)]))

    def test_rows(self) -> None:
        """Written by whoever serves the source platform, and forgotten."""
        self.say(pA="normal", pB="abnormal")
        request = self.give(self.ask(e164="7", moid="uB"), "10.0.0.1")
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, to.MCU_QUEUE, correlation_id=f"pB/7/{request['epoch']}")
        self.css.rows._waiting.clear()
        self.leave("sql")
        fresh = Instance(self.site, 2)
        fresh.run(fresh.sweep.tick())
        fresh.tick()
        fresh.tick()
        assert self.site.database is not None
        self.assertIn("7", self.site.database.rows)
        self.assertEqual([key for key in self.site.other.dump() if key.startswith("css/out/pB/")], [])

    def test_letters(self) -> None:
        """Published on its broker, while that can be reached; not once it is normal again."""
        self.say(pA="normal", pB="abnormal")
        self.leave_letter()
        self.say(pA="normal", pB="normal")
        self.css.run(self.css.sweep.tick())
        self.assertEqual(self.css.tally["unroutable_dropped"], 0)
        self.say(pA="normal", pB="abnormal")
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertEqual(self.css.tally["unroutable_dropped"], 1)
        self.assertEqual([key for key in self.site.other.dump() if key.startswith("css/out/pB/")], [])

    def leave_letter(self) -> None:
        """An answer that pB's CSS could not give."""
        now_ms = round(self.site.clock.seconds() * 1000)
        letter = Letter(Kind.REPLY, now_ms, Outgoing("", "gone.q", b"{}", "id-1"))
        entry = _entry("pB", "own", "5.1", pack([letter]))
        done(self.site.other.commit(Commit(e164="7", touch_record=False, outbox=(entry,))))

    def test_places_are_left_to_it(self) -> None:
        """What it counts is in its own Redis."""
        entry = _entry("pB", "load", "5.1", pack([("10.0.0.1", "pB/7/5")]))
        done(self.site.other.commit(Commit(e164="7", touch_record=False, outbox=(entry,))))
        self.say(pA="normal", pB="abnormal")
        self.css.run(self.css.sweep.tick())
        self.css.tick()
        self.assertIn("css/out/pB/load/7", self.site.other.dump())


def _entry(owner: str, lane: str, mark: str, data: bytes) -> OutboxEntry:
    """Due now."""
    return OutboxEntry(owner, lane, mark, data, 0)
