"""How conferences of A that run on its backup B are kept true (seed 9.2 to 9.5): each arrow, on both platforms."""

from __future__ import annotations

from css.peers.rms import Resources
from tests.scenarios.case import OnMemory, pause, within
from tests.scenarios.handbackcase import HandbackCase
from tests.scenarios.pair import PAIR_HOSTS, OnTwoNodes

E164 = "0660175"
LISTS_SECONDS = 1.6
"""In which each MCU has sent lists of two different seconds."""


class StateCase(HandbackCase):
    """What is asked again and again."""

    async def state_and_place(self, e164: str) -> tuple[str, str]:
        """State and actual platform; empty if there is no record."""
        record = await self.record(e164)
        return record.get("state", ""), record.get("platformmoid", "")

    async def waits(self, e164: str) -> None:
        """It is `pending_restore`, and still has its place on B, where nobody restores it."""
        await self.eventually(lambda: self.state_and_place(e164), ("pending_restore", "B"))

    async def ended_as(self, reason: str, e164: str) -> None:
        """Its record has gone, and A's CM, which serves it, was told once; the bill came from where it ran last."""
        await self.eventually(lambda: self.record(e164), {})
        await self.eventually(lambda: len(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF", e164)), 1)
        (notice,) = self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF", e164)
        self.assertEqual(notice.fields["reason"], reason)
        self.assertEqual(self.cm_of("B").notices("MAU_CM_RELEASECONF_NTF", e164), [])
        await self.eventually(lambda: len(self.peers("B").bmc.bills(e164)), 1)
        self.assertEqual(self.peers("A").bmc.bills(e164), [])

    def steps_of(self, moid: str, name: str) -> int:
        """How many steps of a kind, each of which changed a record, a platform's instances have made."""
        return sum(service.work.tally[f"step_{name}"] for service in self.services_of(moid))


class ShortLoss(StateCase):
    """Seed 9.2, the first drawing."""

    async def test_9_2_short_loss_of_a_link(self) -> None:
        before = await self.left_on_the_backup(E164)
        process = self.process(E164)
        # 备CSS: 与MCU短暂断链; 备CSS->备REDIS: 会议设为待恢复
        self.nothing_at_home()
        await self.hosts_of("B")[process.ip].disconnect(tell=True)
        await self.waits(E164)
        # 主CSS->主CMU: 恢复会议,会议归属为主CMU
        self.capacity_at_home()
        await self.eventually(lambda: E164 in self.running_on("A"), True)
        self.assertEqual(list(self.running_on("B")), [E164])
        # 备CMU->备CSS: 会议列表; 会议归属为其他MCU且较早; 备CSS->备CMU: 结束会议
        self.hosts_of("B")[process.ip].reconnect()
        command = await within(process.inbox.wait_for("MAU_MCU_RELEASECONF_CMD", E164))
        self.assertEqual(str(command.fields["epoch"]), before["epoch"])
        # 备CMU->备CSS: 会议结束通知; 不归属本MCU,忽略消息
        await self.run_on("A", [E164])
        winner = await self.record(E164)
        self.assertGreater(int(winner["epoch"]), int(before["epoch"]))
        await pause(0.3)
        self.assertEqual((await self.record(E164), self.steps_of("B", "ended")), (winner, 0))
        self.assertEqual(self.asked_to_restore("B"), 0)
        self.assertEqual(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF"), [])
        await self.end_all("A", [E164])

    async def test_9_2_short_loss_while_the_main_still_asks(self) -> None:
        """会议状态可能为创建中: what B's MCU lists is older all the same."""
        await self.left_on_the_backup(E164)
        home = self.home(E164)
        self.speechless("A")
        await self.hosts_of("B")[home].disconnect(tell=True)
        await self.eventually(lambda: self.state_and_place(E164), ("creating", "A"))
        asked = await self.record(E164)
        self.hosts_of("B")[home].reconnect()
        await self.eventually(lambda: self.running_on("B"), {})
        self.assertEqual(await self.record(E164), asked)
        self.speaking("A")
        await self.run_on("A", [E164])
        self.assertEqual((await self.record(E164))["epoch"], asked["epoch"])
        await self.end_all("A", [E164])


class Missing(StateCase):
    """Seed 9.2, the second drawing: 检测到REDIS上有该MCU会议,MCU却没有."""

    async def test_9_2_missing_from_its_mcu(self) -> None:
        """已召开, IP,PID与该MCU相同: 清除该会."""
        await self.left_on_the_backup(E164)
        del self.process(E164).conferences[E164]
        await self.ended_as("lost", E164)
        await self.nothing_left_anywhere()

    async def test_9_2_missing_while_it_waits(self) -> None:
        """待恢复, IP,PID与该MCU相同: 清除该会."""
        await self.left_on_the_backup(E164)
        process = self.process(E164)
        self.nothing_at_home()
        await self.hosts_of("B")[process.ip].disconnect(tell=True)
        await self.waits(E164)
        del process.conferences[E164]
        self.hosts_of("B")[process.ip].reconnect()
        await self.ended_as("lost", E164)
        self.assertEqual(self.asked_to_restore("A"), 0)
        self.capacity_at_home()
        await self.nothing_left_anywhere()

    async def test_9_2_missing_while_it_is_created(self) -> None:
        """创建中: NULL, however many lists lack it, while A is served and after."""
        await self.begin()
        await self.lost("A")
        for host in self.hosts_of("B").values():
            host.mood.silent(1)
        creating = self.cm_of("B").create(E164, "n", "u-a")
        await self.eventually(lambda: self.state_and_place(E164), ("creating", "B"))
        await self.eventually(lambda: self.asked_to_create("B"), 1)
        asked = await self.record(E164)
        await pause(LISTS_SECONDS / 2)
        await self.back("A")
        await pause(LISTS_SECONDS / 2)
        self.assertEqual(await self.record(E164), asked)
        answer = await within(self.cm_of("A").release(E164))
        self.assertEqual(answer["type"], "MAU_CM_RELEASECONF_ACK", answer)
        self.assertEqual((await within(creating))["errcode"], "CONF_NOT_RUNNING")
        await self.nothing_left_anywhere()

    def asked_to_create(self, moid: str) -> int:
        """How many creates the hosts of a platform were asked for."""
        return sum(host.inbox.count("MAU_MCU_CREATECONF_REQ") for host in self.hosts_of(moid).values())

    async def test_9_2_another_process_of_its_host(self) -> None:
        """不同: 会议设为待恢复; 不在服务平台,不恢复该会议: its own platform does."""
        await self.left_on_the_backup(E164)
        host = self.hosts_of("B")[self.home(E164)]
        self.nothing_at_home()
        await host.crash_process("1")
        host.start_process("2", restarted=True)
        await self.waits(E164)
        self.capacity_at_home()
        await self.run_on("A", [E164])
        self.assertEqual(self.asked_to_restore("B"), 0)
        self.told_restored("A", [E164], "A")
        await self.end_all("A", [E164])


class Ends(StateCase):
    """Seed 9.3."""

    async def test_9_3_its_end(self) -> None:
        """Watched by B alone: notices to B's CMU and A's CM, then the end; A does not touch it."""
        await self.left_on_the_backup(E164, duration=60)
        process = self.process(E164)
        await self.set_end(E164, 62, "B")
        await self.set_due(E164, 1, "B")
        # 会议即将到时; 备CSS->备CMU, 备CSS->主CM: 会议即将到时通知
        await self.eventually(lambda: len(self.cm_of("A").notices("MAU_CM_CONFTIMEOUT_NTF", E164)), 1)
        await self.eventually(lambda: process.inbox.count("MAU_CMU_CONFTIMEOUT_NTF", E164), 1)
        self.assertEqual(self.cm_of("B").notices("MAU_CM_CONFTIMEOUT_NTF"), [])
        await self.set_end(E164, 1, "B")
        await self.ended_as("expired", E164)
        await self.eventually(lambda: self.running_on("B"), {})
        self.assertEqual((self.steps_of("A", "overdue"), self.steps_of("B", "overdue")), (0, 2))

    async def test_9_3_pending_at_its_end(self) -> None:
        """会议待恢复且到结束时间: 清理会议, by whoever serves the source platform."""
        (e164,) = await self.start_with(1, duration=60)
        self.peers("B").rms.refuse("", "FULL")
        await self.lost("A")
        await self.eventually(lambda: self.record_state(e164), "pending_restore")
        await self.end_pending(e164, 1)
        await self.eventually(lambda: self.record(e164), {})
        await self.eventually(lambda: len(self.cm_of("B").notices("MAU_CM_RELEASECONF_NTF", e164)), 1)

    async def record_state(self, e164: str) -> str:
        """State of a record; empty if there is none."""
        return (await self.state_and_place(e164))[0]

    async def test_9_3_creating_past_its_time(self) -> None:
        """创建中且无REDIS数据且超时: 清理会议, also once A is normal; B's CM, which asked, gets its NACK."""
        await self.begin(request_timeout_seconds=20.0, creating_timeout_seconds=2.0)
        await self.lost("A")
        for host in self.hosts_of("B").values():
            host.mood.silent()
        creating = self.cm_of("B").create(E164, "n", "u-a")
        await self.eventually(lambda: self.state_and_place(E164), ("creating", "B"))
        await self.back("A")
        self.assertEqual((await within(creating))["errcode"], "MCU_TIMEOUT")
        self.assertEqual(await self.record(E164), {})
        self.assertEqual(self.cm_of("A").answers_of(E164), [])
        for host in self.hosts_of("B").values():
            host.mood.resume()
        await self.nothing_left_anywhere()

    async def test_9_3_its_mcu_is_not_known_any_more(self) -> None:
        """正召开且会议归属MCU不在缓存内: 设为待恢复; nobody said that it is lost."""
        await self.left_on_the_backup(E164)
        self.nothing_at_home()
        await self.hosts_of("B")[self.home(E164)].crash()
        await self.waits(E164)
        self.capacity_at_home()
        await self.run_on("A", [E164])
        self.assertEqual(self.asked_to_restore("B"), 0)
        await self.end_all("A", [E164])


class LinksLost(StateCase):
    """Seed 9.4."""

    async def test_9_4_link_lost_while_served(self) -> None:
        """会议源平台在服务平台列表中: 备CSS->备CMU 恢复会议."""
        await self.begin()
        await self.lost("A")
        await self.create_at("B", E164)
        home = self.home(E164)
        self.peers("B").rms.refuse("", "FULL")
        await self.hosts_of("B")[home].disconnect(tell=True)
        await self.waits(E164)
        self.peers("B").rms.answer("", Resources("B-room", PAIR_HOSTS["B"]))
        others = [ip for ip in PAIR_HOSTS["B"] if ip != home]
        await self.eventually(lambda: any(ip in self.running_on("B").get(E164, []) for ip in others), True)
        self.hosts_of("B")[home].reconnect()
        await self.run_on("B", [E164])
        self.assertEqual((self.asked_to_restore("A"), self.asked_to_restore("B")), (0, 1))
        await self.back("A")
        await self.end_all("A", [E164])

    async def test_9_4_link_lost_after_handback(self) -> None:
        """不在: NULL, its own platform restores it."""
        await self.left_on_the_backup(E164)
        home = self.home(E164)
        self.nothing_at_home()
        asked_rms = self.peers("B").rms.requests()
        await self.hosts_of("B")[home].disconnect(tell=True)
        await self.waits(E164)
        self.capacity_at_home()
        await self.eventually(lambda: E164 in self.running_on("A"), True)
        self.hosts_of("B")[home].reconnect()
        await self.run_on("A", [E164])
        self.assertEqual((self.asked_to_restore("B"), self.peers("B").rms.requests()), (0, asked_rms))
        await self.end_all("A", [E164])


class Starts(StateCase):
    """Seed 9.5, as the requirements settle it: a start rewrites no record."""

    async def test_9_5_the_backup_starts_again(self) -> None:
        """What an MCU does not confirm is lost, and restored at home."""
        numbers = await self.handed_back(2)
        before = [await self.record(each) for each in numbers]
        kept, lost = numbers
        await self.services_of("B").pop().stopService()
        self.assertNotEqual(self.home(kept), self.home(lost), "two conferences on two hosts are placed evenly")
        await self.hosts_of("B")[self.home(lost)].crash()
        await self.b_starts()
        self.assertEqual(await self.record(kept), before[0])
        await self.run_on("A", [lost])
        self.assertEqual(await self.record(kept), before[0])

    async def b_starts(self) -> None:
        """A new instance on B, which serves."""
        self.stage.instance("B", "css-B-again", **self.timers)
        await self.stage.served("B")

    async def test_9_5_creating_is_left_alone(self) -> None:
        """会议为创建中: NULL; its MCU's list confirms it, and the CM that asked has its ACK from the new instance."""
        await self.begin()
        await self.lost("A")
        self.speechless("B")
        creating = self.cm_of("B").create(E164, "n", "u-a")
        await self.eventually(lambda: list(self.running_on("B")), [E164])
        asked = await self.record(E164)
        self.assertEqual(asked["state"], "creating")
        await self.services_of("B").pop().stopService()
        await self.back("A")
        await self.b_starts()
        self.assertEqual(await self.record(E164), asked)
        self.speaking("B")
        answer = await within(creating)
        self.assertEqual((answer["type"], answer["platformmoid"]), ("MAU_CM_CREATECONF_ACK", "B"))
        await self.run_on("B", [E164])
        await self.end_all("A", [E164])


class MemoryShortLoss(ShortLoss, OnMemory):
    """In this process."""


class ServerShortLoss(ShortLoss, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""


class MemoryMissing(Missing, OnMemory):
    """In this process."""


class ServerMissing(Missing, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""


class MemoryEnds(Ends, OnMemory):
    """In this process."""


class ServerEnds(Ends, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""


class MemoryLinksLost(LinksLost, OnMemory):
    """In this process."""


class ServerLinksLost(LinksLost, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""


class MemoryStarts(Starts, OnMemory):
    """In this process."""


class ServerStarts(Starts, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""
