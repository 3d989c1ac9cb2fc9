"""What network management and the BMC are told: status reports and bills (seed 11, 12)."""

from __future__ import annotations

from typing import Any

from css.handlers.startup import Phase
from tests.scenarios.case import E164, NAME, PLATFORM, USER, OnMemory, OnServers, Scenario


class ReportCases(Scenario):
    """Two instances of one platform."""

    instances = 2

    def latest(self) -> dict[str, dict[str, Any]]:
        """The newest status report of each instance."""
        return self.site.peers.nms.latest()

    async def says(self, **wanted: Any) -> None:
        """Each instance comes to report this."""
        names = [f"css-{n}" for n in (1, 2)]
        expected = {
            name: {"type": "CSS_STATUS_NTF", "moid": PLATFORM, "instance": name, "nu": 0, **wanted} for name in names
        }
        await self.eventually(self.latest, expected)

    async def test_11_status_in_both_states(self) -> None:
        """At the start and at each interval; conferences are those that run here; NU is no longer connected."""
        await self.begin(status_interval_seconds=0.5)
        await self.says(state="normal", conferences=0)
        await self.created()
        await self.says(state="normal", conferences=1)
        self.site.peers.pms.broadcast_platform(PLATFORM, "abnormal")
        await self.says(state="abnormal", conferences=1)
        self.site.peers.pms.broadcast_platform(PLATFORM, "normal")
        await self.says(state="normal", conferences=1)
        ids = [each.message_id for each in self.site.peers.nms.inbox.all("CSS_STATUS_NTF")]
        self.assertEqual(len(ids), len(set(ids)))

    async def test_11_status_of_one_that_starts_while_its_platform_is_abnormal(self) -> None:
        """It has no store yet, and says how it is all the same; once, for the interval is long."""
        self.site.peers.pms.set_state(PLATFORM, "abnormal")
        css = self.stage.instance(PLATFORM, "css-1", **self.timers)
        await self.eventually(lambda: css.startup.phase, Phase.ABNORMAL)
        wanted = {"type": "CSS_STATUS_NTF", "moid": PLATFORM, "instance": "css-1", "nu": 0}
        await self.eventually(self.latest, {"css-1": {**wanted, "state": "abnormal", "conferences": 0}})
        await self.eventually(lambda: self.site.peers.upu.inbox.count("UPU_CLEAR_REQ"), 1)
        self.site.peers.pms.set_state(PLATFORM, "normal")
        await self.stage.served(PLATFORM)
        self.assertEqual(self.site.peers.nms.inbox.count("CSS_STATUS_NTF"), 1)

    async def test_12_one_bill_a_conference_that_ran(self) -> None:
        """Whatever ends it; one that never ran has none."""
        await self.begin()
        await self.created()
        await self.refused("UNKNOWN_DOMAIN", "0991", moid="nobody")
        await self.release()
        await self.eventually(lambda: len(self.site.peers.bmc.bills()), 1)
        (bill,) = self.site.peers.bmc.bills(E164)
        fields = dict(bill.fields)
        self.assertLessEqual(0, fields.pop("endtime") - fields.pop("begintime"))
        expected = {
            "type": "CONF_BILL_NTF",
            "confE164": E164,
            "confname": NAME,
            "moid": USER,
            "srcplatformmoid": PLATFORM,
            "platformmoid": PLATFORM,
            "reason": "released",
        }
        self.assertEqual(fields, expected)
        await self.created("0992")
        host = next(host for host in self.site.peers.hosts.values() if "0992" in host.conferences)
        next(iter(host.processes.values())).end("0992")
        await self.eventually(lambda: len(self.site.peers.bmc.bills("0992")), 1)


class MemoryReports(ReportCases, OnMemory):
    """In this process."""


class ServerReports(ReportCases, OnServers):
    """On RabbitMQ, Redis and MariaDB."""
