"""Many conferences on one platform: created on chosen hosts, and looked at all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredSemaphore

from benchmarks.figures import percentile
from css.peers.cmu import CmuHost
from css.peers.inbox import Received
from css.peers.platform import PlatformPeers
from css.peers.rms import Resources
from tests.scenarios.ground import ServerGround, finished, reactor, until

AT_ONCE = 50
"""How many creates the CM has under way."""
CREATE_SECONDS = 300.0


class Crowd:
    """The conferences of one user domain.

    @param sites: peers of all platforms on which they may run; first those of their source platform.
    @ivar numbers: of all that were created.
    @ivar restored_at: by number, when a CM was told of each restore, by the reactor's clock.
    """

    def __init__(self, ground: ServerGround, sites: Sequence[PlatformPeers], user: str) -> None:
        self._ground = ground
        self._source = sites[0]
        self._user = user
        self.hosts: dict[str, CmuHost] = {ip: host for peers in sites for ip, host in peers.hosts.items()}
        self.numbers: list[str] = []
        self.restored_at: dict[str, list[float]] = {}
        for peers in sites:
            peers.cm.inbox.listen(self._heard)

    def grant(self, hosts: Sequence[str]) -> None:
        """From now on RMS names these hosts for the user domain."""
        self._source.rms.answer(self._user, Resources(self._source.roommoid, list(hosts)))

    async def create(self, count: int, hosts: Sequence[str], **more: Any) -> list[str]:
        """Create conferences on some hosts, and wait for their ACKs. @return: their numbers."""
        self.grant(hosts)
        first = len(self.numbers)
        numbers = [f"8{number:06}" for number in range(first, first + count)]
        gate = DeferredSemaphore(AT_ONCE)

        def create(number: str) -> Deferred[dict[str, Any]]:
            return self._source.cm.create(number, f"会议 {number}", self._user, **more)

        created = finished([gate.run(create, number) for number in numbers])
        answers = await created.addTimeout(CREATE_SECONDS, reactor)
        refused = [answer for answer in answers if answer["type"] != "MAU_CM_CREATECONF_ACK"]
        if refused:
            raise AssertionError(f"{len(refused)} creates were refused, the first: {refused[0]}")
        self.numbers += numbers
        return numbers

    def running(self) -> dict[str, list[str]]:
        """The hosts that run each number, by number."""
        found: dict[str, list[str]] = {}
        for ip, host in self.hosts.items():
            for e164 in host.conferences:
                found.setdefault(e164, []).append(ip)
        return found

    def counts(self, hosts: Sequence[str]) -> dict[str, int]:
        """How many run on each of these hosts."""
        return {ip: len(self.hosts[ip].conferences) for ip in hosts}

    def restores_asked(self) -> Counter[str]:
        """How often MCU hosts were asked to restore each number."""
        kind = "MAU_CMU_RESTORECONF_REQ"
        return Counter(got.e164 for host in self.hosts.values() for got in host.inbox.all(kind))

    async def all_restored(self, seconds: float) -> None:
        """Wait until the CM was told of the restore of every conference."""

        def restored() -> bool:
            return len(self.restored_at) >= len(self.numbers)

        await until(restored, seconds, f"all {len(self.numbers)} are restored")

    async def rows(self) -> dict[str, tuple[str, int]]:
        """Host and begin of each open row, by number."""
        rows = await self._ground.database.confinfo_page(self._source.moid, "", 100_000)
        return {row.e164: (row.ip, row.begintime) for row in rows}

    async def places(self) -> dict[str, tuple[str, ...]]:
        """State and placement of each record: state, ip, pid, epoch."""
        store = self._ground.stores[self._source.moid]
        found = {}
        for e164 in self.numbers:
            record = (await store.load(e164)).record
            found[e164] = tuple(record.get(name, "") for name in ("state", "ip", "pid", "epoch"))
        return found

    def _heard(self, received: Received) -> None:
        if received.type == "MAU_CM_RESTORECONF_NTF":
            self.restored_at.setdefault(received.e164, []).append(received.at_seconds)


class Restored(msgspec.Struct):
    """How long restores took, in seconds from a moment, by the CM's notices."""

    p50: float
    p95: float
    p99: float
    last: float


def restored(crowd: Crowd, since: float, after: int = 0) -> Restored:
    """@param since: by the reactor's clock; each conference counts with its first restore.
    @param after: so many were restored before that moment, and are left out.
    """
    took = sorted(times[0] - since for times in crowd.restored_at.values())[after:]
    p50, p95, p99 = (percentile(took, percent) for percent in (50, 95, 99))
    return Restored(p50, p95, p99, took[-1])
