"""A stream of creates, and the release of all: none lost, none twice, evenly spread, nothing left behind."""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, DeferredSemaphore

from css.peers.cm import Request
from tests.scale import scaled
from tests.scenarios.case import PATIENT, PLATFORM, USER, OnMemory, OnServers, Scenario, finished, within
from tests.scenarios.figures import note

COUNT = scaled(100, 1000)
AT_ONCE = 50
"""How many requests a CM has under way."""


class FlowCases(Scenario):
    """All at once, as fast as answers come."""

    timers: ClassVar[dict[str, float]] = {**PATIENT, "outbox_lease_seconds": 60.0, "unroutable_seconds": 60.0}
    """A step that takes longer than this lease is carried out once more by the sweep, with the same ids: not here. The
    lease is never longer than what reaches no queue is tried."""
    hosts = tuple(f"10.0.1.{number}" for number in range(1, 8))
    timeout = 600.0

    async def _stream(self, requests: list[dict[str, Any]]) -> list[Request]:
        """Send requests, `AT_ONCE` under way. @return: them, answered."""
        gate = DeferredSemaphore(AT_ONCE)
        sent: list[Request] = []

        def send(fields: dict[str, Any]) -> Deferred[dict[str, Any]]:
            request = self.cm.request(**fields)
            sent.append(request)
            return request.answer

        await within(finished([gate.run(send, fields) for fields in requests]), self.timeout / 2)
        return sent

    async def test_a_stream_of_creates(self) -> None:
        await self.begin()
        names = {f"00{number:06}": f"第{number}次会议：年度总结·𠮷" for number in range(COUNT)}
        common = {"type": "CM_MAU_CREATECONF_REQ", "moid": USER, "duration": 60}
        began = time.monotonic()
        created = await self._stream([{**common, "confE164": e164, "confname": name} for e164, name in names.items()])
        create_seconds = time.monotonic() - began
        self._all_answered_once(created, "MAU_CM_CREATECONF_ACK", list(names))
        await self._evenly_spread(names, [request.answers[0].fields["ip"] for request in created])
        await self.eventually(self._rows, names)
        began = time.monotonic()
        order = Random(3).sample(list(names), COUNT)
        released = await self._stream([{"type": "CM_MAU_RELEASECONF_REQ", "confE164": e164} for e164 in order])
        release_seconds = time.monotonic() - began
        self._all_answered_once(released, "MAU_CM_RELEASECONF_ACK", list(names))
        await self.nothing_left(60.0)
        self._all_told_once(list(names))
        self._note("creates", create_seconds)
        self._note("releases", release_seconds)

    def _all_answered_once(self, requests: list[Request], kind: str, numbers: list[str]) -> None:
        answers = [[(answer.type, answer.e164, answer.queue) for answer in request.answers] for request in requests]
        wanted = [[(kind, number, self.cm.reply_queue)] for number in numbers]
        self.assertEqual(sorted(answers), wanted)
        self.assertEqual((self.cm.inbox.repeats, self.cm.stray_answers), (0, 0))

    async def _evenly_spread(self, names: dict[str, str], ips: list[str]) -> None:
        """By what CMs were told, by what runs on the MCUs, and by what is booked."""
        told = Counter(ips)
        hosts = self.site.peers.hosts
        runs = {ip: {e164: run.confname for e164, run in host.conferences.items()} for ip, host in hosts.items()}
        self.assertLessEqual(max(told.values()) - min(told.values()), 1, told)
        self.assertEqual(set(told), set(self.hosts))
        self.assertEqual({ip: len(here) for ip, here in runs.items()}, dict(told))
        await self.eventually(lambda: self.ground.loads(PLATFORM, list(self.hosts)), dict(told))
        self.assertEqual({e164: name for here in runs.values() for e164, name in here.items()}, names)

    async def _rows(self) -> dict[str, str]:
        rows, after = {}, ""
        while page := await self.ground.database.confinfo_page(PLATFORM, after, 500):
            rows.update({row.e164: row.confname for row in page})
            after = page[-1].e164
        return rows

    def _all_told_once(self, numbers: list[str]) -> None:
        """The CM of each end, the BMC of each bill, the locator of both, RMS and MCUs of each create."""
        peers = self.site.peers
        told = {
            "ends": [got.e164 for got in self.cm.notices("MAU_CM_RELEASECONF_NTF")],
            "bills": [got.e164 for got in peers.bmc.bills()],
            "beginnings": [got.e164 for got in peers.upu.inbox.all("UPU_ADD_CONF_REQ")],
            "deletions": [got.e164 for got in peers.upu.inbox.all("UPU_DEL_CONF_REQ")],
            "orders": [got.e164 for host in peers.hosts.values() for got in host.inbox.all()],
        }
        for what, e164s in told.items():
            self.assertEqual(sorted(e164s), numbers, what)
        self.assertEqual(peers.rms.requests(), len(numbers))

    def _note(self, what: str, seconds: float) -> None:
        where = f"{self.ground.name}, {self.instances} instance(s), peers in the same process"
        note(f"{what} ({where})", count=COUNT, seconds=seconds, per_second=COUNT / seconds)


class FlowOnMemory(FlowCases, OnMemory):
    """All of it in this process."""


class FlowOnServers(FlowCases, OnServers):
    """All of it on real servers."""


class FlowOnServersWithTwoInstances(FlowCases, OnServers):
    """Two instances share the queues: any step may be taken by either."""

    instances = 2

    async def test_a_stream_of_creates(self) -> None:
        await super().test_a_stream_of_creates()
        steps = [service.work.tally["step_accept"] for service in self.site.instances]
        self.assertEqual(sum(steps), COUNT)
        self.assertGreater(min(steps), COUNT // 10, "both have worked")
