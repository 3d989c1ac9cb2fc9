"""Monitors of conferences on both sides of a takeover (seed 10), each arrow of the drawing, and what can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from css.peers.cm import NOTICES
from css.peers.cmu_process import CmuProcess
from tests.scenarios.case import LIMIT_SECONDS, OnMemory, pause, within
from tests.scenarios.ground import reactor
from tests.scenarios.pair import OnTwoNodes
from tests.scenarios.takeovercase import TakeoverCase

EXPIRED = "MAU_CMU_STOPMONITOR_CMD"
FORGOTTEN = "MAU_CM_STOPMONITOR_NTF"
HEARTBEAT = "CM_CMU_MONITORHEARTBEAT_NTF"
TIMEOUT_SECONDS = 3.0


class MonitorCase(TakeoverCase):
    """A conference of A; each platform has two instances, so any of them may hear a heartbeat."""

    instances: ClassVar[int] = 2
    timers: ClassVar[dict[str, float]] = {**TakeoverCase.timers, "monitor_timeout_seconds": TIMEOUT_SECONDS}
    e164: str

    async def one(self) -> None:
        """Have one created on A."""
        (self.e164,) = await self.start_with(1)

    async def lost_and_taken_over(self) -> None:
        """A is abnormal; its conference runs on B."""
        await self.lost("A")
        await self.run_on("B", [self.e164])

    def process(self, moid: str) -> CmuProcess:
        """The process of a platform that runs it."""
        (ip,) = self.running_on(moid)[self.e164]
        return self.hosts_of(moid)[ip].process_of(self.e164)

    async def start_monitor(self, moid: str, monitorid: str = "w1") -> None:
        """A platform's CM starts one; the MCU agrees."""
        answer = await within(self.cm_of(moid).start_monitor(self.e164, monitorid))
        self.assertEqual(answer["type"], "CMU_CM_STARTMONITOR_ACK", answer)

    def expired(self, process: CmuProcess) -> list[str]:
        """Which monitors a process was told to stop, in order; heartbeats must not have come there."""
        self.assertEqual(process.inbox.all(HEARTBEAT), [])
        return [each.fields["monitorid"] for each in process.inbox.all(EXPIRED)]

    def forgotten(self, moid: str) -> list[tuple[str, str]]:
        """Of which monitors a platform's CM was told that they have stopped, and in which queue."""
        return [(each.fields["monitorid"], each.queue) for each in self.cm_of(moid).inbox.all(FORGOTTEN)]

    async def noted(self) -> bool:
        """Whether the Redis of the source platform has any monitor."""
        return "monitors" in await self.record(self.e164)

    async def beat(self, moid: str, seconds: float, monitorid: str = "w1") -> None:
        """A platform's CM sends heartbeats for some seconds."""
        for _ in range(round(seconds / 0.5)):
            self.cm_of(moid).heartbeat(self.e164, monitorid)
            await pause(0.5)

    async def beat_until(self, moid: str, condition: Callable[[], bool], monitorid: str = "w1") -> None:
        """A platform's CM sends heartbeats until something has happened."""
        give_up_at = reactor.seconds() + LIMIT_SECONDS
        while not condition() and reactor.seconds() < give_up_at:
            await self.beat(moid, 0.5, monitorid)


class Drawing(MonitorCase):
    """Seed 10, arrow by arrow."""

    async def test_10_stopped_by_a_restore(self) -> None:
        await self.one()
        # CM->主CSS: 会议A开启了监控
        await self.start_monitor("A")
        await self.beat("A", 0.5)
        # 主CSS: 平台异常; 备CSS: 恢复会议A
        await self.lost_and_taken_over()
        # 备CSS->CM: 停止监控通知 (the main platform's CM is away with it: the backup's)
        await within(self.cm_of("B").wait_for_notice(FORGOTTEN, self.e164))
        self.assertEqual((self.forgotten("B"), self.forgotten("A")), ([("w1", NOTICES)], []))
        self.assertFalse(await self.noted())
        self.assertEqual(self.process("B").conferences[self.e164].monitors, set())
        await self.back("A")
        await pause(TIMEOUT_SECONDS + 1)
        self.assertEqual(self.expired(self.process("B")), [])

    async def test_10_through_the_main_platform_when_it_is_back(self) -> None:
        await self.one()
        await self.lost_and_taken_over()
        # 主CSS: 平台正常
        await self.back("A")
        # CM->主CSS->备CSS->备CMU: 开启监控
        await self.start_monitor("A")
        process = self.process("B")
        self.assertEqual(process.conferences[self.e164].monitors, {"w1"})
        # CM->主CSS->备CSS: 监控心跳保活; 备CSS->主REDIS: 更新时间
        before = (await self.record(self.e164))["monitors"]
        await self.beat("A", 2 * TIMEOUT_SECONDS)
        self.assertNotEqual((await self.record(self.e164))["monitors"], before)
        self.assertEqual((self.expired(process), process.conferences[self.e164].monitors), ([], {"w1"}))
        self.assertGreaterEqual(sum(each.work.tally["forwarded"] for each in self.services_of("A")), 4)
        # 备CSS: 监控过期; 备CSS->备CMU: 关闭监控
        await within(process.inbox.wait_for(EXPIRED))
        self.assertEqual(self.expired(process), ["w1"])
        await self.eventually(lambda: process.conferences[self.e164].monitors, set())
        self.assertFalse(await self.noted())
        self.assertEqual((self.forgotten("A"), self.forgotten("B")), ([], []))
        await self.end_all("A", [self.e164])

    async def test_10_on_the_backup_itself(self) -> None:
        """备CM, while the main platform is away: start, heartbeats, stop, no more commands; the end forgets."""
        await self.one()
        await self.lost_and_taken_over()
        for monitorid in ("w1", "w2"):
            await self.start_monitor("B", monitorid)
        process = self.process("B")
        await self.beat_until("B", lambda: self.expired(process) != [])
        self.assertEqual(self.expired(process), ["w2"])
        answer = await within(self.cm_of("B").stop_monitor(self.e164, "w1"))
        self.assertEqual(answer["type"], "CMU_CM_STOPMONITOR_ACK")
        self.assertFalse(await self.noted())
        await pause(TIMEOUT_SECONDS + 1)
        self.assertEqual(self.expired(process), ["w2"])
        await self.start_monitor("B", "w3")
        await self.back("A")
        await self.end_all("A", [self.e164])
        self.assertEqual((self.forgotten("A"), self.forgotten("B")), ([], []))

    async def test_10_at_home(self) -> None:
        """One platform alone; an MCU that is lost likewise stops what was monitored: its own CM is told."""
        await self.one()
        await self.start_monitor("A")
        await self.beat("A", TIMEOUT_SECONDS + 1)
        process = self.process("A")
        self.assertEqual(self.expired(process), [])
        await within(process.disconnect())
        await within(process.crash())
        await within(self.cm_of("A").wait_for_notice(FORGOTTEN, self.e164))
        self.assertEqual((self.forgotten("A"), self.forgotten("B")), ([("w1", NOTICES)], []))
        await self.start_monitor("A")
        await within(self.process("A").inbox.wait_for(EXPIRED))
        self.assertEqual(self.expired(self.process("A")), ["w1"])


class Disturbed(MonitorCase):
    """Messages twice and late, Redis and instances away."""

    async def redis_away(self, seconds: float) -> None:
        """A's Redis answers nothing for some seconds."""
        raise NotImplementedError

    async def redis_back(self) -> None:
        """It answers again."""
        raise NotImplementedError

    async def test_10_twice_and_late(self) -> None:
        """A heartbeat that comes twice does no harm; one that comes after the expiry starts nothing."""
        await self.one()
        await self.start_monitor("A")
        bystander = await self.bystander(platform="A")
        beat = {"type": HEARTBEAT, "confE164": self.e164, "monitorid": "w1"}
        for _ in range(4):
            await bystander.send(("mau.cmcmu.ex", "mau.cmcmu.k"), beat, message_id="the-same")
        process = self.process("A")
        await within(process.inbox.wait_for(EXPIRED))
        await bystander.send(("mau.cmcmu.ex", "mau.cmcmu.k"), beat, message_id="late")
        await pause(TIMEOUT_SECONDS + 1)
        self.assertEqual((self.expired(process), await self.noted()), (["w1"], False))

    async def test_10_the_answer_to_the_start_is_lost(self) -> None:
        """The CM is refused, the MCU monitors all the same: it is told to stop when nobody wants it."""
        await self.one()
        process = self.process("A")
        process.controls.lose_answers()
        answer = await within(self.cm_of("A").start_monitor(self.e164, "w1"))
        self.assertEqual(answer["errcode"], "MCU_TIMEOUT")
        await self.eventually(lambda: self.expired(process), ["w1"])
        self.assertEqual(process.conferences[self.e164].monitors, set())

    async def test_10_redis_is_away_for_longer_than_the_time_out(self) -> None:
        """Nobody is told to stop because of it; heartbeats count again as soon as it is back."""
        await self.one()
        await self.start_monitor("A")
        await self.beat("A", TIMEOUT_SECONDS + 1)
        await self.redis_away(TIMEOUT_SECONDS + 1)
        await self.beat("A", TIMEOUT_SECONDS + 1)
        await self.redis_back()
        await self.beat("A", TIMEOUT_SECONDS)
        self.assertEqual((self.expired(self.process("A")), await self.noted()), ([], True))
        await within(self.process("A").inbox.wait_for(EXPIRED))

    async def test_10_the_instances_are_replaced(self) -> None:
        """What the earlier ones noted, the new ones end."""
        await self.one()
        await self.start_monitor("A")
        services = self.services_of("A")
        while services:
            await services.pop().stopService()
        self.stage.instance("A", "css-A-9", **self.timers)
        await self.stage.served("A")
        process = self.process("A")
        await within(process.inbox.wait_for(EXPIRED))
        self.assertEqual((self.expired(process), await self.noted()), (["w1"], False))


class MemoryDrawing(Drawing, OnMemory):
    pass


class ServerDrawing(Drawing, OnTwoNodes):
    pass


class MemoryDisturbed(Disturbed, OnMemory):
    async def redis_away(self, seconds: float) -> None:
        self.ground.stores["A"].fail()

    async def redis_back(self) -> None:
        self.ground.stores["A"].recover()


class ServerDisturbed(Disturbed, OnTwoNodes):
    async def redis_away(self, seconds: float) -> None:
        await self.ground.stores["A"].link.command("CLIENT", "PAUSE", round(seconds * 1000))

    async def redis_back(self) -> None:
        await self.ground.stores["A"].link.when_connected()
