"""Who has gone: silence, disconnects, mass silence; and who may judge."""

from __future__ import annotations

import contextlib

from twisted.internet.defer import Deferred

from css.handlers import addresses as to
from css.ports.store import McuSeen, StoreError
from tests.handlers.site import HOSTS, Instance, SiteCase, done

MANY = tuple(f"10.0.1.{n}" for n in range(1, 11))


class WatchCase(SiteCase):
    """MCUs that are heard of, and a watch over them."""

    def setUp(self) -> None:
        super().setUp()
        self.css.liveness.begin_to_consume(0)
        self.quiet: set[str] = set()

    def heard(self, *ips: str, css: Instance | None = None) -> None:
        """Heartbeats of process 11 of each host, written down."""
        css = css or self.css
        for ip in ips:
            css.take({"type": "MCU_MAU_HEARTBEAT_NTF", "ip": ip, "pid": "11"}, to.MCU_QUEUE)
        css.run(css.liveness.flush())

    def seconds(self, count: int, *css: Instance) -> None:
        """Time goes by; every second hosts that are not quiet are heard of, and the watch looks."""
        for _ in range(count):
            for instance in css or (self.css,):
                self.site.clock.advance(1.0 / len(css or (1,)))
                self.heard(*(ip for ip in MANY if ip not in self.quiet), css=instance)
                instance.run(instance.mcu_watch.tick())

    def lost(self, css: Instance | None = None) -> int:
        """How many processes were taken for gone."""
        return (css or self.css).tally["mcus_lost"]


class Silence(WatchCase):
    """A process that is not heard of."""

    def test_one_of_many(self) -> None:
        """After the time-out, within two seconds more; its conferences wait to be restored."""
        self.accept(self.give(self.ask(), "10.0.0.1"))
        self.heard("10.0.0.1")
        self.seconds(14)
        self.assertEqual((self.lost(), self.state_of()), (0, "ongoing"))
        self.seconds(3)
        self.assertEqual((self.lost(), self.state_of()), (1, "pending_restore"))
        self.assertEqual(self.css.tally["mass_losses_suspected"], 0)

    def test_once(self) -> None:
        """Forgotten until it is heard of again."""
        self.heard("10.0.0.1")
        self.seconds(40)
        self.assertEqual(self.lost(), 1)
        self.heard("10.0.0.1")
        self.seconds(40)
        self.assertEqual(self.lost(), 2)

    def test_disconnected(self) -> None:
        """At once, even while silence can't be judged."""
        self.accept(self.give(self.ask(), "10.0.0.1"))
        self.heard("10.0.0.1")
        self.css.liveness.interrupted()
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": "10.0.0.1", "pid": "11"}, to.MCU_QUEUE)
        self.css.run(self.css.mcu_watch.tick())
        self.assertEqual(self.state_of(), "pending_restore")

    def test_late_ack_from_one_that_is_taken_care_of(self) -> None:
        """It confirms a conference onto a process that has gone, through an instance that knows nothing of that."""
        other = Instance(self.site, 2)
        request = self.give(self.ask(), "10.0.0.1")
        self.heard("10.0.0.1", css=other)
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": "10.0.0.1", "pid": "11"}, to.MCU_QUEUE)
        self.css.run(self.css.mcu_watch.tick())
        self.assertEqual(self.lost(), 1)
        self.accept(request, other)
        self.assertEqual(self.state_of(), "ongoing")
        self.seconds(17, self.css, other)
        self.assertEqual(self.state_of(), "pending_restore")

    def test_two_instances(self) -> None:
        """One of them takes it."""
        other = Instance(self.site, 2)
        other.liveness.begin_to_consume(0)
        self.heard("10.0.0.1")
        self.seconds(20, self.css, other)
        self.assertEqual(self.lost() + self.lost(other), 1)

    def test_a_store_is_away(self) -> None:
        """What can be done is done for each; it is not forgotten before all is."""
        for ip in ("10.0.0.1", "10.0.0.2"):
            self.accept(self.give(self.ask(e164=ip[-1]), ip))
            self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": ip, "pid": "11"}, to.MCU_QUEUE)
        self.site.other.fail()
        self.fails(self.css.mcu_watch.tick())
        self.assertEqual((self.state_of("1"), self.state_of("2")), ("pending_restore", "pending_restore"))
        self.assertEqual(self.lost(), 0)
        self.site.other.recover()
        self.site.clock.advance(5.1)
        self.css.run(self.css.mcu_watch.tick())
        self.assertEqual(self.lost(), 2)


class MassSilence(WatchCase):
    """More than half of all within one time-out: one more time-out is waited."""

    def test_all_at_once(self) -> None:
        """An alert; then they are believed to have gone."""
        self.seconds(20)
        self.quiet = set(MANY)
        self.seconds(28)
        self.assertEqual((self.lost(), self.css.tally["mass_losses_suspected"]), (0, 1))
        self.seconds(6)
        self.assertEqual(self.lost(), len(MANY))

    def test_each_at_its_own_time(self) -> None:
        """Their last signs came within a heartbeat's time of each other: still one loss."""
        self.seconds(20)
        for pair in (MANY[:2], MANY[2:4], MANY[4:6]):
            self.quiet |= set(pair)
            self.seconds(2)
        self.seconds(20)
        self.assertEqual((self.lost(), self.css.tally["mass_losses_suspected"]), (0, 1))

    def test_they_come_back(self) -> None:
        """Nothing was done; a later single loss is judged as ever."""
        self.seconds(20)
        self.quiet = set(MANY)
        self.seconds(20)
        self.quiet = set()
        self.seconds(20)
        self.assertEqual(self.lost(), 0)
        self.quiet = {MANY[0]}
        self.seconds(17)
        self.assertEqual(self.lost(), 1)

    def test_shared_by_two_instances(self) -> None:
        """Neither takes its half for the whole."""
        other = Instance(self.site, 2)
        other.liveness.begin_to_consume(0)
        self.seconds(20, self.css, other)
        self.quiet = set(MANY[:6])
        self.seconds(24, self.css, other)
        self.assertEqual(self.lost() + self.lost(other), 0)

    def test_half_is_not_more_than_half(self) -> None:
        """Believed after one time-out."""
        self.seconds(20)
        self.quiet = set(MANY[:5])
        self.seconds(18)
        self.assertEqual(self.lost(), 5)


class Flapping(WatchCase):
    """A host that falls silent again and again."""

    def place(self, e164: str) -> str:
        """Where a new conference goes that could go to this host or to a fuller one."""
        return str(self.give(self.ask(e164=e164), "10.0.0.1", "10.0.0.2")["ip"])

    def silent_once(self) -> None:
        """It is heard of, then not, until it is taken for gone; then it is back."""
        self.heard("10.0.0.1")
        self.seconds(17)
        self.heard("10.0.0.1")

    def test_avoided_longer_with_each_loss(self) -> None:
        """Not after the first; by every instance."""
        for e164 in ("1", "2", "3", "4", "5", "6"):
            self.give(self.ask(e164=e164), "10.0.0.2")
        self.silent_once()
        self.assertEqual((self.lost(), self.place("7")), (1, "10.0.0.1"))
        other = Instance(self.site, 2, 8)
        for times, e164 in ((2, "8"), (3, "9")):
            self.silent_once()
            self.assertEqual((self.lost(), self.place(e164)), (times, "10.0.0.2"))
        correlation_id = self.ask(css=other, e164="10")
        self.assertEqual(self.give(correlation_id, "10.0.0.1", "10.0.0.2", css=other)["ip"], "10.0.0.2")


class WhoMayJudge(WatchCase):
    """An instance whose own view is stale judges nobody."""

    def test_stalled(self) -> None:
        """Its timers came late: it could not hear either."""
        self.seconds(20)
        self.site.clock.advance(60)
        self.css.run(self.css.liveness.flush())
        self.css.run(self.css.mcu_watch.tick())
        self.assertEqual((self.lost(), self.css.liveness.silent_before_ms()), (0, 0))

    def test_deaf(self) -> None:
        """Its broker is away, however long; when it is back a time-out must pass."""
        self.seconds(20)
        self.css.liveness.link_changed(False)
        self.quiet = set(MANY)
        self.seconds(120)
        self.assertEqual(self.lost(), 0)
        self.css.liveness.link_changed(True)
        self.quiet = set()
        self.seconds(30)
        self.assertEqual(self.lost(), 0)

    def test_store_away_for_a_while(self) -> None:
        """The signs of that time could not be written: nobody is judged by them, though this instance heard none."""
        self.seconds(20)
        self.site.store.fail()
        for _ in range(60):
            self.site.clock.advance(1)
            self.css.run(self.swallow_all())
        self.site.store.recover()
        self.css.run(self.css.mcu_watch.tick())
        self.seconds(40)
        self.assertEqual((self.lost(), self.css.tally["mass_losses_suspected"]), (0, 0))

    def test_store_that_answers_late(self) -> None:
        """Its own round trip is stale: what was read before is no ground to judge by."""
        self.seconds(20)
        self.site.store.hang()
        ticking = [Deferred.fromCoroutine(self.swallow_all())]
        for _ in range(30):
            self.site.clock.advance(0.5)
            if ticking[-1].called:
                ticking.append(Deferred.fromCoroutine(self.swallow_all()))
        self.site.store.recover()
        self.site.clock.advance(3)
        self.assertTrue(all(each.called for each in ticking))
        self.assertEqual((self.lost(), self.css.liveness.silent_before_ms()), (0, 0))
        self.seconds(40)
        self.assertEqual((self.lost(), self.css.tally["mass_losses_suspected"]), (0, 0))

    def test_heard_of_none_are_kept_in_mind(self) -> None:
        """What is long gone takes no room."""
        self.heard(*MANY)
        self.seconds(1)
        self.assertEqual({ip for ip, _ in self.css.liveness._written_ms}, set(MANY))
        self.quiet = set(MANY)
        self.seconds(160)
        self.assertEqual((self.css.liveness._written_ms, self.css.liveness._rooms), ({}, {}))

    async def swallow_all(self) -> None:
        """What the timers do while the store is away."""
        for work in (self.css.liveness.flush, self.css.mcu_watch.tick):
            with contextlib.suppress(StoreError):
                await work()


class Rooms(WatchCase):
    """The standing condition."""

    def test_placed_before_its_host_said_where_it_is(self) -> None:
        """The room is the one that the MCU has reported since, not the one that RMS gave (contract: MCU state)."""
        for e164, ip in (("1", HOSTS[0]), ("2", HOSTS[1])):
            self.accept(self.give(self.ask(e164=e164), ip, roommoid="room-rms"))
        seen = [
            McuSeen(HOSTS[0], "11", done(self.site.store.now_ms()), "room-1"),
            McuSeen(HOSTS[1], "11", done(self.site.store.now_ms()), "room-2"),
        ]
        done(self.site.state.note_seen(seen))
        done(self.site.state.set_room("room-1", True))
        self.css.run(self.css.room_watch.tick())
        self.assertEqual((self.state_of("1"), self.state_of("2")), ("pending_restore", "ongoing"))
        command = self.site.bodies(f"cmu.conf.q:{HOSTS[0]}:11")[-1]
        self.assertEqual(command["type"], "MAU_MCU_RELEASECONF_CMD")

    def test_one_store_away_holds_up_no_host(self) -> None:
        """What is in the other stores is taken off every host of the room."""
        for e164, ip in (("1", HOSTS[0]), ("2", HOSTS[1])):
            self.accept(self.give(self.ask(e164=e164), ip, roommoid="room-rms"))
        now_ms = done(self.site.store.now_ms())
        done(self.site.state.note_seen([McuSeen(ip, "11", now_ms, "room-1") for ip in HOSTS[:2]]))
        done(self.site.state.set_room("room-1", True))
        self.site.other.fail()
        self.fails(self.css.room_watch.tick())
        self.assertEqual((self.state_of("1"), self.state_of("2")), ("pending_restore", "pending_restore"))

    def test_one_store_away_holds_up_no_other_room(self) -> None:
        """Each room is looked at."""
        for e164, room in (("1", "room-1"), ("2", "room-2")):
            self.accept(self.give(self.ask(e164=e164), "10.0.0.1", roommoid=room))
            done(self.site.state.set_room(room, True))
        self.site.other.fail()
        self.fails(self.css.room_watch.tick())
        self.assertEqual((self.state_of("1"), self.state_of("2")), ("pending_restore", "pending_restore"))
