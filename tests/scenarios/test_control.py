"""Control of conferences on both sides of a takeover (seed 2.3.3), each arrow of the drawing, and what can go wrong.

Both platforms have two instances, so any of them may hear an MCU's answer.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from css.handlers import addresses as to
from css.peers.cm import NOTICES, REQUESTS, CmPeer, Request
from css.peers.cmu_process import CmuProcess
from css.peers.inbox import Received
from css.peers.peer import Place
from css.ports.bus import Binding, Delivery, Queue, Topology
from tests.scenarios.case import OnMemory, pause, within
from tests.scenarios.pair import OnTwoNodes, PairScenario

E164 = "0660175"
UNREACHABLE = "UNREACHABLE_PLATFORM"
ASK: Place = ("mau.cmcmu.ex", "mau.cmcmu.k")


class ControlCase(PairScenario):
    """A conference of A that runs on B, as after a takeover."""

    instances: ClassVar[int] = 2

    async def on_the_backup(self, **timers: float) -> CmuProcess:
        """While A is abnormal, have one created on B. @return: the process that runs it."""
        await self.begin(**timers)
        await self.lost("A")
        answer = await within(self.cm_of("B").create(E164, "跨平台", "u-a"))
        self.assertEqual(answer["platformmoid"], "B", answer)
        return self.process()

    async def back_at_home(self, **timers: float) -> CmuProcess:
        """The same, and A is normal again: it stays on B."""
        process = await self.on_the_backup(**timers)
        await self.back("A")
        return process

    def process(self, e164: str = E164) -> CmuProcess:
        """The process that runs a conference."""
        (found,) = [
            process
            for moid in ("A", "B")
            for host in self.peers(moid).hosts.values()
            for process in host.processes.values()
            if e164 in process.conferences
        ]
        return found

    def ask(self, moid: str, verb: str = "MUTE", place: Place = ASK, **more: Any) -> Request:
        """A platform's CM controls it."""
        fields = {"confE164": E164, "成员": ["李雷", {"n": 1.5}], **more}
        return self.cm_of(moid).request(f"CM_CMU_{verb}_REQ", place, **fields)

    def heard(self, process: CmuProcess, verb: str = "MUTE") -> list[Received]:
        """What a process was asked."""
        return process.inbox.all(f"CM_CMU_{verb}_REQ")

    async def acked(self, request: Request, verb: str = "MUTE") -> Received:
        """The one answer to a request, an ACK, in the CM's own reply queue."""
        await within(request.answer)
        (answer,) = request.answers
        self.assertEqual(answer.type, f"CMU_CM_{verb}_ACK", answer.fields)
        self.assertEqual((answer.queue, answer.correlation_id), (request.reply_to, request.correlation_id))
        return answer

    async def nacked(self, request: Request, errcode: str, verb: str = "MUTE") -> None:
        """The one answer is CSS's refusal."""
        fields = await within(request.answer)
        wanted = {"type": f"CMU_CM_{verb}_NACK", "confE164": E164, "mtreqid": fields["mtreqid"], "errcode": errcode}
        self.assertEqual(fields, wanted)

    def told(self, cm: CmPeer, type_name: str) -> list[str]:
        """In which of its queues a CM got messages of a type."""
        return [received.queue for received in cm.inbox.all(type_name)]

    async def answered_nowhere_else(self, moid: str, but: int = 0) -> None:
        """A platform's CM has got no answer at all that it did not ask for. @param but: how many it did ask for."""
        await pause(0.3)
        self.assertEqual(self.cm_of(moid).stray_answers, 0)
        answers = [each for each in self.cm_of(moid).inbox.all() if each.type.startswith("CMU_CM_MUTE")]
        self.assertEqual(len(answers), but)


class Drawing(ControlCase):
    """Seed 2.3.3, arrow by arrow."""

    async def test_2_3_3_while_the_main_platform_is_away(self) -> None:
        """备CM→备CSS→备CMU; 备CMU→备CSS→备CM: the source platform is in the service list."""
        process = await self.on_the_backup()
        request = self.ask("B")
        answer = await self.acked(request)
        (asked,) = self.heard(process)
        self.assertEqual(asked.body, request.body)
        self.assertEqual(asked.reply_to, "MAU.MCU.Q")
        self.assertNotEqual(asked.correlation_id, request.correlation_id)
        self.assertEqual(answer.fields["mtreqid"], asked.fields["mtreqid"])
        process.tell_cm("CMU_CM_STATE_NTF", E164, 状态="好")
        await within(self.cm_of("B").wait_for_notice("CMU_CM_STATE_NTF"))
        self.assertEqual(self.told(self.cm_of("B"), "CMU_CM_STATE_NTF"), [NOTICES])
        self.assertEqual(self.told(self.cm_of("A"), "CMU_CM_STATE_NTF"), [])

    async def test_2_3_3_when_the_main_platform_is_back(self) -> None:
        """主CSS→备CSS→备CMU, the answer to the main CM's own queue; 备CMU→备CSS→主CM, meeting.mccntf.k."""
        process = await self.back_at_home()
        self.assertEqual((await self.key(f"confex/{E164}", "A"))["platformmoid"], "B")
        request = self.ask("A")
        await self.acked(request)
        (asked,) = self.heard(process)
        self.assertEqual(asked.body, request.body)
        await self.answered_nowhere_else("B")
        process.tell_cm("CMU_CM_STATE_NTF", E164, 状态="好")
        process.tell_cm("CMU_CM_INVITE_REQ", E164, 谁="韩")
        notice = await within(self.cm_of("A").wait_for_notice("CMU_CM_STATE_NTF"))
        await within(self.cm_of("A").wait_for_notice("CMU_CM_INVITE_REQ"))
        self.assertEqual(notice["状态"], "好")
        self.assertEqual(self.told(self.cm_of("A"), "CMU_CM_STATE_NTF"), [NOTICES])
        self.assertEqual(self.told(self.cm_of("A"), "CMU_CM_INVITE_REQ"), [REQUESTS])
        self.assertEqual(self.told(self.cm_of("B"), "CMU_CM_STATE_NTF"), [])

    async def test_2_3_3_from_the_loss_to_the_answer(self) -> None:
        """The whole of it: restored on B, controlled there by B's CM, then through A's CSS, which forwards it once."""
        await self.begin(restore_interval_seconds=0.5)
        copies = await self.copies_of_control("B")
        await within(self.cm_of("A").create(E164, "跨平台", "u-a"))
        old = self.process()
        await self.lost("A")
        old.report_list()
        notice = await within(self.cm_of("B").wait_for_notice("MAU_CM_RESTORECONF_NTF", E164))
        self.assertEqual(notice["platformmoid"], "B")
        await self.eventually(lambda: old.conferences, {})
        self.assertEqual(self.services_of("B")[0].platforms().service, ("B", "A"))
        await self.acked(self.ask("B"))
        await self.back("A")
        self.assertEqual(self.services_of("B")[0].platforms().service, ("B",))
        request = self.ask("A")
        await self.acked(request)
        await self.eventually(lambda: len(copies), 2)  # what B's own CM has asked, and what was forwarded
        (copy,) = [each for each in copies if each.headers]
        self.assertEqual((copy.body, copy.headers), (request.body, {"x-css-origin": "A", "x-css-hop": 1}))
        properties = (copy.message_id, copy.correlation_id, copy.reply_to)
        self.assertEqual(properties, (request.message_id, request.correlation_id, request.reply_to))
        self.assertEqual([asked.body for asked in self.heard(self.process())][1:], [request.body])
        self.process().tell_cm("CMU_CM_STATE_NTF", E164)
        await within(self.cm_of("A").wait_for_notice("CMU_CM_STATE_NTF"))
        await self.answered_nowhere_else("B", but=1)

    async def copies_of_control(self, moid: str) -> list[Delivery]:
        """A list in which there will be a copy of all that comes to a platform's control queue from now on."""
        bystander = await self.bystander(platform=moid)
        exchange, key = to.TO_PEER_CSS
        bystander.bus.declare(Topology(bindings=(Binding("copies", exchange, key),), queues=(Queue("copies"),)))
        return await bystander.watch("copies")

    async def test_2_3_3_by_every_key(self) -> None:
        """cm.cmmcu.key of the drawing, and the two others."""
        process = await self.back_at_home()
        for key in ("cm.cmmcu.key", "MAU.CMMCU.K", "mau.cmcmu.k"):
            await self.acked(self.ask("A", place=("mau.cmcmu.ex", key)))
        self.assertEqual(len(self.heard(process)), 3)

    async def test_2_3_3_what_is_not_answered(self) -> None:
        """Notices and commands follow the conference too; a CM's answer finds the MCU that asked."""
        process = await self.back_at_home()
        for kind in ("NTF", "CMD"):
            self.cm_of("A").tell(f"CM_CMU_LAYOUT_{kind}", E164, n=1)
            await within(process.inbox.wait_for(f"CM_CMU_LAYOUT_{kind}"))
        process.tell_cm("CMU_CM_INVITE_REQ", E164)
        invite = await within(self.cm_of("A").inbox.wait_for("CMU_CM_INVITE_REQ"))
        self.assertEqual(invite.reply_to, to.CONTROL_QUEUE)
        body = b'{"type": "CM_CMU_INVITE_ACK", "confE164": "%b"}' % E164.encode()
        await within(self.cm_of("A").send_raw(body, ("", invite.reply_to), correlation_id=invite.correlation_id))
        answer = await within(process.inbox.wait_for("CM_CMU_INVITE_ACK"))
        self.assertEqual((answer.body, answer.correlation_id), (body, invite.correlation_id))

    async def test_2_3_3_released_through_the_main_platform(self) -> None:
        """Forwarded likewise; it ends on B, and leaves nothing on either side."""
        process = await self.back_at_home()
        await self.acked(self.ask("A"))
        answer = await within(self.cm_of("A").release(E164))
        self.assertEqual(answer["type"], "MAU_CM_RELEASECONF_ACK", answer)
        await within(self.cm_of("A").wait_for_notice("MAU_CM_RELEASECONF_NTF", E164))
        await self.eventually(lambda: process.conferences, {})
        self.assertEqual(await self.key(f"confex/{E164}", "A"), {})
        self.assertEqual(self.cm_of("B").answers_of(E164, "RELEASECONF"), [])
        await self.nothing_left()


class Disturbed(ControlCase):
    """Messages twice, late, large; MCUs, links and instances away."""

    async def test_three_megabytes(self) -> None:
        """Byte for byte to the MCU of the other platform."""
        process = await self.back_at_home()
        request = self.ask("A", 大="频" * 1_000_000)
        await self.acked(request)
        self.assertEqual([each.body == request.body for each in self.heard(process)], [True])

    async def test_twice(self) -> None:
        """The MCU is asked once; the answer comes again, the same one."""
        process = await self.back_at_home()
        request = self.ask("A")
        await self.acked(request)
        for _ in range(3):
            await within(self.cm_of("A").repeat(request))
        await self.eventually(lambda: self.cm_of("A").inbox.repeats, 3)
        self.assertEqual((len(self.heard(process)), process.inbox.repeats, len(request.answers)), (1, 0, 1))

    async def test_silent_and_late(self) -> None:
        """MCU_TIMEOUT to the requester's queue on its own broker; what the MCU says later is dropped."""
        process = await self.back_at_home(request_timeout_seconds=1.0)
        process.controls.late(2.5)
        request = self.ask("A")
        await self.nacked(request, "MCU_TIMEOUT")
        await self.eventually(
            lambda: sum(service.work.tally["answers_not_awaited"] for service in self.services_of("B")), 1
        )
        self.assertEqual(len(request.answers), 1)
        self.assertEqual(self.told(self.cm_of("A"), "CMU_CM_MUTE_ACK"), [])

    async def test_the_process_is_gone(self) -> None:
        """Its queue is not there: MCU_TIMEOUT at once, though the time-out is twenty seconds."""
        process = await self.back_at_home()
        queue = f"cmu.conf.q:{process.ip}:{process.pid}"
        await process.consume_no_more([queue])
        await self.ground.delete_queue("B", queue)
        await self.nacked(self.ask("A"), "MCU_TIMEOUT")

    async def test_not_found_and_not_running(self) -> None:
        """At home, and by what comes with a hop to where it does not run."""
        await self.back_at_home()
        stranger = self.ask("A", confE164="999")
        self.assertEqual((await within(stranger.answer))["errcode"], "CONF_NOT_FOUND")
        replies = await self.bystander("cm.reply.q:hop", platform="B")
        hopped = await self.bystander(platform="A")
        body = {"type": "CM_CMU_MUTE_REQ", "confE164": E164, "mtreqid": "5"}
        headers = {"x-css-origin": "B", "x-css-hop": 1}
        await hopped.send(ASK, body, message_id="h", correlation_id="x", reply_to="cm.reply.q:hop", headers=headers)
        await self.eventually(lambda: len(replies.got["cm.reply.q:hop"]), 1)
        (answer,) = replies.got["cm.reply.q:hop"]
        self.assertEqual((b"CONF_NOT_RUNNING" in answer.body, answer.correlation_id), (True, "x"))

    async def test_the_link_to_the_peer_is_cut(self) -> None:
        """UNREACHABLE_PLATFORM while it is; afterwards as before."""
        process = await self.back_at_home()
        await self.ground.cut("A", "B")
        for service in self.services_of("A"):
            await self.eventually(lambda service=service: service.work.reaches("B"), False)
        await self.nacked(self.ask("A"), "UNREACHABLE_PLATFORM")
        self.assertEqual(self.heard(process), [])
        await self.ground.mend("A", "B")
        for service in self.services_of("A"):
            await self.eventually(lambda service=service: service.work.reaches("B"), True)
        await self.acked(self.ask("A"))

    async def test_the_link_is_cut_again_and_again(self) -> None:
        """Each request gets one answer, and the MCU is asked nothing twice; what it was asked it has answered."""
        process = await self.back_at_home()
        requests: list[Request] = []
        for n in range(4):
            heard = len(self.heard(process))
            requests += [self.ask("A", n=n, m=m) for m in range(20)]
            await self.eventually(lambda heard=heard: len(self.heard(process)) > heard, True)
            await self.ground.cut("A", "B")
            requests += [self.ask("A", n=n, m=m) for m in range(20, 25)]
            for service in self.services_of("A"):
                await self.eventually(lambda service=service: service.work.reaches("B"), False)
            requests += [self.ask("A", n=n, m=m) for m in range(25, 30)]
            await within(requests[-1].answer)
            await self.ground.mend("A", "B")
            for service in self.services_of("A"):
                await self.eventually(lambda service=service: service.work.reaches("B"), True)
        for request in requests:
            await within(request.answer, 40)
        answers = [request.answers[0] for request in requests]
        outcomes = Counter(answer.fields.get("errcode", answer.type) for answer in answers)
        self.assertEqual(set(outcomes), {"CMU_CM_MUTE_ACK", UNREACHABLE}, outcomes)
        self.assertEqual({len(request.answers) for request in requests}, {1})
        self.assertEqual((len(self.heard(process)), process.inbox.repeats), (outcomes["CMU_CM_MUTE_ACK"], 0))

    async def test_the_link_back_is_cut(self) -> None:
        """The answer, and a notice, wait on B, and arrive when the link is there."""
        process = await self.back_at_home()
        await self.ground.cut("B", "A")
        request = self.ask("A")
        process.tell_cm("CMU_CM_STATE_NTF", E164)
        await self.eventually(lambda: len(self.heard(process)), 1)
        await pause(1.0)
        self.assertEqual((request.answers, self.told(self.cm_of("A"), "CMU_CM_STATE_NTF")), ([], []))
        await self.ground.mend("B", "A")
        await self.acked(request)
        await within(self.cm_of("A").wait_for_notice("CMU_CM_STATE_NTF"))

    async def test_the_instances_of_the_other_platform_are_replaced_meanwhile(self) -> None:
        """The MCU answers late; those that passed the request have gone; new ones take the answer."""
        process = await self.back_at_home()
        process.controls.late(3.0)
        request = self.ask("A")
        await self.eventually(lambda: len(self.heard(process)), 1)
        services = self.services_of("B")
        while services:
            await services.pop().stopService()
        self.stage.instance("B", "css-B-9", **self.timers)
        await self.stage.served("B")
        await self.acked(request)

    async def test_own_platform_abnormal(self) -> None:
        """Refused, by instances that serve and by one that starts now."""
        await self.back_at_home()
        await self.lost("A")
        await self.nacked(self.ask("A"), "PLATFORM_ABNORMAL")
        services = self.services_of("A")
        while services:
            await services.pop().stopService()
        self.stage.instance("A", "css-A-9", **self.timers)
        await self.nacked(self.ask("A"), "PLATFORM_ABNORMAL")
        await self.back("A")


class InMidWay(ControlCase, OnTwoNodes):
    """The other broker takes a request, and its confirm is lost (real servers only)."""

    async def test_the_confirm_is_lost(self) -> None:
        """Forwarded again with the same id when the link is back: the MCU is asked once, the CM answered once."""
        process = await self.back_at_home()
        self.ground.hold_confirms("A", "B")
        request = self.ask("A")
        await self.acked(request)  # B has it, whatever A knows
        await self.ground.cut("A", "B")
        self.ground.hold_confirms("A", "B", False)
        await pause(0.5)
        await self.ground.mend("A", "B")
        await self.eventually(lambda: sum(each.work.tally["forwarded"] for each in self.services_of("A")), 1)
        await self.eventually(lambda: self.cm_of("A").inbox.repeats, 1)
        self.assertEqual((len(self.heard(process)), process.inbox.repeats, len(request.answers)), (1, 0, 1))

    async def test_the_link_stays_cut(self) -> None:
        """For longer than an MCU may be silent: nobody is refused whose request may have got there, and has been
        answered, as B has done here. Others asked meanwhile are refused at once."""
        process = await self.back_at_home(request_timeout_seconds=1.0)
        self.ground.hold_confirms("A", "B")
        request = self.ask("A")
        await self.acked(request)
        await self.ground.cut("A", "B")
        self.ground.hold_confirms("A", "B", False)
        await pause(2.5)
        await self.nacked(self.ask("A"), UNREACHABLE)
        self.assertEqual(sum(each.work.tally["forwards_in_doubt"] for each in self.services_of("A")), 1)
        await self.ground.mend("A", "B")
        await self.eventually(lambda: self.cm_of("A").inbox.repeats, 1)
        self.assertEqual((len(self.heard(process)), process.inbox.repeats, len(request.answers)), (1, 0, 1))


class MemoryDrawing(Drawing, OnMemory):
    pass


class ServerDrawing(Drawing, OnTwoNodes):
    pass


class MemoryDisturbed(Disturbed, OnMemory):
    pass


class ServerDisturbed(Disturbed, OnTwoNodes):
    pass
