"""Two platforms that back each other up, their instances of CSS processes of their own, on two nodes of each server."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from css.peers.platform import PlatformPeers
from tests.scenarios.case import pause
from tests.scenarios.ground import Stage, reactor
from tests.scenarios.pair import TwoNodeGround
from tests.scenarios.processes import START_LIMIT_SECONDS, TIMERS, CssProcess, configured, put_domains
from tests.servers.process import new_folder


class PairScene:
    """Servers, peers and instances of both.

    @ivar processes: the instances of each platform that were started.
    """

    def __init__(self, ground: TwoNodeGround | None = None, **timers: float) -> None:
        self.ground = ground or TwoNodeGround()
        self.stage = Stage(self.ground)
        self.processes: dict[str, list[CssProcess]] = {}
        self._folder = new_folder("css")
        self._timers = {**TIMERS, **timers}
        self._names = itertools.count(1)
        self._domains: dict[str, str] = {}

    async def open(self, hosts: Mapping[str, Sequence[str]], users: Mapping[str, str]) -> None:
        """Start the peers of both. @param hosts: MCU hosts, @param users: a user domain, of each platform."""
        await self.stage.pair({moid: list(ips) for moid, ips in hosts.items()})
        await self.ground.database.prepare()
        self._domains = dict.fromkeys(hosts, "") | {user: moid for moid, user in users.items()}
        await put_domains(self.ground, self._domains)

    def peers(self, moid: str) -> PlatformPeers:
        """All peers of a platform."""
        return self.stage.sites[moid].peers

    async def run(self, moid: str) -> CssProcess:
        """Start an instance; it serves."""
        name = f"css-{moid}-{next(self._names)}"
        process = CssProcess(self._folder, name, configured(self.ground, self._folder, moid, name, self._timers))
        self.processes.setdefault(moid, []).append(process)
        await process.serves()
        return process

    async def ready(self) -> None:
        """Wait until both Redis have both platforms' licences, and the directory: then creates need not be refused."""
        give_up_at = reactor.seconds() + START_LIMIT_SECONDS
        while missing := [key for moid in self.ground.stores for key in await self._missing(moid)]:
            if reactor.seconds() > give_up_at:
                raise AssertionError(f"not in Redis: {missing}")
            await pause(0.05)

    async def _missing(self, moid: str) -> list[str]:
        """What a platform's Redis lacks."""
        wanted = [f"domain/{moid}/license", *(f"domain/{domain}/info" for domain in self._domains)]
        return [f"{moid}: {key}" for key in wanted if not await self.ground.stores[moid].read_hash(key)]

    def say(self, moid: str, state: str) -> None:
        """Both PMS say how a platform is."""
        for site in self.stage.sites.values():
            site.peers.pms.broadcast_platform(moid, state)

    async def close(self) -> None:
        """End everything."""
        for processes in self.processes.values():
            for process in processes:
                process.close()
        await self.stage.close()
