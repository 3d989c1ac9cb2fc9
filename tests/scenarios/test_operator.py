"""What a person does with `cssctl` while conferences come, go and are lost (REQUIREMENTS, not in the seed, 8)."""

from __future__ import annotations

from css.adapters.memory.ledger import MemoryLedger
from css.adapters.memory.platform_state import MemoryPlatformState
from css.adapters.redis.ledger import RedisLedger
from css.adapters.redis.platform_state import RedisPlatformState
from css.ctl.control import Control
from css.ports.ledger import ILedger
from css.ports.store import IConferenceStore, IPlatformState
from tests.scenarios.case import E164, HOSTS, PLATFORM, OnMemory, OnServers, pause
from tests.scenarios.ground import reactor
from tests.scenarios.test_recovery import RecoveryCase


class OperatorCase(RecoveryCase):
    """Two instances; a person beside them."""

    instances = 2

    def control(self) -> Control:
        """At the own Redis, as `cssctl` is."""
        self.lines: list[str] = []
        store: IConferenceStore = self.ground.stores[PLATFORM]
        state: IPlatformState
        ledger: ILedger
        if self.ground.name == "memory":
            server = self.ground.stores[PLATFORM].server
            state, ledger = MemoryPlatformState(reactor, server), MemoryLedger(server)
        else:
            link = self.ground.stores[PLATFORM].link
            state, ledger = RedisPlatformState(link), RedisLedger(link)
        return Control(store, state, ledger, self.lines.append, "li", "works on the network")

    async def test_paused_restores(self) -> None:
        """What is lost waits, on every instance, and can be released; after `resume` the rest is restored."""
        homes = await self.start_with(6)
        lost = [e164 for e164, ip in homes.items() if ip == HOSTS[0]]
        control = self.control()
        await control.pause()
        await self.hosts_[HOSTS[0]].disconnect(tell=True)
        await self.hosts_[HOSTS[0]].crash()
        for e164 in lost:
            await self.until_state("pending_restore", e164)
        await pause(1.5)
        self.assertEqual([await self.state_of(e164) for e164 in lost], ["pending_restore"] * 2)
        await self.release(lost[0])
        await control.resume()
        rest = [e164 for e164 in homes if e164 != lost[0]]
        await self.all_run(rest, (HOSTS[0],))
        self.hosts_[HOSTS[0]].restart(["1"])  # its queue has the release of what was released meanwhile
        await self.end_all(rest)
        done = [each.subject for each in await self.recoveries() if each.kind == "operator"]
        self.assertEqual(done, ["resume", "pause"])

    async def test_drained_host(self) -> None:
        """It gets neither new conferences nor restored ones; what runs there goes on."""
        homes = await self.start_with(3)
        self.assertEqual(sorted(homes.values()), sorted(HOSTS))
        control = self.control()
        await control.drain(HOSTS[0])
        placed = [(await self.created(f"0770{n}"))["ip"] for n in range(3)]
        self.assertNotIn(HOSTS[0], placed)
        await self.hosts_[HOSTS[1]].disconnect(tell=True)
        await self.hosts_[HOSTS[1]].crash()
        numbers = [*homes, *(f"0770{n}" for n in range(3))]
        await self.all_run(numbers, (HOSTS[1],))
        kept = [e164 for e164, ips in self.running().items() if ips == [HOSTS[0]]]
        self.assertEqual(kept, [e164 for e164, ip in homes.items() if ip == HOSTS[0]])
        await control.undrain(HOSTS[0])
        self.assertEqual((await self.created(E164))["ip"], HOSTS[0])
        await self.end_all([*numbers, E164])


class MemoryOperator(OperatorCase, OnMemory):
    """On memory adapters."""


class ServerOperator(OperatorCase, OnServers):
    """On real servers."""
