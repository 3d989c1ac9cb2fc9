"""The step that everything is made of: conflicts, stale hints, unknown outcomes, order, kill points."""

from __future__ import annotations

import msgspec

from css.domain.epochs import EpochSource
from css.handlers import addresses as to
from css.handlers.steps import MAX_CONFLICTS
from css.ports.bus import TryLater
from css.ports.sql import RowWrite
from css.ports.store import Commit, WrongType
from tests.handlers.site import (
    CM_NOTICES,
    CM_REPLIES,
    LEASE_MS,
    Instance,
    SiteCase,
    create,
    done,
    release,
    resources,
    token,
)

POINTS = ("before_load", "before_commit", "after_commit", "after_confirm")
"""Of a step; a create has no record to load."""


class Death(Exception):
    """Stands for a process that dies at a kill point."""


class TwoInstances(SiteCase):
    """Each message goes to whichever instance the broker chose."""

    def setUp(self) -> None:
        super().setUp()
        self.two = Instance(self.site, slot=2, seed=8)

    def test_any_instance_continues(self) -> None:
        """Each step is made by another one, without waiting for a lease."""
        request = self.give(self.ask(self.css), css=self.two)
        self.accept(request, css=self.css)
        self.assertEqual(len(self.answers()), 1)
        self.two.take(release(), message_id="end", reply_to=CM_REPLIES)
        self.assertEqual(self.site.record("0755001"), {})

    def test_refusal_taken_by_another_instance(self) -> None:
        """The next host is asked at once."""
        first = self.give(self.ask(self.css), "10.0.0.1", "10.0.0.2", css=self.css)
        self.refuse(first, css=self.two)
        self.assertEqual(len(self.asked("0755001")), 2)

    def test_answer_beside_a_refused_repetition(self) -> None:
        """A CONF_EXISTS that another instance has just given does not hold up the ACK of the number's own create."""
        request = self.give(self.ask())
        self.two.take(create(mtreqid="m-9"), message_id="other", reply_to=CM_REPLIES)
        self.accept(request)
        self.assertEqual(sorted(body["type"][-4:] for body in self.answers()), ["NACK", "_ACK"])

    def test_end_notice_on_a_stale_hint(self) -> None:
        """The instance still believes that the host is being asked; the notice, without an epoch, is not lost."""
        request = self.give(self.ask(self.css))
        self.accept(request, css=self.two)
        self.ended(request, css=self.css, epoch=None)
        self.assertEqual(self.site.record("0755001"), {})

    def test_ack_without_an_epoch_on_a_stale_hint(self) -> None:
        """The instance still believes that another host is asked: what runs now is not ended."""
        first = self.give(self.ask(self.css), "10.0.0.1", "10.0.0.2")
        self.refuse(first, css=self.two)
        second = self.asked("0755001")[-1]
        self.accept(second, css=self.css, epoch=None)
        self.assertEqual(self.site.record("0755001")["state"], "ongoing")
        self.assertEqual(self.site.letters(f"cmu.conf.q:{second['ip']}:11"), [])

    def test_deadline_on_a_stale_hint(self) -> None:
        """The instance still believes that the earlier conference of the number runs, which awaits nothing."""
        self.run_one()
        self.css.tick()
        self.two.take(release(), message_id="end", reply_to=CM_REPLIES)
        self.two.take(create(), message_id="again", reply_to=CM_REPLIES)
        self.two.tick()
        self.site.pass_seconds(5.1)
        self.css.run(self.css.due.tick())
        self.assertEqual(self.errcodes()[-1], "RMS_TIMEOUT")

    def test_hint_of_what_the_store_has_lost(self) -> None:
        """A failover loses the newest step, and another instance makes its own: with the same version, which proves
        nothing now. What was known before the link came up anew is forgotten."""
        request = self.give(self.ask(self.css), "10.0.0.1", css=self.css)
        keyspace = self.site.store.server.keyspace
        before = dict(self.site.record("0755001"))
        self.accept(request, self.css)
        lost = self.site.record("0755001")
        self.site.store.fail()
        keyspace.delete("confex/0755001")
        keyspace.update_hash("confex/0755001", before)
        self.site.store.recover()
        self.accept(request, self.two, pid="12")
        self.assertEqual(self.site.record("0755001")["version"], lost["version"])
        self.ended(request, self.css)
        self.assertEqual((self.state_of(), self.site.record("0755001")["pid"]), ("ongoing", "12"))
        self.ended(request, self.css, pid="12")
        self.assertEqual(self.state_of(), "")

    def test_conflict(self) -> None:
        """The other one was faster between the decision and the commit: load, decide again."""
        request = self.give(self.ask())

        def overtake(step: str, point: str) -> None:
            if (step, point) == ("accept", "before_commit"):
                self.css.on_point = lambda step, point: None
                self.two.take(release(), message_id="end", reply_to=CM_REPLIES)

        self.css.on_point = overtake
        self.accept(request)
        self.assertEqual([body["type"] for body in self.answers()][:1], ["MAU_CM_RELEASECONF_ACK"])
        self.assertEqual(self.errcodes()[1:], ["CONF_NOT_RUNNING"])
        self.assertEqual(self.site.record("0755001"), {})
        # The MCU has started what nobody wants any more.
        (command,) = self.site.bodies(f"cmu.conf.q:{request['ip']}:11")
        self.assertEqual((command["type"], command["epoch"]), ("MAU_MCU_RELEASECONF_CMD", request["epoch"]))

    def test_endless_conflicts(self) -> None:
        """Somebody changes the record each time: given back after a bounded number of tries."""
        request = self.give(self.ask())
        tries = []

        def change(step: str, point: str) -> None:
            if (step, point) == ("accept", "before_commit"):
                tries.append(step)
                record = self.site.record("0755001")
                expected = (record["first_epoch"], int(record["version"]))
                self.css.run(self.site.store.commit(Commit(e164="0755001", expected=expected)))

        self.css.on_point = change
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        handled = self.css.begin(body, to.MCU_QUEUE, correlation_id=token(request))
        self.failureResultOf(handled, TryLater)
        self.assertEqual(len(tries), MAX_CONFLICTS)


class UnknownOutcome(SiteCase):
    """The store was lost while it executed a commit."""

    def lose_answer(self, step: str) -> None:
        """The store executes the commit of a step, and its answer is lost."""

        def lose(name: str, point: str) -> None:
            if (name, point) == (step, "before_commit"):
                self.css.on_point = lambda step, point: None
                self.site.store.fail(executed=True)

        self.css.on_point = lose

    def sweep(self, seconds: float = LEASE_MS / 1000) -> None:
        """What was left behind is carried out."""
        self.site.pass_seconds(seconds + 0.1)
        self.css.run(self.css.sweep.tick())

    def test_create(self) -> None:
        """The redelivered request is known; its effects follow by the sweep; RMS is asked once."""
        self.lose_answer("create")
        message = {"message_id": "x", "reply_to": CM_REPLIES}
        self.failureResultOf(self.css.begin(create(), **message), TryLater)
        self.site.store.recover()
        self.css.take(create(), **message, redelivered=True)
        self.assertEqual((self.answers(), len(self.site.bodies("RMS.RES.Q"))), ([], 0))
        self.sweep(1)  # long before the time in which RMS must answer has passed
        self.assertEqual(len(self.site.bodies("RMS.RES.Q")), 1)

    def test_accept(self) -> None:
        """The redelivered ACK finds the record `ongoing` and does nothing more; the sweep answers the CM, once."""
        request = self.give(self.ask())
        self.lose_answer("accept")
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.failureResultOf(self.css.begin(body, to.MCU_QUEUE, correlation_id=token(request)), TryLater)
        self.site.store.recover()
        self.accept(request)
        self.assertEqual(self.site.record("0755001")["state"], "ongoing")
        self.sweep()
        self.assertEqual([body["type"] for body in self.answers()], ["MAU_CM_CREATECONF_ACK"])

    def test_what_was_to_be_forgotten_is_remembered(self) -> None:
        """Effects that are done and were to be forgotten with that commit are forgotten later, not sent again."""
        asked = self.ask()
        self.lose_answer("place")
        handled = self.css.begin(resources(), to.RMS_REPLY_QUEUE, correlation_id=asked)
        self.failureResultOf(handled, TryLater)
        self.site.store.recover()
        self.css.tick()
        self.sweep()
        self.assertEqual(len(self.site.bodies("RMS.RES.Q")), 1)


class Forgetting(SiteCase):
    """What is done is forgotten, whatever the next step of the number comes to."""

    def only_once(self) -> None:
        """After the lease nothing is sent again."""
        self.css.tick()
        self.site.pass_seconds(LEASE_MS / 1000 + 0.1)
        self.css.run(self.css.sweep.tick())
        self.assertEqual(len(self.site.bodies("RMS.RES.Q")), 1)
        self.assertEqual(self.site.outbox(), {})

    def test_next_step_does_nothing(self) -> None:
        """An ignored message takes nothing along."""
        self.ask()
        self.css.take(
            {"type": "MCU_MAU_RELEASECONF_NTF", "confE164": "0755001", "ip": "10.0.0.9", "pid": "1"}, to.MCU_QUEUE
        )
        self.only_once()

    def test_next_create_is_refused(self) -> None:
        """Nor does a create that finds the number taken."""
        self.ask()
        self.css.take(create(), message_id="other", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["CONF_EXISTS"])
        self.only_once()

    def test_next_create_finds_the_store_away(self) -> None:
        """Nor one whose commit fails."""
        self.ask()
        self.site.store.fail()
        self.failureResultOf(self.css.begin(create(), message_id="other", reply_to=CM_REPLIES), TryLater)
        self.site.store.recover()
        self.only_once()


class Order(SiteCase):
    """One conference makes one step at a time."""

    def test_second_step_waits_for_the_first(self) -> None:
        """Its load begins when the first one's effects are confirmed."""
        request = self.give(self.ask())
        self.css.points.clear()
        self.site.broker.block()
        body = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        first = self.css.begin(body, to.MCU_QUEUE, correlation_id=token(request))
        second = self.css.begin(release(), message_id="end", reply_to=CM_REPLIES)
        self.assertNoResult(first)
        self.assertEqual([step for step, _ in self.css.points], ["accept"] * 3)
        self.site.broker.unblock()
        self.site.pass_seconds(1)
        self.successResultOf(first)
        self.successResultOf(second)
        kinds = [body["type"] for body in self.answers()]
        self.assertEqual(kinds, ["MAU_CM_CREATECONF_ACK", "MAU_CM_RELEASECONF_ACK"])

    def test_other_numbers_do_not_wait(self) -> None:
        """A number whose step hangs holds up no other."""
        self.site.other.hang()
        slow = self.css.begin(create(moid="uB"), message_id="slow", reply_to=CM_REPLIES)
        fast = self.css.begin(create("2", moid="uA"), message_id="fast", reply_to=CM_REPLIES)
        self.assertNoResult(slow)
        self.successResultOf(fast)
        self.site.other.recover()
        self.site.clock.advance(0)
        self.successResultOf(slow)


class KillPoints(SiteCase):
    """The points at which a crash must do no harm, in their order."""

    def test_all_of_a_create_and_release(self) -> None:
        """Before the load, the commit, after it, after the confirms, before the ack."""
        self.run_one()
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES)
        steps = {"create": 3, "place": 4, "accept": 4, "release": 4}
        expected = {(step, point) for step, count in steps.items() for point in POINTS[-count:]}
        seen = [each for each in self.css.points if each[1] != "before_ack"]
        self.assertEqual(set(seen), expected)
        self.assertEqual(len(seen), len(expected))
        acks = [step for step, point in self.css.points if point == "before_ack"]
        self.assertEqual(acks, ["CreateRequest", "ResourceAck", "McuCreateAck", "ReleaseRequest"])

    def test_death_at_each(self) -> None:
        """Another instance takes the redelivered message and the sweep: the end is the same as without the death."""
        points = {"create": 3, "place": 4, "accept": 4}
        survived = [self.die(step, point) for step, count in points.items() for point in POINTS[-count:]]
        self.assertEqual(survived, ["ongoing"] * 11)

    def die(self, step: str, point: str) -> str:
        """One run in which the instance dies once. @return: the record's state in the end."""
        self.setUp()
        deaths = []

        def die(name: str, where: str) -> None:
            if (name, where) == (step, point):
                deaths.append(where)
                raise Death

        self.css.on_point = die
        survivor = Instance(self.site, slot=2)
        self.step(survivor, create(), message_id="x", reply_to=CM_REPLIES, correlation_id="c")
        asked = self.site.bodies("RMS.RES.Q") and self.site.letters("RMS.RES.Q")[0].correlation_id
        self.step(survivor, resources(), to.RMS_REPLY_QUEUE, correlation_id=asked)
        request = self.asked("0755001")[-1]
        ack = {"type": "MCU_MAU_CREATECONF_ACK", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.step(survivor, ack, to.MCU_QUEUE, correlation_id=token(request))
        self.assertEqual(len(deaths), 1, (step, point))
        answers = {letter.message_id: letter.body for letter in self.site.letters(CM_REPLIES)}
        self.assertEqual(len(answers), 1, (step, point))
        for queue in ("RMS.RES.Q", f"cmu.conf.q:{request['ip']}", "UPU.CONF.Q"):
            self.assertEqual(len({letter.message_id for letter in self.site.letters(queue)}), 1, (step, point, queue))
        survivor.tick()
        self.assertEqual(self.site.outbox(), {}, (step, point))
        return self.site.record("0755001")["state"]

    def step(self, survivor: Instance, body: dict[str, object], queue: str = to.CM_QUEUE, **delivery: object) -> None:
        """One message to the first instance; if that dies, again to the survivor, and what it left is swept."""
        handled = self.css.begin(body, queue, **delivery)
        survived = handled.addErrback(lambda failure: failure.trap(Death))
        if self.successResultOf(survived) is None:
            self.css.tick()
            return
        survivor.take(body, queue, **delivery, redelivered=True)
        # Only the outbox's lease runs out here: the request time-outs have tests of their own.
        for lane in self.css.run(self.site.store.outbox_lanes("pA")):
            for key in list(self.site.outbox()):
                if key.startswith(lane + "/"):
                    self.site.store.server.keyspace.score(f"css/outdue/pA/{lane}", key[len(lane) + 1 :], 0)
        survivor.run(survivor.sweep.tick())
        survivor.tick()


class Records(SiteCase):
    """What a commit writes."""

    def test_indexes_follow(self) -> None:
        """By platform, due time, host and room; nothing of them is left after the end."""
        prefix = "css/index/"
        self.ask()

        def names() -> set[str]:
            return {key[len(prefix) :] for key in self.site.store.dump() if key.startswith(prefix)}

        self.assertEqual(names(), {"platform/pA", "live/pA", "due/pA"})
        request = self.give(self.site.letters("RMS.RES.Q")[0].correlation_id)
        here = {"platform/pA", "live/pA", "due/pA", "room/pA/room-0"}
        self.assertEqual(names(), here)
        self.accept(request)
        self.assertEqual(names(), here | {f"mcu/pA/{request['ip']}/11", "running/pA"})
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES)
        self.assertEqual(names(), set())

    def test_version_and_dropped_fields(self) -> None:
        """Each step counts; fields of the attempt go with it."""
        request = self.give(self.ask())
        self.assertEqual(self.site.record("0755001")["version"], "2")
        self.accept(request)
        record = self.site.record("0755001")
        self.assertEqual(record["version"], "3")
        self.assertNotIn("attempt", record)
        self.assertNotIn("asked", record)

    def test_fields_of_a_newer_release_are_kept(self) -> None:
        """During a rolling restart an older instance does not drop what a newer one has written."""
        request = self.give(self.ask())
        record = self.site.record("0755001")
        commit = Commit(
            e164="0755001", expected=(record["first_epoch"], int(record["version"])), set_fields={"new_field": "1"}
        )
        self.css.run(self.site.store.commit(commit))
        self.accept(request)
        self.assertEqual(self.site.record("0755001")["new_field"], "1")

    def test_tombstone(self) -> None:
        """Epoch, reason and time, for a day."""
        request = self.run_one()
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES)
        ended = self.site.store.dump()["css/ended/0755001"]
        self.assertEqual((ended["epoch"], ended["reason"]), (str(request["epoch"]), "released"))
        self.assertEqual(self.site.store.server.keyspace.ttl_ms("css/ended/0755001"), 24 * 3_600_000)

    def test_lost_writes(self) -> None:
        """Redis loses a restore that it had acknowledged, then a release ends what is left: the tombstone covers what
        the MCU has begun, and the row, which knows more than the record, goes."""
        self.run_one()
        self.css.tick()
        keys = self.site.store.server.keyspace
        snapshot = keys.snapshot()
        self.site.pass_seconds(1)
        lost = EpochSource(9).next(self.css.clocks.now_ms("pA"))
        assert self.site.database is not None
        row = msgspec.structs.replace(self.site.database.rows["0755001"], ip="10.0.0.9")
        done(self.site.database.apply([RowWrite("0755001", lost, 9, row)]))
        keys.restore(snapshot)
        self.site.pass_seconds(1)
        self.css.take(release(), message_id="end", reply_to=CM_REPLIES)
        self.css.tick()
        self.assertGreater(int(self.site.store.dump()["css/ended/0755001"]["epoch"]), lost)
        self.assertEqual(self.site.database.rows, {})

    def test_lost_writes_and_ids(self) -> None:
        """A version that comes again, for another step, gives its messages other ids; for the same step the same."""
        self.run_one(duration=10)
        keys, queue = self.site.store.server.keyspace, CM_NOTICES
        ids: list[str] = []
        for delay in (1, 1, 2):
            before, snapshot = len(self.site.letters(queue)), keys.snapshot()
            body = {"type": "CM_MAU_DELAYCONF_REQ", "confE164": "0755001", "mtreqid": "d", "delay": delay}
            Instance(self.site).take(body, message_id=f"delay-{len(ids)}", reply_to=CM_REPLIES)
            (told,) = self.site.letters(queue)[before:]
            ids.append(told.message_id)
            keys.restore(snapshot)
        self.assertEqual((ids[0] == ids[1], ids[1] == ids[2]), (True, False))

    def test_hints_are_bounded(self) -> None:
        """The oldest ones go; a number without a hint is read."""
        self.css.steps.HINTS = 2
        for number in ("1", "2", "3"):
            self.ask(e164=number)
        for number in ("1", "2", "3"):
            letters = {each.correlation_id.split("/")[1]: each for each in self.site.letters("RMS.RES.Q")}
            self.accept(self.give(letters[number].correlation_id))
        self.assertEqual(len(self.answers()), 3)

    def test_two_ignored_messages_in_one_millisecond(self) -> None:
        """Steps that leave the record alone have ids and marks of their own."""
        for pid in ("5", "6"):
            self.site.declare(f"cmu.conf.q:10.0.0.1:{pid}")
            ack = {"type": "MCU_MAU_CREATECONF_ACK", "confE164": "404", "ip": "10.0.0.1", "pid": pid, "epoch": 5}
            self.css.take(ack, to.MCU_QUEUE)
        ids = {self.site.letters(f"cmu.conf.q:10.0.0.1:{pid}")[0].message_id for pid in ("5", "6")}
        self.assertEqual(len(ids), 2)


class Damaged(SiteCase):
    """A record that can't be read."""

    def test_parked_in_the_end(self) -> None:
        """Its message is tried once more, then parked: it must not come back for ever and hold the queue up."""
        self.ask()
        fresh = Instance(self.site, slot=3)
        self.site.store.server.keyspace.update_hash("confex/0755001", {"state": "nonsense"})
        notice = {"type": "MCU_MAU_RELEASECONF_NTF", "confE164": "0755001", "ip": "10.0.0.9", "pid": "1"}
        self.failureResultOf(fresh.begin(notice, to.MCU_QUEUE), ValueError)
        fresh.take(notice, to.MCU_QUEUE, redelivered=True)
        (letter,) = self.site.letters(to.PARK_QUEUE)
        self.assertIn("Unreadable", letter.headers["x-css-reason"])
        self.assertEqual(msgspec.json.decode(letter.body), notice)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_of_another_type(self) -> None:
        """The same for a key that somebody else has written: Redis is there, and says so for ever."""
        done(self.site.store.commit(Commit(e164="", touch_record=False, strings={"confex/0755001": "mine"})))
        notice = {"type": "MCU_MAU_RELEASECONF_NTF", "confE164": "0755001", "ip": "10.0.0.9", "pid": "1", "epoch": 7}
        correlation_id = "pA/0755001/7"
        self.failureResultOf(self.css.begin(notice, to.MCU_QUEUE, correlation_id=correlation_id), TryLater)
        self.css.take(notice, to.MCU_QUEUE, correlation_id=correlation_id, redelivered=True)
        (letter,) = self.site.letters(to.PARK_QUEUE)
        self.assertIn("WrongType", letter.headers["x-css-reason"])
        self.assertEqual(len(self.flushLoggedErrors(WrongType)), 1)
