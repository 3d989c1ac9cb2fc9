"""A platform that was lost is normal again, and what runs on its backup meanwhile (seed 2.3.1, 2.3.2, 9.2 to 9.5)."""

from __future__ import annotations

from css.peers.rms import Resources
from tests.scenarios.case import OnMemory, pause, within
from tests.scenarios.pair import PAIR_HOSTS, OnTwoNodes
from tests.scenarios.takeovercase import TakeoverCase


class HandbackCase(TakeoverCase):
    """Conferences of A that run on B while A is normal."""

    async def handed_back(self, count: int, **more: int) -> list[str]:
        """A was lost, B has taken over, and A is normal again. @return: the numbers."""
        numbers = await self.start_with(count, **more)
        await self.lost("A")
        await self.run_on("B", numbers)
        await self.back("A")
        await self.eventually(lambda: self.running_on("A"), {})
        return numbers

    def home(self, e164: str) -> str:
        """The host of B that runs it."""
        (ip,) = self.running_on("B")[e164]
        return ip


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
        self.peers("B").rms.refuse("", "FULL")
        await self.lost("A")
        for e164 in numbers:
            await self.eventually(lambda e164=e164: self._state_of(e164), "pending_restore")
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


class StateCases(HandbackCase):
    """Seed 9.2 to 9.5, for conferences of A that run on B."""

    async def test_9_2_short_loss_of_a_link(self) -> None:
        (e164,) = await self.handed_back(1)
        home = self.home(e164)
        # 备CSS: 与MCU短暂断链 -> 待恢复; 主CSS->主CMU: 恢复会议
        await self.hosts_of("B")[home].disconnect(tell=True)
        await self.eventually(lambda: e164 in self.running_on("A"), True, 20)
        # 备CMU->备CSS: 会议列表; 会议归属为其他MCU; 备CSS->备CMU: 结束会议; 会议结束通知被忽略
        self.assertEqual(list(self.running_on("B")), [e164])
        self.hosts_of("B")[home].reconnect()
        await self.run_on("A", [e164])
        self.assertEqual(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF"), [])
        await self.end_all("A", [e164])

    async def test_9_2_missing_from_its_mcu(self) -> None:
        """检测到REDIS上有该MCU会议,MCU却没有: 清除该会."""
        (e164,) = await self.handed_back(1)
        process = self.hosts_of("B")[self.home(e164)].process_of(e164)
        assert process is not None
        del process.conferences[e164]
        await self.eventually(lambda: self.record(e164), {}, 20)
        await self.eventually(lambda: len(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF", e164)), 1)
        (notice,) = self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF", e164)
        self.assertEqual(notice.fields["reason"], "lost")
        await self.nothing_left_anywhere()

    async def test_9_3_its_end(self) -> None:
        """Watched by B alone: notices to B's CMU and A's CM, then the end; A does not touch it."""
        numbers = await self.handed_back(2, duration=60)
        notified, ending = numbers
        await self.set_end(notified, 62, "B")
        await self.set_notice(notified, 1)
        await self.eventually(lambda: len(self.cm_of("A").notices("MAU_CM_CONFTIMEOUT_NTF", notified)), 1, 15)
        host = self.hosts_of("B")[self.home(notified)]
        process = host.process_of(notified)
        assert process is not None
        self.assertEqual(process.inbox.count("MAU_CMU_CONFTIMEOUT_NTF", notified), 1)
        self.assertEqual(self.cm_of("B").notices("MAU_CM_CONFTIMEOUT_NTF"), [])
        await self.set_end(ending, 1, "B")
        await self.eventually(lambda: self.record(ending), {}, 15)
        await self.eventually(lambda: len(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF", ending)), 1)
        (notice,) = self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF", ending)
        self.assertEqual(notice.fields["reason"], "expired")
        await self.eventually(lambda: ending in self.running_on("B"), False)

    async def set_notice(self, e164: str, seconds: float) -> None:
        """Have its next deadline, a notice, be due so many seconds from now."""
        await self.set_due(e164, seconds, "B")

    async def test_9_3_pending_at_its_end(self) -> None:
        """备CSS: 会议待恢复且到结束时间 -> 清理会议: whoever serves the source platform."""
        numbers = await self.start_with(1, duration=60)
        self.peers("B").rms.refuse("", "FULL")
        await self.lost("A")
        await self.eventually(lambda: self._state(numbers[0]), "pending_restore")
        await self.end_pending(numbers[0], 1)
        await self.eventually(lambda: self.record(numbers[0]), {}, 15)
        await self.eventually(lambda: len(self.cm_of("B").notices("MAU_CM_RELEASECONF_NTF", numbers[0])), 1)

    async def _state(self, e164: str) -> str:
        return (await self.record(e164)).get("state", "")

    async def test_9_4_link_lost_while_served_and_after(self) -> None:
        """会议源平台在服务平台列表中: 备CSS->备CMU 恢复会议; 不在: NULL, its own platform restores it."""
        numbers = await self.start_with(1)
        await self.lost("A")
        await self.run_on("B", numbers)
        home = self.home(numbers[0])
        await self.hosts_of("B")[home].disconnect(tell=True)
        others = [ip for ip in PAIR_HOSTS["B"] if ip != home]
        await self.eventually(lambda: any(ip in self.running_on("B").get(numbers[0], []) for ip in others), True, 20)
        self.hosts_of("B")[home].reconnect()
        await self.run_on("B", numbers)
        self.assertEqual(self.asked_to_restore("A"), 0)
        await self.back("A")
        await self.hosts_of("B")[self.home(numbers[0])].crash()
        await self.run_on("A", numbers)

    async def test_9_5_the_backup_starts_again(self) -> None:
        """Its own start rewrites no record; what an MCU does not confirm is lost, and restored at home."""
        numbers = await self.handed_back(2)
        before = [await self.record(each) for each in numbers]
        kept, lost = numbers
        await self.services_of("B").pop().stopService()
        if self.home(kept) != self.home(lost):
            await self.hosts_of("B")[self.home(lost)].crash()
        else:
            self.fail("two conferences on two hosts are placed evenly")
        self.stage.instance("B", "css-B-again", **self.timers)
        await self.stage.served("B")
        self.assertEqual(await self.record(kept), before[0])
        await self.run_on("A", [lost])
        self.assertEqual(await self.record(kept), before[0])


class MemoryHandback(HandbackCases, OnMemory):
    """In this process."""


class ServerHandback(HandbackCases, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""


class MemoryState(StateCases, OnMemory):
    """In this process."""


class ServerState(StateCases, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""
