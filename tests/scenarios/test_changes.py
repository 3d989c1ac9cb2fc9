"""Names, passwords and ends that change (seed 5), each at home, on the backup while it serves, and after handback."""

from __future__ import annotations

from typing import Any, ClassVar

from css.peers.cmu_process import CmuProcess
from tests.contracts.database import open_row
from tests.scenarios.case import PATIENT, OnMemory, within
from tests.scenarios.pair import OnTwoNodes, PairScenario

E164 = "0880"
NAME, NEW_NAME = "周会", "新名字"
MINUTES = 60


class SeedFive(PairScenario):
    """Conference 0880 of platform A, and who hears what of it."""

    runs_on = "A"
    """Platform whose MCU runs it."""

    async def at_home(self) -> None:
        """It runs on A."""
        await self.begin()
        await self._created_on("A")

    async def on_the_backup(self) -> None:
        """A is abnormal: it runs on B, which serves A."""
        await self.begin()
        await self.lost("A")
        await self._created_on("B")

    async def after_handback(self) -> None:
        """It runs on B, and A is normal again."""
        await self.on_the_backup()
        await self.back("A")

    async def _created_on(self, moid: str) -> None:
        self.runs_on = moid
        await self.ground.database.prepare()
        more = {"duration": MINUTES, "password": "1"}
        answer = await within(self.cm_of(moid).create(E164, NAME, "u-a", **more))
        self.assertEqual((answer["type"], answer["platformmoid"]), ("MAU_CM_CREATECONF_ACK", moid))
        await self.eventually(self.row, (NAME, "1", answer["endtime"], "A", moid))
        self.began_at = answer["endtime"] - 60 * MINUTES

    @property
    def process(self) -> CmuProcess:
        """The MCU process that runs it."""
        hosts = self.peers(self.runs_on).hosts.values()
        return next(host.process_of(E164) for host in hosts if E164 in host.conferences)

    async def row(self) -> tuple[str, str, int, str, str] | None:
        """Name, password, end, source and actual platform in `confinfo`."""
        row = await open_row(self.ground.database, E164)
        return row and (row.confname, row.password, row.endtime, row.srcplatformmoid, row.platformmoid)

    async def known(self) -> tuple[str, str, str]:
        """Name, password, duration in A's Redis."""
        conf = await self.key(f"conf/{E164}", "A")
        return conf["confname"], conf["password"], conf["duration"]

    def heard(self, moid: str, type: str) -> list[dict[str, Any]]:
        """What a platform's CM has heard of that kind."""
        return [received.fields for received in self.cm_of(moid).inbox.all(type, E164)]

    def end(self, more: int) -> int:
        """The end after it was moved by so many minutes."""
        return int(self.began_at + 60 * (MINUTES + more))


class Names(SeedFive):
    """Seed 5.1, 5.2: the MCU asks, the CM agrees, the MCU says so, the row follows."""

    async def renamed(self, cm: str) -> None:
        """5.1.2, arrow by arrow. @param cm: platform whose CM is asked."""
        self.process.ask_for_name(E164, NEW_NAME)
        asked = await within(self.cm_of(cm).inbox.wait_for("CMU_CM_MODIFYCONFNAME_REQ", E164))
        self.assertEqual(asked.queue, "MEETING.CSS.Q")
        wanted = {"confE164": E164, "confname": NEW_NAME, "ip": self.process.ip, "pid": self.process.pid}
        self.assertEqual({name: asked.fields[name] for name in wanted}, wanted)
        await within(self.process.inbox.wait_for("CM_CMU_MODIFYCONFNAME_ACK", E164))
        self.assertEqual(self.process.inbox.count("CM_CMU_MODIFYCONFNAME_ACK", E164), 1)
        await self.eventually(self.known, (NEW_NAME, "1", str(MINUTES)))
        await self.eventually(self.row, (NEW_NAME, "1", self.end(0), "A", self.runs_on))
        other = "A" if cm == "B" else "B"
        self.assertEqual(self.heard(other, "CMU_CM_MODIFYCONFNAME_REQ"), [])
        upu = self.peers(self.runs_on).upu
        await self.eventually(lambda: upu.table()[E164, 1].confname, NEW_NAME)
        self.assertEqual(upu.table()[E164, 1].platformmoid, self.runs_on)
        self.assertNotIn("confname", await self.key(f"confex/{E164}", "A"))

    def forwarded(self) -> tuple[int, int]:
        """How often A's CSS has forwarded something, and B's."""
        one, other = (sum(each.work.tally["forwarded"] for each in self.services_of(moid)) for moid in ("A", "B"))
        return one, other

    async def test_5_1_at_home(self) -> None:
        await self.at_home()
        await self.renamed("A")
        self.assertEqual(self.forwarded(), (0, 0))

    async def test_5_1_at_home_as_the_drawing_spells_it(self) -> None:
        """CM->CSS: CM_MAU_MODIFYCONFNAME_ACK, which the MCU gets as it is defined."""
        await self.at_home()
        self.cm_of("A").name_requests.silent()
        self.process.ask_for_name(E164, NEW_NAME)
        asked = await within(self.cm_of("A").inbox.wait_for("CMU_CM_MODIFYCONFNAME_REQ", E164))
        fields = {name: asked.fields[name] for name in ("confname", "ip", "pid", "mtreqid")}
        self.cm_of("A").tell("CM_MAU_MODIFYCONFNAME_ACK", E164, **fields)
        await within(self.process.inbox.wait_for("CM_CMU_MODIFYCONFNAME_ACK", E164))
        await self.eventually(self.row, (NEW_NAME, "1", self.end(0), "A", "A"))

    async def test_5_1_on_the_backup_while_it_serves(self) -> None:
        await self.on_the_backup()
        await self.renamed("B")

    async def test_5_1_on_the_backup_after_handback(self) -> None:
        """备CSS → 主CM → 主CSS → 备CSS → 备MCU."""
        await self.after_handback()
        await self.renamed("A")
        self.assertEqual(self.forwarded(), (1, 0))

    async def name_refused(self, cm: str) -> None:
        """The CM does not agree: the MCU hears that, and nothing changes."""
        self.cm_of(cm).name_requests.reject("TAKEN", times=1)
        self.process.ask_for_name(E164, NEW_NAME)
        nack = await within(self.process.inbox.wait_for("CM_CMU_MODIFYCONFNAME_NACK", E164))
        self.assertEqual(nack.fields["errcode"], "TAKEN")
        self.assertEqual(await self.known(), (NAME, "1", str(MINUTES)))

    async def test_5_1_refused_at_home(self) -> None:
        await self.at_home()
        await self.name_refused("A")

    async def test_5_1_refused_after_handback(self) -> None:
        await self.after_handback()
        await self.name_refused("A")

    async def test_5_1_it_has_moved_since(self) -> None:
        """An answer for another process is dropped, and counted."""
        await self.at_home()
        fields = {"confname": NEW_NAME, "ip": self.process.ip, "pid": "999", "mtreqid": "1"}
        self.cm_of("A").tell("CM_CMU_MODIFYCONFNAME_ACK", E164, **fields)
        await self.eventually(lambda: self.services_of("A")[0].work.tally["controls_dropped"], 1)
        self.assertEqual(self.process.inbox.count("CM_CMU_MODIFYCONFNAME_ACK", E164), 0)

    async def password_changed(self) -> None:
        """5.2: the MCU says so, the row follows."""
        self.process.change(E164, password="2468")
        await self.eventually(self.known, (NAME, "2468", str(MINUTES)))
        await self.eventually(self.row, (NAME, "2468", self.end(0), "A", self.runs_on))

    async def test_5_2_at_home(self) -> None:
        await self.at_home()
        await self.password_changed()

    async def test_5_2_on_the_backup_while_it_serves(self) -> None:
        await self.on_the_backup()
        await self.password_changed()

    async def test_5_2_on_the_backup_after_handback(self) -> None:
        await self.after_handback()
        await self.password_changed()


class Delays(SeedFive):
    """Seed 5.3: the CM or the MCU moves the end; record, row, CM and MCU agree."""

    timers: ClassVar[dict[str, float]] = {**PATIENT, "request_timeout_seconds": 6.0, "restore_interval_seconds": 0.5}

    async def agreed(self, cm: str, minutes: int, notices: int = 1) -> None:
        """Everybody knows the new end; the other platform's CM has heard nothing."""
        end = self.end(minutes)
        told = {"confE164": E164, "endtime": end, "duration": MINUTES + minutes}
        await within(self.cm_of(cm).wait_for_notice("CM_MAU_CONFDURATION_NTF", E164, notices))
        self.assertEqual(self.heard(cm, "CM_MAU_CONFDURATION_NTF")[-1], {"type": "CM_MAU_CONFDURATION_NTF"} | told)
        await self.eventually(lambda: self.process.conferences[E164].endtime, end)
        self.assertEqual((await self.key(f"confex/{E164}", "A"))["endtime"], str(end))
        self.assertEqual((await self.known())[2], str(MINUTES + minutes))
        await self.eventually(self.row, (NAME, "1", end, "A", self.runs_on))
        self.assertEqual(self.heard(cm, "CM_MAU_CONFDURATION_NTF")[notices:], [])
        self.assertEqual(self.heard("A" if cm == "B" else "B", "CM_MAU_CONFDURATION_NTF"), [])

    async def delayed_by_cm(self, cm: str) -> None:
        """CM → CSS → REDIS, ACK, CM_MAU_CONFDURATION_NTF, MAU_CMU_CONFDURATION_NTF. Once, however often it comes."""
        request = self.cm_of(cm).request("CM_MAU_DELAYCONF_REQ", confE164=E164, delay=30, mtreqid="5")
        ack = {"type": "CM_MAU_DELAYCONF_ACK", "confE164": E164, "mtreqid": "5", "endtime": self.end(30)}
        self.assertEqual(await within(request.answer), ack)
        self.assertEqual(request.answers[0].queue, self.cm_of(cm).reply_queue)
        told = await within(self.process.inbox.wait_for("MAU_CMU_CONFDURATION_NTF", E164))
        self.assertEqual((told.fields["endtime"], told.fields["duration"]), (self.end(30), MINUTES + 30))
        repeats = self.cm_of(cm).inbox.repeats
        await within(self.cm_of(cm).repeat(request))
        await self.eventually(lambda: self.cm_of(cm).inbox.repeats, repeats + 1)
        await self.agreed(cm, 30)
        self.assertEqual(self.process.inbox.count("MAU_CMU_CONFDURATION_NTF", E164), 1)

    async def delayed_by_mcu(self, cm: str) -> None:
        """CMU → CSS → REDIS, MAU_MCU_DELAYCONF_ACK, CM_MAU_CONFDURATION_NTF."""
        self.process.ask_for_delay(E164, 15)
        ack = await within(self.process.inbox.wait_for("MAU_MCU_DELAYCONF_ACK", E164))
        self.assertEqual(ack.fields["endtime"], self.end(15))
        await self.agreed(cm, 15)
        self.assertEqual(self.process.inbox.count("MAU_CMU_CONFDURATION_NTF", E164), 0)

    async def test_5_3_by_the_cm_at_home(self) -> None:
        await self.at_home()
        await self.delayed_by_cm("A")

    async def test_5_3_by_the_cm_on_the_backup_while_it_serves(self) -> None:
        await self.on_the_backup()
        await self.delayed_by_cm("B")

    async def test_5_3_by_the_cm_after_handback(self) -> None:
        """主CM → 主CSS → 主REDIS, 主CM, 备CMU: the backup's CSS has no part in it."""
        await self.after_handback()
        before = self.services_of("B")[0].work.tally["step_delay"]
        await self.delayed_by_cm("A")
        self.assertEqual(self.services_of("B")[0].work.tally["step_delay"], before)

    async def test_5_3_by_the_mcu_at_home(self) -> None:
        await self.at_home()
        await self.delayed_by_mcu("A")

    async def test_5_3_by_the_mcu_on_the_backup_while_it_serves(self) -> None:
        await self.on_the_backup()
        await self.delayed_by_mcu("B")

    async def test_5_3_by_the_mcu_after_handback(self) -> None:
        """备CMU → 备CSS → 主REDIS, 备CMU, 主CM."""
        await self.after_handback()
        await self.delayed_by_mcu("A")

    async def test_5_3_refused(self) -> None:
        """None with that number; the platform is abnormal; one without an end."""
        await self.at_home()
        self.assertEqual((await within(self.cm_of("A").delay("404", 5)))["errcode"], "CONF_NOT_FOUND")
        await within(self.cm_of("A").create("0881", "endless", "u-a", duration=0))
        self.assertEqual((await within(self.cm_of("A").delay("0881", 5)))["errcode"], "BAD_REQUEST")
        self.assertEqual((await within(self.cm_of("A").delay(E164, 0)))["errcode"], "BAD_REQUEST")
        await self.lost("A")
        self.assertEqual((await within(self.cm_of("A").delay(E164, 5)))["errcode"], "PLATFORM_ABNORMAL")

    async def loses_its_mcu(self) -> None:
        """Its process dies, and the link layer says so."""
        process = self.process
        host = self.peers("A").hosts[process.ip]
        await host.disconnect()
        await host.crash()
        await self.eventually(lambda: self.state_of(E164), "pending_restore")

    async def test_5_3_in_pending_restore(self) -> None:
        """Moved while nobody runs it: the MCU that restores it is asked with the new end."""
        await self.at_home()
        self.peers("A").rms.silent()
        await self.loses_its_mcu()
        answer = await within(self.cm_of("A").delay(E164, 30))
        self.assertEqual((answer["type"], answer["endtime"]), ("CM_MAU_DELAYCONF_ACK", self.end(30)))
        self.peers("A").rms.resume()
        await self.eventually(lambda: self.state_of(E164), "ongoing")
        self.assertEqual(self.process.conferences[E164].endtime, self.end(30))
        await self.agreed("A", 30)
        self.assertEqual(self.process.inbox.count("MAU_CMU_CONFDURATION_NTF", E164), 0)

    async def test_5_3_in_mid_restore(self) -> None:
        """Moved while a host is being asked, which knows the earlier end: its process is told with its ACK."""
        await self.at_home()
        for host in self.peers("A").hosts.values():
            host.mood.late(3.0)
        await self.loses_its_mcu()
        await self.eventually(lambda: self.state_of(E164), "creating")
        answer = await within(self.cm_of("A").delay(E164, 30))
        self.assertEqual((answer["type"], answer["endtime"]), ("CM_MAU_DELAYCONF_ACK", self.end(30)))
        self.assertEqual(await self.state_of(E164), "creating", "the delay came too late to show anything")
        await self.eventually(lambda: self.state_of(E164), "ongoing")
        await self.agreed("A", 30)
        self.assertEqual(self.process.inbox.count("MAU_CMU_CONFDURATION_NTF", E164), 1)

    async def test_5_3_the_link_between_the_platforms_is_cut(self) -> None:
        """The ACK does not wait for it; the MCU there is told when it is back."""
        await self.after_handback()
        await self.ground.cut("A", "B")
        await self.eventually(lambda: self.services_of("A")[0].work.reaches("B"), False)
        answer = await within(self.cm_of("A").delay(E164, 30))
        self.assertEqual(answer["type"], "CM_MAU_DELAYCONF_ACK")
        self.assertEqual(self.process.conferences[E164].endtime, self.end(0))
        await self.ground.mend("A", "B")
        await self.agreed("A", 30)


class MemoryNames(Names, OnMemory):
    pass


class MemoryDelays(Delays, OnMemory):
    pass


class ServerNames(Names, OnTwoNodes):
    pass


class ServerDelays(Delays, OnTwoNodes):
    pass
