"""Two platforms of which one is lost and comes back: MCUs that report every half second, short waits."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.task import LoopingCall

from css.adapters.memory.ledger import MemoryLedger
from css.adapters.redis.ledger import RedisLedger
from css.peers.cmu import CmuHost
from css.ports.ledger import Recovery
from css.ports.store import Commit, Outcome
from tests.scenarios.case import within
from tests.scenarios.ground import reactor
from tests.scenarios.pair import USERS, PairScenario

LIST_SECONDS = 0.5
NAME = "跨平台会议"


class TakeoverCase(PairScenario):
    """A is the main, B its backup."""

    timers: ClassVar[dict[str, float]] = {
        "request_timeout_seconds": 6.0,
        "creating_timeout_seconds": 12.0,
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
        for moid in self.pair_hosts:
            for host in self.hosts_of(moid).values():
                for process in host.processes.values():
                    process.report_list()

    def hosts_of(self, moid: str) -> dict[str, CmuHost]:
        """A platform's MCU hosts by address."""
        return self.peers(moid).hosts

    def running_on(self, moid: str) -> dict[str, list[str]]:
        """The hosts of a platform that run each number."""
        found: dict[str, list[str]] = {}
        for ip, host in self.hosts_of(moid).items():
            for e164 in host.conferences:
                found.setdefault(e164, []).append(ip)
        return found

    async def create_at(self, moid: str, e164: str, user: str = USERS["A"], **more: Any) -> dict[str, Any]:
        """Have a platform's CM ask for a conference. @return: the answer's fields."""
        answer: dict[str, Any] = await within(self.cm_of(moid).create(e164, NAME, user, **more))
        return answer

    async def start_with(self, count: int, **more: Any) -> list[str]:
        """Start both platforms, and create conferences of A on A. @return: their numbers."""
        await self.begin()
        numbers = [f"0660{n:03}" for n in range(count)]
        for e164 in numbers:
            answer = await self.create_at("A", e164, **more)
            self.assertEqual(answer["type"], "MAU_CM_CREATECONF_ACK", answer)
        return numbers

    async def record(self, e164: str, source: str = "A") -> dict[str, str]:
        """`confex/<e164>` in the Redis of its source platform."""
        return await self.key(f"confex/{e164}", source)

    async def run_on(self, moid: str, numbers: list[str]) -> None:
        """Each of these conferences of A runs once, on that platform; record, row, locator and load say so."""
        other = "B" if moid == "A" else "A"

        async def all_run() -> bool:
            here, there = self.running_on(moid), self.running_on(other)
            return all(len(here.get(each, [])) == 1 and each not in there for each in numbers)

        await self.eventually(all_run, True)
        for e164 in numbers:
            await self.eventually(lambda e164=e164: self._place_of(e164), ("ongoing", moid))
            record = await self.record(e164)
            self.assertEqual([record["ip"]], self.running_on(moid)[e164])

        async def rows() -> dict[str, tuple[str, str]]:
            found = await self.ground.database.confinfo_page("A", "", 1000)
            return {row.e164: (row.platformmoid, row.ip) for row in found if row.e164 in numbers}

        await self.eventually(rows, {each: (moid, self.running_on(moid)[each][0]) for each in numbers})

        async def reported() -> dict[str, str]:
            running = self.peers(moid).upu.running_conferences()
            return {each: running.get(each, "") for each in numbers}

        await self.eventually(reported, dict.fromkeys(numbers, moid))
        await self.eventually(lambda: self._loads(moid), self._expected_loads(moid))

    async def _place_of(self, e164: str) -> tuple[str, str]:
        record = await self.record(e164)
        return record.get("state", ""), record.get("platformmoid", "")

    async def _loads(self, moid: str) -> dict[str, int]:
        loads: dict[str, int] = await self.ground.loads(moid, list(self.hosts_of(moid)))
        return loads

    def _expected_loads(self, moid: str) -> dict[str, int]:
        return {ip: len(host.conferences) for ip, host in self.hosts_of(moid).items()}

    async def recoveries(self, moid: str) -> list[Recovery]:
        """What a platform's ledger says, the newest first."""
        store = self.ground.stores[moid]
        ledger = MemoryLedger(store.server) if self.ground.name == "memory" else RedisLedger(store.link)
        found: list[Recovery] = await ledger.recent(10)
        return found

    async def ledger_says(self, moid: str, kind: str, subject: str, planned: int) -> None:
        """The newest recovery of a platform, which has ended."""

        async def newest() -> tuple[Any, ...]:
            found = await self.recoveries(moid)
            each = found[0] if found else None
            return (each.kind, each.subject, each.planned, each.settled, each.ended_ms > 0) if each else ()

        await self.eventually(newest, (kind, subject, planned, planned, True))

    def told_restored(self, moid: str, numbers: list[str], on: str) -> None:
        """A platform's CM was told once of each, and where."""
        for e164 in numbers:
            notices = [each.fields for each in self.cm_of(moid).notices("MAU_CM_RESTORECONF_NTF", e164)]
            self.assertEqual([(each["platformmoid"], each["ip"]) for each in notices], [(on, self._home(on, e164))])

    def _home(self, moid: str, e164: str) -> str:
        return self.running_on(moid)[e164][0]

    def asked_to_restore(self, moid: str) -> int:
        """How many restores the hosts of a platform were asked for."""
        return sum(host.inbox.count("MAU_CMU_RESTORECONF_REQ") for host in self.hosts_of(moid).values())

    async def only_tell(self, teller: str, moid: str, state: str) -> None:
        """One PMS alone says how a platform is."""
        self.peers(teller).pms.broadcast_platform(moid, state)
        for service in self.services_of(teller):
            await self.eventually(lambda service=service: service.startup.platforms().state_of(moid).value, state)

    async def set_end(self, e164: str, seconds: float, platform: str) -> None:
        """Have a conference of A that runs on a platform end so many seconds from now, without a notice before."""
        end = int(reactor.seconds() + seconds)
        await self._rewrite(e164, {"endtime": str(end), "due_ms": str(end * 1000)}, {f"due/{platform}": end * 1000})

    async def set_due(self, e164: str, seconds: float, platform: str) -> None:
        """Have its next deadline be so many seconds from now."""
        due_ms = int((reactor.seconds() + seconds) * 1000)
        await self._rewrite(e164, {"due_ms": str(due_ms)}, {f"due/{platform}": due_ms})

    async def end_pending(self, e164: str, seconds: float) -> None:
        """Have a conference of A that waits to be restored end so many seconds from now."""
        end = int(reactor.seconds() + seconds)
        await self._rewrite(e164, {"endtime": str(end)}, {"pending/A": end * 1000})

    async def _rewrite(self, e164: str, fields: dict[str, str], indexes: dict[str, int]) -> None:
        store = self.ground.stores["A"]
        for _ in range(20):
            record = await self.record(e164)
            expected = (record["first_epoch"], int(record["version"]))
            commit = Commit(e164=e164, expected=expected, set_fields=fields, index_add=indexes)
            if (await store.commit(commit)).outcome is Outcome.DONE:
                return
        self.fail(f"{e164} changes all the time")

    async def end_all(self, moid: str, numbers: list[str]) -> None:
        """A platform's CM releases them; nothing is left anywhere."""
        for e164 in numbers:
            answer = await within(self.cm_of(moid).release(e164))
            self.assertEqual(answer["type"], "MAU_CM_RELEASECONF_ACK", answer)
        await self.nothing_left_anywhere()

    async def nothing_left_anywhere(self) -> None:
        """On both platforms."""
        for moid in self.pair_hosts:
            for host in self.hosts_of(moid).values():
                host.mute()
        await self.nothing_left()
        for moid in self.pair_hosts:
            await self.eventually(self.peers(moid).upu.running_conferences, {})
