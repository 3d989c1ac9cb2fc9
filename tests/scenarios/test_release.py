"""A conference ends: in each of its states, by its CM or by its MCU (contract: "Release")."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from css.peers.rms import Resources
from tests.scenarios.case import E164, NAME, PLATFORM, ROOM, USER, OnMemory, OnServers, Scenario, pause, until, within

GHOST = "10.0.0.9"
"""A host that a bystander plays."""


class ReleaseCases(Scenario):
    """Every end leaves nothing behind."""

    def running(self) -> dict[str, str]:
        """Host of each conference that runs on any MCU."""
        hosts = self.site.peers.hosts.items()
        return {e164: ip for ip, host in hosts for e164 in host.conferences}

    async def _ended(self, reason: str) -> None:
        """The end of a conference that ran: each is told once, and nothing is left."""
        peers = self.site.peers
        await self.eventually(peers.upu.running_conferences, {})
        await self.eventually(self.running, {})
        await until(lambda: peers.bmc.bills(E164), what="the bill")
        await self.nothing_left()
        notices = [got.fields for got in self.cm.notices("MAU_CM_RELEASECONF_NTF")]
        self.assertEqual(notices, [{"type": "MAU_CM_RELEASECONF_NTF", "confE164": E164, "reason": reason}])
        self.assertEqual([got.fields["running"] for got in peers.upu.inbox.all("UPU_DEL_CONF_REQ", E164)], [1])
        self.assertEqual(len(peers.bmc.bills()), 1)
        self.assertEqual((await self.key(f"css/ended/{E164}"))["reason"], reason)

    async def test_a_running_conference(self) -> None:
        await self.begin()
        created = await self.created(duration=10)
        epoch = (await self.key(f"confex/{E164}"))["epoch"]
        request = self.cm.request("CM_MAU_RELEASECONF_REQ", confE164=E164, mtreqid="r1")
        wanted = {"type": "MAU_CM_RELEASECONF_ACK", "confE164": E164, "mtreqid": "r1"}
        self.assertEqual(await within(request.answer), wanted)
        await self._ended("released")
        self.assertEqual([answer.queue for answer in request.answers], [self.cm.reply_queue])
        process = self.site.peers.hosts[created["ip"]].processes["1"]
        (command,) = process.inbox.all("MAU_MCU_RELEASECONF_CMD")
        wanted_command = {"type": "MAU_MCU_RELEASECONF_CMD", "confE164": E164, "ip": created["ip"], "pid": "1"}
        self.assertEqual(command.fields, {**wanted_command, "epoch": int(epoch)})
        await self._check_bill(created["endtime"] - 600)
        over = int((await self.key(f"css/ended/{E164}"))["epoch"])
        self.assertTrue(int(epoch) <= over <= int(time.time() * 1000 + 1000) * 1024, (epoch, over))

    async def _check_bill(self, begintime: int) -> None:
        (bill,) = self.site.peers.bmc.bills(E164)
        fields = bill.fields
        self.assertIn(int(time.time()) - fields.pop("endtime"), range(20))
        common = {"type": "CONF_BILL_NTF", "confE164": E164, "confname": NAME, "moid": USER}
        places = {"srcplatformmoid": PLATFORM, "platformmoid": PLATFORM}
        self.assertEqual(fields, {**common, **places, "begintime": begintime, "reason": "released"})

    async def test_while_rms_is_asked(self) -> None:
        self.site.peers.rms.silent()
        await self.begin()
        await self._release_pending("")
        self.site.peers.rms.resume()
        await self.created()

    async def test_while_the_mcu_is_asked(self) -> None:
        for host in self.site.peers.hosts.values():
            host.mood.silent()
        await self.begin()
        await self._release_pending(ROOM)
        await self.nothing_left()

    async def _release_pending(self, room: str) -> None:
        pending = self.cm.request("CM_MAU_CREATECONF_REQ", confE164=E164, confname=NAME, moid=USER, mtreqid="c1")
        await self.eventually(self._room, room)
        await self.release()
        nack = {"type": "MAU_CM_CREATECONF_NACK", "confE164": E164, "mtreqid": "c1", "errcode": "CONF_NOT_RUNNING"}
        self.assertEqual(await within(pending.answer), nack)
        await self.nothing_left()
        self._never_ran()

    async def _room(self) -> str:
        return (await self.key(f"confex/{E164}")).get("roommoid", "none")

    def _never_ran(self) -> None:
        self.assertEqual(self.cm.notices(), [])
        self.assertEqual(self.site.peers.bmc.bills(), [])
        self.assertEqual(self.site.peers.upu.inbox.all(), [])

    async def test_an_ack_that_comes_after_the_release(self) -> None:
        for host in self.site.peers.hosts.values():
            host.mood.late(1.0)
        await self.begin()
        pending = self.cm.create(E164, NAME, USER)
        await until(lambda: len(self.running()) == 1, what="the MCU runs it")
        epoch = int((await self.key(f"confex/{E164}"))["epoch"])
        host = self.site.peers.hosts[self.running()[E164]]
        await self.release()
        self.assertEqual((await within(pending))["errcode"], "CONF_NOT_RUNNING")
        command = await within(host.processes["1"].inbox.wait_for("MAU_MCU_RELEASECONF_CMD", E164))
        self.assertEqual(command.fields["epoch"], epoch)
        await self.eventually(self.running, {})
        await self.nothing_left()
        self._never_ran()

    async def test_a_number_that_is_not_there(self) -> None:
        await self.begin()
        nack = {"type": "MAU_CM_RELEASECONF_NACK", "confE164": "1", "mtreqid": "9", "errcode": "CONF_NOT_FOUND"}
        self.assertEqual(await within(self.cm.release("1", mtreqid=9)), nack)
        await self.nothing_left()

    async def test_ended_on_the_mcu(self) -> None:
        await self.begin()
        created = await self.created()
        self.site.peers.hosts[created["ip"]].end(E164)
        await self._ended("released")

    async def test_the_number_can_be_used_again(self) -> None:
        await self.begin()
        epochs = []
        for _ in range(3):
            await self.created()
            epochs.append(int((await self.key(f"confex/{E164}"))["epoch"]))
            await self.release()
        self.assertEqual(epochs, sorted(set(epochs)))
        await self.eventually(self.running, {})
        await self.nothing_left()


class McuNoticeCases(Scenario):
    """What an MCU says of placements that are not the present one. A bystander is the MCU."""

    async def _asked(self) -> dict[str, Any]:
        """Create on the ghost host, up to its being asked. @return: what it was asked, with `correlation_id`."""
        await self.begin()
        self.ghost = await self.bystander(f"cmu.conf.q:{GHOST}", f"cmu.conf.q:{GHOST}:5", f"cmu.conf.q:{GHOST}:6")
        self.site.peers.rms.answer("", Resources(ROOM, [GHOST]))
        self.answer = self.cm.create(E164, NAME, USER)
        orders = self.ghost.got[f"cmu.conf.q:{GHOST}"]
        await until(lambda: orders, what="the host is asked")
        record = await self.key(f"confex/{E164}")
        return {"epoch": int(record["epoch"]), "correlation_id": orders[0].correlation_id}

    async def _say(self, kind: str, correlation_id: str = "", **fields: Any) -> None:
        body = {"type": kind, "confE164": E164, "ip": GHOST, "pid": "5", **fields}
        await self.ghost.to_mcu_queue(body, correlation_id=correlation_id)

    async def _running(self) -> int:
        """@return: the epoch of a conference that runs on process 5 of the ghost host."""
        asked = await self._asked()
        await self._say("MCU_MAU_CREATECONF_ACK", **asked)
        self.assertEqual((await within(self.answer))["pid"], "5")
        return int(asked["epoch"])

    def _commands(self, pid: str = "5") -> list[Any]:
        return [_fields(each.body) for each in self.ghost.got[f"cmu.conf.q:{GHOST}:{pid}"]]

    async def test_end_notices_of_other_placements_are_ignored(self) -> None:
        epoch = await self._running()
        await self._say("MCU_MAU_RELEASECONF_NTF", epoch=epoch - 1)
        await self._say("MCU_MAU_RELEASECONF_NTF", epoch=epoch + 1)
        await self._say("MCU_MAU_RELEASECONF_NTF", epoch=epoch, pid="6")
        await self._say("MCU_MAU_RELEASECONF_NTF", epoch=epoch, ip="10.0.0.1")
        await self._handled()
        self.assertEqual(await self.state_of(), "ongoing")
        await self._say("MCU_MAU_RELEASECONF_NTF", epoch=epoch)
        await self.until_state("")
        await self.nothing_left()

    async def _handled(self) -> None:
        """Wait until what was sent before has been handled: messages of one queue are taken in order."""
        await until(lambda: not any(service.work.in_flight for service in self.site.instances))
        await pause(0.3)

    async def test_an_end_notice_without_an_epoch(self) -> None:
        await self._running()
        await self._say("MCU_MAU_RELEASECONF_NTF")
        await self.until_state("")
        await self.nothing_left()

    async def test_an_end_notice_in_place_of_the_ack(self) -> None:
        asked = await self._asked()
        await self._say("MCU_MAU_RELEASECONF_NTF", **asked)
        self.assertEqual((await within(self.answer))["errcode"], "MCU_REJECTED")
        await self.nothing_left()

    async def test_an_ack_without_a_record_is_answered_with_a_release(self) -> None:
        epoch = await self._running()
        await self.release()
        await until(self._commands)
        await self._say("MCU_MAU_CREATECONF_ACK", epoch=epoch)
        await self._say("MCU_MAU_CREATECONF_ACK", pid="6")
        await until(lambda: len(self._commands()) == 2 and self._commands("6"), what="two more releases")
        command = {"type": "MAU_MCU_RELEASECONF_CMD", "confE164": E164, "ip": GHOST, "pid": "5", "epoch": epoch}
        self.assertEqual(self._commands(), [command, command])
        without = {name: value for name, value in command.items() if name != "epoch"}
        self.assertEqual(self._commands("6"), [{**without, "pid": "6"}])
        await self.nothing_left()

    async def test_an_ack_of_an_older_placement_is_answered_with_its_release(self) -> None:
        epoch = await self._running()
        await self._say("MCU_MAU_CREATECONF_ACK", epoch=epoch - 1, pid="6")
        await until(lambda: self._commands("6"), what="the release")
        command = {"type": "MAU_MCU_RELEASECONF_CMD", "confE164": E164, "ip": GHOST, "pid": "6"}
        self.assertEqual(self._commands("6"), [{**command, "epoch": epoch - 1}])
        self.assertEqual((await self.key(f"confex/{E164}"))["pid"], "5")

    async def test_the_ack_once_more_changes_nothing(self) -> None:
        epoch = await self._running()
        record = await self.key(f"confex/{E164}")
        await self._say("MCU_MAU_CREATECONF_ACK", epoch=epoch)
        await self._say("MCU_MAU_CREATECONF_ACK")
        await self._say("MCU_MAU_CREATECONF_NACK", epoch=epoch, errcode="FULL")
        await self._handled()
        self.assertEqual(await self.key(f"confex/{E164}"), record)
        self.assertEqual((self._commands(), len(self.cm.answers_of(E164))), ([], 1))

    async def test_a_newer_placement_than_the_records_is_adopted(self) -> None:
        epoch = await self._running()
        await self._say("MCU_MAU_CREATECONF_ACK", epoch=epoch + 5, pid="6")
        await self.eventually(self._epoch_and_pid, (str(epoch + 5), "6"))
        await until(self._commands, what="the older one is released")
        self.assertEqual([command["epoch"] for command in self._commands()], [epoch])
        await self.release()
        await self.nothing_left()

    async def _epoch_and_pid(self) -> tuple[str, str]:
        record = await self.key(f"confex/{E164}")
        return record["epoch"], record["pid"]


def _fields(body: bytes) -> Any:
    return msgspec.json.decode(body)


class ReleaseOnMemory(ReleaseCases, OnMemory):
    """All of it in this process."""


class ReleaseOnServers(ReleaseCases, OnServers):
    """All of it on real servers."""


class McuNoticesOnMemory(McuNoticeCases, OnMemory):
    """All of it in this process."""


class McuNoticesOnServers(McuNoticeCases, OnServers):
    """All of it on real servers."""
