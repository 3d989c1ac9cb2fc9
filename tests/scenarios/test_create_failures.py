"""A create that fails: the CM is told why, and nothing of it stays (contract section 3; seed 1.1, 2.3.2, 4.6)."""

from __future__ import annotations

from css.peers.rms import Resources
from tests.scenarios.case import (
    E164,
    HOSTS,
    NAME,
    PLATFORM,
    ROOM,
    USER,
    OnMemory,
    OnServers,
    Scenario,
    pause,
    until,
    within,
)

QUICK = {"request_timeout_seconds": 1.5, "creating_timeout_seconds": 9.0}
"""Time-outs for tests in which some are to happen."""
GHOST = "10.0.0.9"
"""A host that is not there."""


class RmsFailures(Scenario):
    """RMS refuses, is silent, is not there, or has nothing that can be used."""

    timers = QUICK

    async def _refused_and_nothing_left(self, errcode: str) -> None:
        await self.refused(errcode)
        await self.nothing_left()
        self.assertEqual(len(self.cm.answers_of(E164)), 1)
        self.assertEqual((self.cm.notices(), self.site.peers.bmc.bills()), ([], []))
        self.assertEqual(self.site.peers.upu.inbox.all(), [])

    async def test_nack(self) -> None:
        self.site.peers.rms.refuse("", "WHY_EVER")
        await self.begin()
        await self._refused_and_nothing_left("RMS_NACK")

    async def test_silence(self) -> None:
        self.site.peers.rms.silent()
        await self.begin()
        await self._refused_and_nothing_left("RMS_TIMEOUT")
        self.assertEqual(self.site.peers.rms.requests(), 1)

    async def test_an_answer_after_the_time_out(self) -> None:
        self.site.peers.rms.late(2.2)
        await self.begin()
        await self._refused_and_nothing_left("RMS_TIMEOUT")
        await until(lambda: self.tally("answers_not_awaited") == 1, what="the late answer is dropped")
        await self.nothing_left()

    async def _drop_rms(self) -> None:
        await self.site.peers.rms.stop()
        await self.ground.delete_queue(PLATFORM, "RMS.RES.Q")

    async def test_no_queue(self) -> None:
        await self._drop_rms()
        await self.begin()
        await self._refused_and_nothing_left("RMS_TIMEOUT")

    async def test_no_queue_at_first(self) -> None:
        await self._drop_rms()
        await self.begin(request_timeout_seconds=10.0, creating_timeout_seconds=20.0)
        answer = self.cm.create(E164, NAME, USER)
        await self.until_state("creating")
        self.site.peers.rms.start()
        self.assertEqual((await within(answer))["type"], "MAU_CM_CREATECONF_ACK")

    async def test_no_mcu(self) -> None:
        self.site.peers.rms.answer("", Resources(ROOM))
        await self.begin()
        await self._refused_and_nothing_left("NO_RESOURCE")

    async def test_no_mcu_that_is_connected(self) -> None:
        await self.begin()
        for host in self.site.peers.hosts.values():
            await host.disconnect()
        await self.eventually(lambda: self._signs_of_life(*HOSTS), [0, 0, 0])
        await self._refused_and_nothing_left("NO_RESOURCE")

    async def _signs_of_life(self, *ips: str) -> list[int]:
        return [int((await self.key(f"css/mcu/{ip}")).get("pid:1", "-1")) for ip in ips]

    async def test_only_the_connected_host_is_asked(self) -> None:
        await self.begin()
        for ip in HOSTS[:2]:
            await self.site.peers.hosts[ip].disconnect()
        await self.eventually(lambda: self._signs_of_life(*HOSTS[:2]), [0, 0])
        for number in ("1", "2", "3"):
            self.assertEqual((await self.created(number))["ip"], HOSTS[2])

    async def test_an_abnormal_room(self) -> None:
        await self.begin()
        self.site.peers.pms.broadcast_room(ROOM, "abnormal")
        await self.eventually(self._rooms, [ROOM])
        await self._refused_and_nothing_left("NO_RESOURCE")
        self.site.peers.pms.broadcast_room(ROOM, "normal")
        await self.eventually(self._rooms, [])
        await self.created()

    async def _rooms(self) -> list[str]:
        rooms = (await self.ground.dump(PLATFORM)).get("css/rooms", [])
        return [room.decode() if isinstance(room, bytes) else room for room in rooms]


class McuFailures(Scenario):
    """Hosts refuse, are silent, or are not there."""

    timers = QUICK

    def _asked(self, e164: str = E164) -> list[str]:
        hosts = self.site.peers.hosts.items()
        return [ip for ip, host in hosts if host.inbox.count("MAU_MCU_CREATECONF_REQ", e164)]

    async def _first(self, *moods: str) -> None:
        """Fill the hosts so that they are tried in order, each before the next; the first ones have these moods."""
        for index, host in enumerate(self.site.peers.hosts.values()):
            self.site.peers.rms.answer("", Resources(ROOM, [host.ip]))
            for number in range(index):
                await self.created(f"9{index}{number}")
        self.site.peers.rms.answer("", Resources(ROOM, HOSTS))
        for mood, host in zip(moods, self.site.peers.hosts.values(), strict=False):
            host.mood.reject("FULL") if mood == "reject" else host.mood.silent()

    async def _end_all(self) -> None:
        for index in range(len(HOSTS)):
            for number in range(index):
                await self.release(f"9{index}{number}")

    async def test_a_nack_then_the_next_host(self) -> None:
        await self.begin()
        await self._first("reject")
        answer = await self.created()
        self.assertEqual((answer["ip"], self._asked()), (HOSTS[1], list(HOSTS[:2])))
        self._check_epochs_grow(HOSTS[:2])
        await self.eventually(self._loads, [0, 2, 2])
        self.assertEqual(self.site.peers.rms.inbox.total, 4)
        await self.release()
        await self._end_all()
        await self.nothing_left()

    async def _loads(self) -> list[int]:
        return list((await self.ground.loads(PLATFORM, list(HOSTS))).values())

    def _check_epochs_grow(self, ips: tuple[str, ...]) -> None:
        epochs = [self.site.peers.hosts[ip].inbox.all(e164=E164)[0].fields["epoch"] for ip in ips]
        self.assertEqual(epochs, sorted(set(epochs)))

    async def test_silence_then_the_next_host(self) -> None:
        await self.begin()
        await self._first("silent", "silent")
        answer = await self.created()
        self.assertEqual((answer["ip"], self._asked()), (HOSTS[2], list(HOSTS)))
        self._check_epochs_grow(HOSTS)
        await self.release()
        await self._end_all()
        await self.nothing_left()

    async def test_all_refuse(self) -> None:
        await self.begin()
        for host in self.site.peers.hosts.values():
            host.mood.reject("FULL")
        await self.refused("MCU_REJECTED")
        self.assertEqual(self._asked(), list(HOSTS))
        await self.nothing_left()

    async def test_all_are_silent(self) -> None:
        await self.begin()
        for host in self.site.peers.hosts.values():
            host.mood.silent()
        await self.refused("MCU_TIMEOUT")
        self.assertEqual(self._asked(), list(HOSTS))
        self.assertEqual([host.inbox.total for host in self.site.peers.hosts.values()], [1, 1, 1])
        await self.nothing_left()

    async def test_the_last_ones_code_counts(self) -> None:
        await self.begin()
        await self._first("silent", "silent", "reject")
        await self.refused("MCU_REJECTED")
        await self._end_all()
        await self.nothing_left()

    async def test_the_creating_deadline(self) -> None:
        await self.begin(request_timeout_seconds=1.5, creating_timeout_seconds=2.0)
        for host in self.site.peers.hosts.values():
            host.mood.silent()
        began = self.service.work.clocks.now_ms(PLATFORM)
        await self.refused("MCU_TIMEOUT")
        took_ms = self.service.work.clocks.now_ms(PLATFORM) - began
        self.assertTrue(2000 <= took_ms < 4000, took_ms)
        self.assertEqual(len(self._asked()), 2)
        await self.nothing_left()

    async def test_a_host_without_a_queue_is_left_at_once(self) -> None:
        await self.begin(request_timeout_seconds=20.0, creating_timeout_seconds=60.0)
        self.site.peers.rms.answer("", Resources(ROOM, [HOSTS[0]]))
        await self.created("1")
        self.site.peers.rms.answer("", Resources(ROOM, [GHOST, HOSTS[0]]))
        answer = await within(self.cm.create(E164, NAME, USER), 8)
        self.assertEqual(answer["ip"], HOSTS[0])
        self.assertEqual(self.tally("mcu_without_queue"), 1)

    async def test_only_hosts_without_a_queue(self) -> None:
        await self.begin(request_timeout_seconds=20.0, creating_timeout_seconds=60.0)
        self.site.peers.rms.answer("", Resources(ROOM, [GHOST, "10.0.0.8"]))
        await self.refused("MCU_TIMEOUT")
        self.assertEqual(self.tally("mcu_without_queue"), 2)
        await self.nothing_left()

    async def test_the_late_ack_of_a_host_that_was_left(self) -> None:
        await self.begin()
        await self._first()
        late = self.site.peers.hosts[HOSTS[0]]
        late.mood.late(2.4)
        answer = await self.created()
        self.assertEqual(answer["ip"], HOSTS[1])
        command = await within(late.processes["1"].inbox.wait_for("MAU_MCU_RELEASECONF_CMD", E164))
        self.assertEqual(command.fields["epoch"], late.inbox.all(e164=E164)[0].fields["epoch"])
        await self.eventually(lambda: E164 in late.conferences, False)
        await pause(0.2)
        self.assertEqual((await self.key(f"confex/{E164}"))["ip"], HOSTS[1])
        self.assertIn(E164, self.site.peers.hosts[HOSTS[1]].conferences)
        await self.release()
        await self._end_all()
        await self.nothing_left()


class RmsFailuresOnMemory(RmsFailures, OnMemory):
    """All of it in this process."""


class RmsFailuresOnServers(RmsFailures, OnServers):
    """All of it on real servers."""


class McuFailuresOnMemory(McuFailures, OnMemory):
    """All of it in this process."""


class McuFailuresOnServers(McuFailures, OnServers):
    """All of it on real servers."""
