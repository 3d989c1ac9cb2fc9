"""A conference outlives its MCU and its room; lists of MCUs and records come to agree (seed 1.2, 9.1, 9.2, 9.4)."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.task import LoopingCall

from css.adapters.memory.ledger import MemoryLedger
from css.adapters.redis.ledger import RedisLedger
from css.peers.cmu import CmuHost
from css.peers.cmu_process import Running
from css.peers.rms import Resources
from css.ports.ledger import Recovery
from css.service import CssService
from tests.scenarios.case import (
    E164,
    HOSTS,
    PLATFORM,
    ROOM,
    USER,
    OnMemory,
    OnServers,
    Scenario,
    pause,
)
from tests.scenarios.ground import reactor

EAST = "A-east"
LIST_SECONDS = 0.5


class RecoveryCase(Scenario):
    """MCUs that report every half second; short waits."""

    timers: ClassVar[dict[str, float]] = {
        "request_timeout_seconds": 8.0,
        "creating_timeout_seconds": 30.0,
        "restore_interval_seconds": 0.5,
        "mcu_timeout_seconds": 4.0,
        "sync_grace_seconds": 4.5,
        "legacy_wait_seconds": 2.0,
    }

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self._lists = LoopingCall(self._report)
        self._lists.clock = reactor
        _ = self._lists.start(LIST_SECONDS)

    async def tearDown(self) -> None:  # type: ignore[override]
        self._lists.stop()
        await super().tearDown()

    def _report(self) -> None:
        for host in self.hosts_.values():
            for process in host.processes.values():
                process.report_list()

    @property
    def hosts_(self) -> dict[str, CmuHost]:
        """The MCU hosts by address."""
        return self.site.peers.hosts

    async def start_with(self, count: int, **more: Any) -> dict[str, str]:
        """Start, and create conferences. @return: the host of each."""
        await self.begin()
        return {f"0660{n:03}": (await self.created(f"0660{n:03}", **more))["ip"] for n in range(count)}

    def running(self) -> dict[str, list[str]]:
        """The hosts that run each number."""
        found: dict[str, list[str]] = {}
        for ip, host in self.hosts_.items():
            for e164 in host.conferences:
                found.setdefault(e164, []).append(ip)
        return found

    async def all_run(self, numbers: list[str], without: tuple[str, ...] = ()) -> None:
        """Each runs once, on none of some hosts; record, row, load, locator and CM say the same."""

        async def runs() -> bool:
            running = self.running()
            return all(len(running.get(each, [])) == 1 and running[each][0] not in without for each in numbers)

        await self.eventually(runs, True)
        for e164 in numbers:
            await self.until_state("ongoing", e164)
            (ip,) = self.running()[e164]
            record = await self.key(f"confex/{e164}")
            self.assertEqual((record["ip"], record.get("attempt"), record.get("recovery")), (ip, None, None))

        async def rows() -> dict[str, str]:
            found = await self.ground.database.confinfo_page(PLATFORM, "", 1000)
            return {row.e164: row.ip for row in found}

        await self.eventually(rows, {each: self.running()[each][0] for each in numbers})
        await self.eventually(self.site.peers.upu.running_conferences, dict.fromkeys(numbers, PLATFORM))
        await self.eventually(self.loads, self.expected_loads())

    async def loads(self) -> dict[str, int]:
        """Booked places by host."""
        loads: dict[str, int] = await self.ground.loads(PLATFORM, list(HOSTS))
        return loads

    def expected_loads(self) -> dict[str, int]:
        """What runs, by host."""
        hosts = [ip for hosts in self.running().values() for ip in hosts]
        return {ip: hosts.count(ip) for ip in HOSTS}

    def told_restored(self, numbers: list[str]) -> None:
        """The CM was told once of each, and where."""
        for e164 in numbers:
            notices = self.cm.notices("MAU_CM_RESTORECONF_NTF", e164)
            self.assertEqual([got.fields["ip"] for got in notices], self.running()[e164])

    async def recoveries(self) -> list[Recovery]:
        """What the ledger says, the newest first."""
        store = self.ground.stores[PLATFORM]
        ledger = MemoryLedger(store.server) if self.ground.name == "memory" else RedisLedger(store.link)
        found: list[Recovery] = await ledger.recent(10)
        return found

    async def ledger_says(self, kind: str, planned: int) -> None:
        """One recovery, which has ended."""

        async def summary() -> list[tuple[str, int, int, bool]]:
            return [(each.kind, each.planned, each.settled, each.ended_ms > 0) for each in await self.recoveries()]

        await self.eventually(summary, [(kind, planned, planned, True)])

    async def end_all(self, numbers: list[str]) -> None:
        """The CM releases them; nothing is left."""
        for e164 in numbers:
            await self.release(e164)
        await self.nothing_left(30)


class LostMcuCases(RecoveryCase):
    """An MCU process, or a host, is gone."""

    async def test_disconnected(self) -> None:
        homes = await self.start_with(6)
        lost = [e164 for e164, ip in homes.items() if ip == HOSTS[0]]
        self.assertEqual(len(lost), 2)
        await self.hosts_[HOSTS[0]].disconnect(tell=True)
        old = self.hosts_[HOSTS[0]].conferences
        await self.eventually(lambda: all(len(self.running()[each]) == 2 for each in lost), True)
        # The link is back: what runs there still is older than the record, and is ended there.
        self.hosts_[HOSTS[0]].reconnect()
        await self.all_run(list(homes), (HOSTS[0],))
        self.assertEqual(len(old), 2)
        self.told_restored(lost)
        await self.ledger_says("mcu", 2)
        await self.end_all(list(homes))

    async def test_silent(self) -> None:
        homes = await self.start_with(6)
        lost = [e164 for e164, ip in homes.items() if ip == HOSTS[0]]
        await self.hosts_[HOSTS[0]].crash()
        self.assertEqual(await self.state_of(lost[0]), "ongoing")
        await self.all_run(list(homes), (HOSTS[0],))
        self.told_restored(lost)
        await self.ledger_says("mcu", 2)
        self.assertEqual(self.tally("mass_losses_suspected"), 0)
        await self.end_all(list(homes))

    async def test_restarted_empty(self) -> None:
        """Long before its silence would be noticed."""
        homes = await self.start_with(3)
        (lost,) = [e164 for e164, ip in homes.items() if ip == HOSTS[0]]
        await pause(1.0)
        began = reactor.seconds()
        await self.hosts_[HOSTS[0]].crash()
        self.hosts_[HOSTS[0]].restart(["2"])
        await self.all_run(list(homes))
        notice = self.cm.notices("MAU_CM_RESTORECONF_NTF", lost)[0]
        self.assertLess(notice.at_seconds - began, 4.0)
        await self.ledger_says("mcu", 1)
        await self.end_all(list(homes))

    async def test_back_before_it_is_restored(self) -> None:
        """RMS has nothing meanwhile: `ongoing` again where it was, and nothing is restored."""
        await self.start_with(1)
        (home,) = self.running()["0660000"]
        self.site.peers.rms.refuse("", "FULL")
        await self.hosts_[home].disconnect(tell=True)
        await self.until_state("pending_restore", "0660000")
        self.hosts_[home].reconnect()
        await self.all_run(["0660000"])
        self.assertEqual(self.running()["0660000"], [home])
        self.assertEqual(self.cm.notices("MAU_CM_RESTORECONF_NTF"), [])
        await self.ledger_says("mcu", 1)
        self.site.peers.rms.answer("", Resources(ROOM, HOSTS))
        await self.end_all(["0660000"])

    async def test_no_capacity_then_capacity(self) -> None:
        homes = await self.start_with(3)
        (lost,) = [e164 for e164, ip in homes.items() if ip == HOSTS[0]]
        for ip in HOSTS[1:]:
            self.hosts_[ip].mood.reject("FULL")
        await self.hosts_[HOSTS[0]].disconnect(tell=True)
        await self.eventually(
            lambda: sum(self.hosts_[ip].inbox.count("MAU_CMU_RESTORECONF_REQ") for ip in HOSTS) >= 4, True
        )
        self.assertIn(await self.state_of(lost), ("pending_restore", "creating"))
        self.hosts_[HOSTS[2]].mood.resume()
        await self.eventually(lambda: HOSTS[2] in self.running()[lost], True)
        self.hosts_[HOSTS[0]].reconnect()
        await self.all_run(list(homes), (HOSTS[0],))
        self.told_restored([lost])
        self.hosts_[HOSTS[1]].mood.resume()
        await self.end_all(list(homes))

    async def test_legacy_is_lost_after_its_wait(self) -> None:
        await self.start_with(1, legacy=1)
        (home,) = self.running()["0660000"]
        await self.hosts_[home].disconnect(tell=True)
        await self.eventually(lambda: self.state_of("0660000"), "")
        await self.eventually(lambda: len(self.cm.notices("MAU_CM_RELEASECONF_NTF", "0660000")), 1)
        (notice,) = self.cm.notices("MAU_CM_RELEASECONF_NTF", "0660000")
        self.assertEqual(notice.fields["reason"], "lost")
        await self.ledger_says("mcu", 1)
        self.hosts_[home].reconnect()
        await self.eventually(self.running, {})
        await self.nothing_left(30)

    async def test_released_while_it_waits(self) -> None:
        await self.start_with(1)
        (home,) = self.running()["0660000"]
        self.site.peers.rms.refuse("", "FULL")
        await self.hosts_[home].disconnect(tell=True)
        await self.until_state("pending_restore", "0660000")
        await self.release("0660000")
        self.assertEqual(await self.state_of("0660000"), "")
        self.hosts_[home].reconnect()
        await self.eventually(self.running, {})
        await self.ledger_says("mcu", 1)
        await self.nothing_left(30)


class RoomCases(RecoveryCase):
    """A room that is abnormal, and normal again."""

    async def test_released_there_and_restored_elsewhere(self) -> None:
        """Its MCUs live on; RMS answers another room; it is remembered over a start of CSS."""
        for process in self.hosts_[HOSTS[0]].processes.values():
            process.roommoid = EAST
        homes = await self.start_with(3)
        (lost,) = [e164 for e164, ip in homes.items() if ip == HOSTS[0]]
        self.site.peers.pms.broadcast_room(EAST, "abnormal")
        await self.all_run(list(homes), (HOSTS[0],))
        self.assertEqual(self.cm.notices("MAU_CM_RELEASECONF_NTF"), [])
        self.told_restored([lost])
        await self.ledger_says("room", 1)
        again = await self._started_again()
        self.assertIsNotNone(again)
        self.site.peers.rms.answer("", Resources(ROOM, [HOSTS[0]]))
        await self.refused("NO_RESOURCE")
        self.site.peers.pms.broadcast_room(EAST, "normal")
        await self.eventually(self._abnormal_rooms, None)
        self.assertEqual((await self.created())["ip"], HOSTS[0])
        await self.all_run([*homes, E164])
        self.assertNotIn(HOSTS[0], [self.running()[each][0] for each in homes])
        await self.end_all([*homes, E164])

    async def _abnormal_rooms(self) -> Any:
        """What Redis has of them; None: there is none."""
        return (await self.ground.dump(PLATFORM)).get("css/rooms") or None

    async def _started_again(self) -> CssService:
        """CSS stops and starts; the PMS says nothing of rooms."""
        self.site.peers.pms.abnormal_rooms = None
        await self.site.instances.pop().stopService()
        self.stage.instance(PLATFORM, "css-again", **self.timers)
        await self.stage.served(PLATFORM)
        return self.service


class SyncCases(RecoveryCase):
    """What lists show, and lack."""

    def process(self, e164: str) -> Any:
        """The MCU process that runs a number."""
        (ip,) = self.running()[e164]
        return self.hosts_[ip].process_of(e164)

    async def test_missing_from_two_lists(self) -> None:
        """Ended as lost, billed once."""
        await self.start_with(2)
        del self.process("0660000").conferences["0660000"]
        await self.eventually(lambda: self.state_of("0660000"), "")
        await self.eventually(lambda: len(self.cm.notices("MAU_CM_RELEASECONF_NTF")), 1)
        (notice,) = self.cm.notices("MAU_CM_RELEASECONF_NTF")
        self.assertEqual((notice.e164, notice.fields["reason"]), ("0660000", "lost"))
        await self.eventually(lambda: len(self.site.peers.bmc.bills("0660000")), 1)
        await self.all_run(["0660001"])
        await self.end_all(["0660001"])

    async def test_lost_acks(self) -> None:
        """A create and a restore, each confirmed by a list long before its time-out."""
        await self.begin()
        for host in self.hosts_.values():
            host.mood.lose_answers()
        began = reactor.seconds()
        home = (await self.created())["ip"]
        await self.hosts_[home].disconnect(tell=True)
        await self.eventually(lambda: len(self.cm.notices("MAU_CM_RESTORECONF_NTF", E164)), 1)
        self.assertLess(reactor.seconds() - began, 8.0)
        self.hosts_[home].reconnect()
        await self.all_run([E164], (home,))
        await self.end_all([E164])

    async def test_older_duplicate(self) -> None:
        """Ended where it runs; the highest epoch survives."""
        await self.start_with(1)
        (home,) = self.running()["0660000"]
        other = next(ip for ip in HOSTS if ip != home)
        run = self.process("0660000").conferences["0660000"]
        older = Running("0660000", run.confname, run.password, run.epoch - 1, run.createtime)
        self.hosts_[other].processes["1"].conferences["0660000"] = older
        await self.eventually(lambda: self.running()["0660000"], [home])
        await self.all_run(["0660000"])
        self.assertEqual(self.cm.notices(), [])
        await self.end_all(["0660000"])

    async def test_newer_duplicate(self) -> None:
        """Adopted; the record's placement is ended, its end notice ends nothing."""
        await self.start_with(1)
        (home,) = self.running()["0660000"]
        other = next(ip for ip in HOSTS if ip != home)
        run = self.process("0660000").conferences["0660000"]
        newer = Running("0660000", run.confname, run.password, run.epoch + 1, run.createtime)
        self.hosts_[other].processes["1"].conferences["0660000"] = newer
        await self.all_run(["0660000"], (home,))
        self.assertEqual(self.cm.notices("MAU_CM_RELEASECONF_NTF"), [])
        await self.end_all(["0660000"])

    async def test_stranger(self) -> None:
        """Released after its time, not before."""
        await self.begin()
        stray = Running("999", "n", "", 7, int(reactor.seconds()))
        self.hosts_[HOSTS[0]].processes["1"].conferences["999"] = stray
        await pause(2.5)
        self.assertEqual(self.running(), {"999": [HOSTS[0]]})
        await self.eventually(self.running, {})
        await self.nothing_left()

    async def test_record_lost_but_row_open(self) -> None:
        """Rebuilt from the row when its MCU lists it, with its end and its place under the limit."""
        await self.start_with(1, duration=60)
        await self.all_run(["0660000"])
        before = await self.key("confex/0660000")
        await self._forget("confex/0660000", "conf/0660000")
        await self.until_state("ongoing", "0660000")
        after = await self.key("confex/0660000")
        for field in ("ip", "pid", "epoch", "endtime", "moid", "licensed_under"):
            self.assertEqual(after[field], before[field], field)
        self.assertEqual((await self.key("conf/0660000"))["duration"], "60")
        await self.all_run(["0660000"])
        await self.end_all(["0660000"])

    async def _forget(self, *keys: str) -> None:
        """Keys that the platform's Redis loses."""
        store = self.ground.stores[PLATFORM]
        for key in keys:
            if self.ground.name == "memory":
                store.server.keyspace.delete(key)
            else:
                await store.link.command("DEL", key)


class SeveralInstances(RecoveryCase):
    """Three instances share the work."""

    instances = 3

    async def test_a_host_with_many(self) -> None:
        """Each is restored once, evenly; nobody does the other's work again."""
        homes = await self.start_with(60)
        lost = [e164 for e164, ip in homes.items() if ip == HOSTS[0]]
        await self.hosts_[HOSTS[0]].crash()
        await self.all_run(list(homes), (HOSTS[0],))
        self.told_restored(lost)
        self.assertEqual(self.expected_loads(), {HOSTS[0]: 0, HOSTS[1]: 30, HOSTS[2]: 30})
        asked = sum(self.hosts_[ip].inbox.count("MAU_CMU_RESTORECONF_REQ") for ip in HOSTS)
        self.assertEqual(asked, len(lost))
        self.assertTrue(USER)


class MemoryLostMcu(LostMcuCases, OnMemory):
    """In this process."""


class ServerLostMcu(LostMcuCases, OnServers):
    """On RabbitMQ, Redis and MariaDB."""


class MemoryRoom(RoomCases, OnMemory):
    """In this process."""


class ServerRoom(RoomCases, OnServers):
    """On RabbitMQ, Redis and MariaDB."""


class MemorySync(SyncCases, OnMemory):
    """In this process."""


class ServerSync(SyncCases, OnServers):
    """On RabbitMQ, Redis and MariaDB."""


class MemorySeveralInstances(SeveralInstances, OnMemory):
    """In this process."""


class ServerSeveralInstances(SeveralInstances, OnServers):
    """On RabbitMQ, Redis and MariaDB."""
