"""The same request twice: one effect, and its answer repeated (contract section 1, "The same request")."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from css.handlers import addresses as to
from css.peers.cm import Request
from css.ports.bus import Delivery
from tests.scenarios.case import E164, HOSTS, NAME, ROOM, USER, OnMemory, OnServers, Scenario, pause, until, within


class DuplicateCases(Scenario):
    """Creates and releases that come more than once."""

    def ask(self, kind: str = "CREATE", **more: Any) -> Request:
        """A request of the CM, which can repeat it byte for byte and id for id."""
        fields = {"confE164": E164, **({"confname": NAME, "moid": USER} if kind == "CREATE" else {}), **more}
        return self.cm.request(f"CM_MAU_{kind}CONF_REQ", **fields)

    async def _repeated(self, request: Request, times: int = 1) -> None:
        """Repeat an answered request: each time the very same answer comes."""
        for _ in range(times):
            repeats = self.cm.inbox.repeats
            await within(self.cm.repeat(request))
            await until(lambda repeats=repeats: self.cm.inbox.repeats == repeats + 1, what="the answer once more")  # type: ignore[misc]
        self.assertEqual(len(request.answers), 1)

    async def test_by_message_id_before_the_answer(self) -> None:
        self.site.peers.rms.late(0.7)
        await self.begin()
        request = self.ask()
        for _ in range(3):
            await within(self.cm.repeat(request))
        self.assertEqual((await within(request.answer))["type"], "MAU_CM_CREATECONF_ACK")
        await until(lambda: self.tally("request_repeated") == 3, what="three repetitions seen")
        await pause(0.3)
        self.assertEqual((len(request.answers), self.site.peers.rms.requests(), self.cm.inbox.repeats), (1, 1, 0))
        self.assertEqual(self._placed(), 1)

    def _placed(self) -> int:
        """How many placements the MCUs have been asked for."""
        return sum(host.inbox.total for host in self.site.peers.hosts.values())

    async def test_by_message_id_after_the_answer_and_after_the_end(self) -> None:
        await self.begin()
        request = self.ask()
        await within(request.answer)
        await self._repeated(request, 2)
        self.assertEqual(self._placed(), 1)
        await self.release()
        await self._repeated(request)
        self.assertEqual((self._placed(), await self.state_of()), (1, ""))
        await self.nothing_left()

    async def test_a_nack_is_kept_too(self) -> None:
        await self.begin()
        request = self.ask(moid="u9")
        self.assertEqual((await within(request.answer))["errcode"], "UNKNOWN_DOMAIN")
        await self.stage.user_domain(self.site.moid, "u9")
        await self._repeated(request)
        self.assertEqual(await self.state_of(), "")
        await self.created(moid="u9")
        await self._repeated(request)

    async def test_a_failed_creates_nack_is_kept(self) -> None:
        self.site.peers.rms.refuse("", "NOTHING")
        await self.begin()
        request = self.ask()
        self.assertEqual((await within(request.answer))["errcode"], "RMS_NACK")
        await self._repeated(request)
        self.assertEqual(self.site.peers.rms.requests(), 1)
        await self.nothing_left()

    async def test_another_create_of_the_number_is_refused(self) -> None:
        self.site.peers.rms.late(0.5)
        await self.begin()
        first = self.ask()
        await self.until_state("creating")
        await self.refused("CONF_EXISTS")
        self.assertEqual((await within(first.answer))["type"], "MAU_CM_CREATECONF_ACK")
        second = self.ask()
        self.assertEqual((await within(second.answer))["errcode"], "CONF_EXISTS")
        await self.release()
        await self._repeated(second)
        self.assertEqual(await self.state_of(), "")

    async def test_without_a_message_id_by_all_other_marks(self) -> None:
        await self.begin()
        bystander = await self.bystander("mine", "yours")
        body = {"type": "CM_MAU_CREATECONF_REQ", "confE164": E164, "confname": NAME, "moid": USER, "mtreqid": "5"}
        marks = {"reply_to": "mine", "correlation_id": "c"}
        mine, yours = bystander.got["mine"], bystander.got["yours"]
        for count in (1, 2):
            await bystander.to_cm_queue(body, **marks)
            await until(lambda count=count: len(mine) == count)  # type: ignore[misc]
        self.assertEqual(mine[0].body, mine[1].body)
        self.assertEqual(mine[0].message_id, mine[1].message_id)
        self.assertIn(b"MAU_CM_CREATECONF_ACK", mine[0].body)
        different = ({**marks, "correlation_id": "d"}, {**marks, "reply_to": "yours"})
        for properties in different:
            await bystander.to_cm_queue(body, **properties)
        await bystander.to_cm_queue({**body, "mtreqid": "6"}, **marks)
        await until(lambda: len(mine) == 4 and len(yours) == 1, what="three refusals")
        for answer in (*mine[2:], *yours):
            self.assertIn(b"CONF_EXISTS", answer.body)

    async def test_with_neither_mark_only_what_is_redelivered(self) -> None:
        await self.begin()
        bystander = await self.bystander("mine")
        mine = bystander.got["mine"]
        body = {"type": "CM_MAU_CREATECONF_REQ", "confE164": E164, "confname": NAME, "moid": USER}
        await bystander.to_cm_queue(body, reply_to="mine")
        await until(lambda: len(mine) == 1)
        await bystander.to_cm_queue(body, reply_to="mine")
        await until(lambda: len(mine) == 2)
        self.assertIn(b"MAU_CM_CREATECONF_ACK", mine[0].body)
        self.assertIn(b"CONF_EXISTS", mine[1].body)

    async def test_a_redelivered_request_without_marks_is_the_same(self) -> None:
        await self.begin()
        bystander = await self.bystander("mine")
        mine = bystander.got["mine"]
        body = {"type": "CM_MAU_CREATECONF_REQ", "confE164": E164, "confname": NAME, "moid": USER}
        await bystander.to_cm_queue(body, reply_to="mine")
        await until(lambda: len(mine) == 1)
        await self._stop_instances()
        await bystander.to_cm_queue(body, reply_to="mine")
        await self._take_and_drop()
        await self.begin()
        await until(lambda: len(mine) == 2, what="the answer once more")
        self.assertEqual((mine[1].body, mine[1].message_id), (mine[0].body, mine[0].message_id))
        self.assertEqual(self._placed(), 1)

    async def _stop_instances(self) -> None:
        while self.site.instances:
            await self.site.instances.pop().stopService()

    async def _take_and_drop(self) -> None:
        """Take the message that waits in the CM's queue, and lose the link: it is flagged as redelivered then."""
        thief = await self.bystander()
        taken: Deferred[None] = Deferred()
        stuck: Deferred[None] = Deferred()

        async def hold(delivery: Delivery) -> None:
            taken.callback(None)
            await stuck

        thief.bus.consume(to.CM_QUEUE, hold)
        await within(taken)
        self.bystanders.remove(thief)
        await thief.bus.stop()
        stuck.callback(None)

    async def test_a_release_that_comes_again_ends_no_later_conference(self) -> None:
        await self.begin()
        await self.created()
        request = self.ask("RELEASE")
        self.assertEqual((await within(request.answer))["type"], "MAU_CM_RELEASECONF_ACK")
        await self._repeated(request)
        await self.created()
        await self._repeated(request)
        self.assertEqual(await self.state_of(), "ongoing")
        self.assertEqual(len(self.cm.notices("MAU_CM_RELEASECONF_NTF")), 1)
        await self.release()
        await self.nothing_left()

    async def test_a_refused_release_stays_refused(self) -> None:
        await self.begin()
        request = self.ask("RELEASE")
        self.assertEqual((await within(request.answer))["errcode"], "CONF_NOT_FOUND")
        await self.created()
        await self._repeated(request)
        self.assertEqual(await self.state_of(), "ongoing")

    async def test_many_at_once(self) -> None:
        await self.begin()
        request = self.ask()
        for _ in range(20):
            _ = self.cm.repeat(request)
        self.assertEqual((await within(request.answer))["type"], "MAU_CM_CREATECONF_ACK")
        await until(lambda: self.tally("request_repeated") == 20, what="all repetitions seen")
        self.assertEqual((self._placed(), self.site.peers.rms.requests(), len(request.answers)), (1, 1, 1))
        await self.release()
        await self.nothing_left()

    async def test_of_many_who_want_one_number_one_gets_it(self) -> None:
        await self.begin()
        answers = [await within(request.answer) for request in [self.ask() for _ in range(10)]]
        kinds = sorted(answer.get("errcode", "ACK") for answer in answers)
        self.assertEqual(kinds, ["ACK", *["CONF_EXISTS"] * 9])
        self.assertEqual(self._placed(), 1)
        await self.release()
        await self.nothing_left()


class DuplicatesOnMemory(DuplicateCases, OnMemory):
    """All of it in this process."""


class DuplicatesOnMemoryWithTwoInstances(DuplicateCases, OnMemory):
    """A repetition meets the other instance half of the time."""

    instances = 2


class DuplicatesOnServersWithTwoInstances(DuplicateCases, OnServers):
    """A repetition meets the other instance half of the time."""

    instances = 2


class RmsAnswersTwice(Scenario):
    """A repeated answer of RMS meets both instances at once: the host that lost the race is not left booked."""

    instances = 2

    async def test_one_place_is_booked(self) -> None:
        await self.begin()
        await self.site.peers.rms.stop()
        rms = await self.bystander("RMS.RES.Q")
        asked = rms.got["RMS.RES.Q"]
        numbers = [f"7{number:02}" for number in range(20)]
        answers = [self.cm.create(number, NAME, USER) for number in numbers]
        await until(lambda: len(asked) == len(numbers), what="RMS is asked")
        granted = {"type": "GET_RES_ACK", "roommoid": ROOM, "mcu": [{"ip": ip} for ip in HOSTS], "vrs": [], "mps": []}
        for request in asked:
            for _ in range(2):
                await rms.send(("", "MAU.RPCRES.Q"), granted, correlation_id=request.correlation_id)
        for answer in answers:
            self.assertEqual((await within(answer))["type"], "MAU_CM_CREATECONF_ACK")
        await until(lambda: self.tally("answers_not_awaited") == len(numbers), what="each second answer is dropped")
        await self.eventually(self._booked, len(numbers))
        for number in numbers:
            await self.release(number)
        await self.nothing_left()

    async def _booked(self) -> int:
        return sum((await self.ground.loads(self.site.moid, list(HOSTS))).values())


class RmsAnswersTwiceOnMemory(RmsAnswersTwice, OnMemory):
    """All of it in this process."""


class RmsAnswersTwiceOnServers(RmsAnswersTwice, OnServers):
    """All of it on real servers."""
