"""A platform that was lost is normal again, and what runs on its backup meanwhile (seed 2.3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent

from css.peers.rms import Resources
from tests.scenarios.case import OnMemory, pause, within
from tests.scenarios.handbackcase import HandbackCase
from tests.scenarios.pair import PAIR_HOSTS, OnTwoNodes


class HandbackCases(HandbackCase):
    """Seed 2.3.1, second half."""

    async def test_2_3_1_they_stay_on_the_backup_until_they_end(self) -> None:
        numbers = await self.handed_back(3)
        # 主PMS->主CSS: 平台正常; 备PMS->备CSS: 平台恢复正常; 备CSS: 移出服务平台列表
        self.assertEqual([each.platforms().service for each in self.services_of("B")], [("B",)])
        self.assertEqual((await self.create_at("B", "88"))["errcode"], "PLATFORM_NOT_SERVED")
        answer = await self.create_at("A", "99")
        self.assertEqual(answer["platformmoid"], "A")
        await pause(2.0)
        await self.run_on("B", numbers)
        await self.run_on("A", ["99"])
        self.assertEqual(self.asked_to_restore("A"), 0)
        # 7.2, 12: 结束, 备UPU该会议记录, 话单在备平台报
        for e164 in numbers:
            ip = self.home(e164)
            process = self.hosts_of("B")[ip].process_of(e164)
            assert process is not None
            process.end(e164)
        await self.eventually(lambda: len(self.peers("B").bmc.bills()), len(numbers))
        for bill in self.peers("B").bmc.bills():
            self.assertEqual((bill.fields["srcplatformmoid"], bill.fields["platformmoid"]), ("A", "B"))
        self.assertEqual(self.peers("A").bmc.bills(), [])
        await self.eventually(lambda: len(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF")), len(numbers))
        self.assertEqual(self.cm_of("B").notices("MAU_CM_RELEASECONF_NTF"), [])
        await self.end_all("A", ["99"])

    async def test_2_3_1_what_still_waits_is_restored_at_home(self) -> None:
        numbers = await self.start_with(2)
        before = {each: await self.record(each) for each in numbers}
        self.peers("B").rms.refuse("", "FULL")
        await self.lost("A")
        # 备CSS: 将异常平台对应的REDIS上的所有会议设为待恢复: their places there count no more
        for e164 in numbers:
            await self.eventually(lambda e164=e164: self._state_of(e164), "pending_restore")
            voided = await self.record(e164)
            self.assertEqual((voided["ip"], voided["pid"], voided["platformmoid"]), ("", "", "A"))
            self.assertGreater(int(voided["epoch"]), int(before[e164]["epoch"]))
        await self.eventually(lambda: self.running_on("A"), {})
        await self.back("A")
        await self.run_on("A", numbers)
        self.told_restored("A", numbers, "A")
        await self.ledger_says("B", "platform", "A", len(numbers))
        self.peers("B").rms.answer("", Resources("B-room", PAIR_HOSTS["B"]))
        await self.end_all("A", numbers)

    async def _state_of(self, e164: str) -> str:
        return (await self.record(e164)).get("state", "")

    async def test_2_3_1_nobody_took_over(self) -> None:
        """Disaster recovery is off: what A's own CSS ended is restored, not taken for ended by its MCUs."""
        numbers = await self.start_with(3)
        await self.only_tell("A", "A", "abnormal")
        await self.eventually(lambda: self.running_on("A"), {})
        for e164 in numbers:
            self.assertEqual(await self._state_of(e164), "ongoing")
        await self.only_tell("A", "A", "normal")
        await self.run_on("A", numbers)
        self.assertEqual(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF"), [])
        self.assertEqual(self.peers("A").bmc.bills(), [])
        self.told_restored("A", numbers, "A")
        await self.ledger_says("A", "platform", "A", len(numbers))
        await self.end_all("A", numbers)

    async def test_2_3_1_a_blink(self) -> None:
        """Normal again before any MCU has reported: they run on, and nothing is restored."""
        numbers = await self.start_with(2)
        self._lists.stop()
        await self.only_tell("A", "A", "abnormal")
        await self.only_tell("A", "A", "normal")
        _ = self._lists.start(0.5)
        await pause(1.5)
        await self.run_on("A", numbers)
        self.assertEqual(self.asked_to_restore("A"), 0)
        await self.end_all("A", numbers)

    async def test_2_3_1_the_backup_dies_after_handback(self) -> None:
        numbers = await self.handed_back(2)
        await self.lost("B")
        await self.run_on("A", numbers)
        await self.eventually(lambda: self.running_on("B"), {})
        self.told_restored("A", numbers, "A")
        await self.ledger_says("A", "platform", "B", len(numbers))
        await self.back("B")
        await self.end_all("A", numbers)

    async def test_2_3_1_the_main_restarts_during_handback(self) -> None:
        """A's CSS is stopped while it is abnormal and starts into normality."""
        numbers = await self.start_with(2)
        await self.lost("A")
        await self.run_on("B", numbers)
        await self.services_of("A").pop().stopService()
        for teller in PAIR_HOSTS:
            self.peers(teller).pms.broadcast_platform("A", "normal")
        self.stage.instance("A", "css-A-again", **self.timers)
        await self.stage.served("A")
        await pause(1.0)
        await self.run_on("B", numbers)
        answer = await self.create_at("A", "99")
        self.assertEqual(answer["platformmoid"], "A")
        await within(self.cm_of("A").release("99"))


class MemoryHandback(HandbackCases, OnMemory):
    """In this process."""

    async def test_2_3_1_both_sides_say_so(self) -> None:
        """In their logs, once each: that of the platform itself, and that of its backup. One that starts does, too."""
        with capturedLogs() as events:
            await self.begin()
            await self.lost("A")
            await self.back("A")
        self.assertEqual(
            self.said(events),
            [
                "own platform A is abnormal: every request is refused, and what its MCUs run is released",
                "own platform A is normal again: requests are served",
                "platform A is abnormal: creates and restores of it are taken here",
                "platform A is normal again: it is no longer served here",
            ],
        )
        await self.lost("A")
        with capturedLogs() as events:
            self.stage.instance("A", "css-A-2", **self.timers)
            await self.eventually(lambda: len(self.said(events)), 1)
        self.assertIn("own platform A is abnormal", self.said(events)[0])

    def said(self, events: Sequence[LogEvent]) -> list[str]:
        """Warnings about platforms, sorted."""
        warnings = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
        return sorted(text for text in warnings if text.startswith(("own platform", "platform")))


class ServerHandback(HandbackCases, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""
