"""A platform is lost, and its backup takes over (seed 2.3.1): arrow by arrow, on both platforms."""

from __future__ import annotations

from css.rounds import RESTORE_SECONDS
from css.timers.ticker import Ticker
from tests.scenarios.case import OnMemory, pause, within
from tests.scenarios.pair import USERS, OnTwoNodes
from tests.scenarios.takeovercase import TakeoverCase


class TakeoverCases(TakeoverCase):
    """Seed 2.3.1, first half."""

    async def test_2_3_1_platform_lost_and_taken_over(self) -> None:
        numbers = await self.start_with(4)
        await self.run_on("A", numbers)
        before = {each: await self.record(each) for each in numbers}
        asked_at_home = self.peers("A").rms.requests()
        # 主PMS->主CSS, 备PMS->备CSS: 平台异常
        await self.lost("A")
        # 备CSS: 该平台在"可能服务平台列表", 将该平台纳入服务平台列表
        self.assertEqual([each.platforms().possible_moids for each in self.services_of("B")], [("A",)])
        self.assertEqual([each.platforms().service for each in self.services_of("B")], [("B", "A")])
        # 主CMU->主CSS: 上报会议列表; 主CSS: 结束MCU会议
        await self.eventually(lambda: self.running_on("A"), {})
        # 备CSS: 会议设为待恢复; 备CSS->备RMS->备CSS; 备CSS->备CMU: 恢复会议
        await self.run_on("B", numbers)
        asked = [got.fields["moid"] for got in self.peers("B").rms.inbox.all("GET_RES_REQ")]
        self.assertEqual(asked, [USERS["A"]] * len(numbers))
        self.assertEqual(self.peers("A").rms.requests(), asked_at_home)
        self.assertEqual(self.asked_to_restore("B"), len(numbers))
        for e164 in numbers:
            self.assertGreater(int((await self.record(e164))["epoch"]), int(before[e164]["epoch"]))
        self.told_restored("B", numbers, "B")
        self.assertEqual(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF"), [])
        await self.ledger_says("B", "platform", "A", len(numbers))
        for verb in ("create", "release"):
            answer = await within(
                getattr(self.cm_of("A"), verb)(*(["77", "n", "u-a"] if verb == "create" else numbers[:1]))
            )
            self.assertEqual(answer["errcode"], "PLATFORM_ABNORMAL")
        await self.back("A")
        for e164 in numbers:
            self.assertEqual((await self.record(e164))["platformmoid"], "B")

    async def test_2_3_1_a_create_under_way(self) -> None:
        """Removed, the licence given back; the CM of A gets its NACK on its own broker; never restored."""
        await self.begin()
        self.peers("A").rms.silent()
        creating = self.cm_of("A").create("0660175", "n", "u-a")
        await self.eventually(lambda: self.record_state("0660175"), "creating")
        await self.lost("A")
        answer = await within(creating)
        self.assertEqual((answer["type"], answer["errcode"]), ("MAU_CM_CREATECONF_NACK", "PLATFORM_ABNORMAL"))
        self.assertEqual(await self.record("0660175"), {})
        self.assertEqual(self.asked_to_restore("B"), 0)
        self.assertEqual(self.peers("B").bmc.bills(), [])
        await self.back("A")
        self.peers("A").rms.resume()
        await self.nothing_left_anywhere()

    async def record_state(self, e164: str) -> str:
        """`state` of a record of A; empty if there is none."""
        return (await self.record(e164)).get("state", "")

    async def test_12_legacy_is_neither_taken_over_nor_released(self) -> None:
        (old,) = await self.start_with(1, legacy=1)
        self.assertEqual((await self.create_at("A", "02"))["type"], "MAU_CM_CREATECONF_ACK")
        await self.lost("A")
        await self.run_on("B", ["02"])
        await pause(1.5)
        await self.eventually(lambda: list(self.running_on("A")), [old])
        self.assertEqual((await self.record(old))["platformmoid"], "A")
        await self.back("A")
        await pause(1.5)
        await self.run_on("A", [old])

    async def test_2_3_1_a_backup_that_starts_later(self) -> None:
        """The standing condition: nobody told it of the loss."""
        numbers = await self.start_with(2)
        await self.services_of("B").pop().stopService()
        self.peers("B").pms.set_state("A", "abnormal")
        await self.only_tell("A", "A", "abnormal")
        await self.eventually(lambda: self.running_on("A"), {})
        self.stage.instance("B", "css-B-again", **self.timers)
        await self.run_on("B", numbers)
        self.told_restored("B", numbers, "B")
        await self.ledger_says("B", "platform", "A", len(numbers))

    async def test_2_3_1_a_main_that_starts_while_it_is_abnormal(self) -> None:
        """It does the same: releases what its MCUs list, legacy excepted, clears UPU, refuses; then serves."""
        (old,) = await self.start_with(1, legacy=1)
        self.assertEqual((await self.create_at("A", "02"))["type"], "MAU_CM_CREATECONF_ACK")
        await self.services_of("A").pop().stopService()
        for teller in ("A", "B"):
            self.peers(teller).pms.broadcast_platform("A", "abnormal")
        await self.run_twice_at_most("02")
        self.stage.instance("A", "css-A-again", **self.timers)
        await self.run_on("B", ["02"])
        self.assertEqual(list(self.running_on("A")), [old])
        await self.eventually(self.peers("A").upu.running_conferences, {})
        self.assertEqual((await self.create_at("A", "77"))["errcode"], "PLATFORM_ABNORMAL")
        await self.back("A")
        await self.stage.served("A")
        self.assertEqual((await self.create_at("A", "78"))["platformmoid"], "A")
        await self.run_on("A", [old, "78"])

    async def run_twice_at_most(self, e164: str) -> None:
        """B has restored it; nobody is there to end it on A's MCU."""
        await self.eventually(lambda: e164 in self.running_on("B"), True)
        self.assertIn(e164, self.running_on("A"))

    async def test_2_3_1_only_the_backup_is_told(self) -> None:
        """The two PMS say different things: each conference ends where it is older, and runs once."""
        numbers = await self.start_with(2)
        await self.only_tell("B", "A", "abnormal")
        await self.run_on("B", numbers)
        self.assertEqual(self.cm_of("A").notices("MAU_CM_RELEASECONF_NTF"), [])
        await self.only_tell("B", "A", "normal")
        await pause(1.0)
        await self.run_on("B", numbers)
        await self.end_all("B", [])

    async def end_all(self, moid: str, numbers: list[str]) -> None:
        """Without numbers: what still runs is ended by its MCUs."""
        await super().end_all(moid, numbers) if numbers else await self._mcus_end_all()

    async def _mcus_end_all(self) -> None:
        for moid in ("A", "B"):
            for host in self.hosts_of(moid).values():
                for process in host.processes.values():
                    for e164 in list(process.conferences):
                        process.end(e164)
        await self.nothing_left_anywhere()


class MemoryTakeover(TakeoverCases, OnMemory):
    """In this process."""

    async def test_2_3_1_only_the_backup_is_told_and_the_main_is_sooner(self) -> None:
        """After each takeover the next round of restores is the main's: the backup must not wait for its own."""
        numbers = await self.start_with(2)
        rounds = ("B", "takeover"), ("A", "restores"), ("B", "restores")
        await self._rounds_in_turn(*(self._ticker(*each) for each in rounds))
        await self.only_tell("B", "A", "abnormal")
        await self.run_on("B", numbers)
        await self.only_tell("B", "A", "normal")
        await self.end_all("B", [])

    async def _rounds_in_turn(self, *tickers: Ticker) -> None:
        """Have rounds that come equally often begin one after the other, a fifth of their interval apart."""
        for ticker in tickers:
            await ticker.stop()
        for ticker in tickers:
            ticker.start(at_once=True)
            await pause(RESTORE_SECONDS / 5)

    def _ticker(self, moid: str, name: str) -> Ticker:
        (found,) = [each for each in self.services_of(moid)[0].work.tickers if each.name == name]
        return found


class ServerTakeover(TakeoverCases, OnTwoNodes):
    """On two RabbitMQ nodes, two Redis and MariaDB."""
