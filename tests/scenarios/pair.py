"""Two platforms, A and B, each the other's backup: two RabbitMQ nodes and two Redis, or all in memory.

    class OnePair(PairScenario): …tests…
    class MemoryTests(OnePair, OnMemory): …
    class ServerTests(OnePair, OnTwoNodes): …

`await self.begin()` starts the instances of both. `stage.ground.cut("A", "B")` cuts the links of A's CSS to B's broker
until `mend`; `self.lost("A")` has both PMS say that A is abnormal, `self.back("A")` that it is normal again.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from css.peers.cm import CmPeer
from css.peers.platform import PlatformPeers
from css.service import CssService
from tests.adapters.amqp.proxy import TcpProxy
from tests.scenarios.case import Scenario
from tests.scenarios.ground import ServerGround, Stage, reactor
from tests.servers import RabbitMQServer, servers

ONE, OTHER = "A", "B"
USERS = {ONE: "u-a", OTHER: "u-b"}
"""A user domain of each platform."""
PAIR_HOSTS = {ONE: ["10.1.0.1", "10.1.0.2"], OTHER: ["10.2.0.1", "10.2.0.2"]}


class TwoNodeGround(ServerGround):
    """Platform A on the first RabbitMQ and Redis, all others on the second; MariaDB is one for all.

    Links between the platforms' brokers go through proxies, which can be cut.

    @param second: the second RabbitMQ, if it is not the run's.
    """

    def __init__(self, second: RabbitMQServer | None = None) -> None:
        super().__init__()
        self._second: Any = second or servers().rabbitmq(second=True)
        self._proxies: dict[tuple[str, str], TcpProxy] = {}

    def broker_of(self, moid: str) -> Any:
        """See `ServerGround.broker_of`."""
        return self.rabbitmq if moid == ONE else self._second

    def redis_of(self, moid: str) -> tuple[str, int]:
        """See `ServerGround.redis_of`."""
        return servers().redis_address(second=moid != ONE)

    def new_redis_database(self, moid: str) -> int:
        """See `ServerGround.new_redis_database`."""
        return servers().new_redis_database(second=moid != ONE)

    async def peer_config(self, viewer: str, moid: str) -> dict[str, Any]:
        """See `ServerGround.peer_config`; the broker's address is a proxy's."""
        broker = self.broker_of(moid)
        proxy = self._proxies[viewer, moid] = TcpProxy(reactor, broker.host, broker.port)
        await proxy.listen()
        return {"mq": [{"ip": "127.0.0.1", "port": proxy.port, "vhost": self.vhosts[moid]}]}

    async def cut(self, viewer: str, moid: str) -> None:
        """Cut the links of one platform's CSS to another one's broker, until `mend`."""
        await self._proxies[viewer, moid].close()

    async def mend(self, viewer: str, moid: str) -> None:
        """Let links that were cut come back."""
        await self._proxies[viewer, moid].listen()

    def hold_confirms(self, viewer: str, moid: str, hold: bool = True) -> None:
        """Have one platform's CSS hear nothing more from another one's broker, which goes on hearing it."""
        self._proxies[viewer, moid].hold(answers=hold)

    async def close(self) -> None:
        """See `ServerGround.close`."""
        await gatherResults([proxy.close() for proxy in self._proxies.values()])
        await super().close()


class OnTwoNodes(TestCase):
    """Two RabbitMQ nodes, two Redis, one MariaDB."""

    def make_ground(self) -> TwoNodeGround:
        return TwoNodeGround()


class PairScenario(Scenario):
    """Both platforms with their peers; `begin` starts `instances` of CSS on each. Each BMC tells of all domains."""

    instances: ClassVar[int] = 1
    pair_hosts: ClassVar[dict[str, list[str]]] = PAIR_HOSTS
    """Addresses of MCU hosts by platform: more than two platforms each back all others up."""
    users: ClassVar[dict[str, str]] = USERS

    async def setUp(self) -> None:  # type: ignore[override]
        self.stage = Stage(self.make_ground())
        self.ground = self.stage.ground
        self.bystanders = []
        self.site, self.other_site, *_ = await self.stage.pair(self.pair_hosts)

    async def begin(self, **timers: float) -> CssService:
        """Start the instances of both platforms; all domains and licences are known when they serve."""
        for moid in self.pair_hosts:
            for number in range(1, self.instances + 1):
                self.stage.instance(moid, f"css-{moid}-{number}", **{**self.timers, **timers})
        for moid in self.pair_hosts:
            await self.stage.served(moid)
        for teller in self.pair_hosts:
            for moid, user in self.users.items():
                self.peers(teller).bmc.send_domain("add", moid, level=1, used=1)
                self.peers(teller).bmc.send_domain("add", user, level=0, uplevelmoid=moid, used=1)
        await self.eventually(self._all_known, True)
        return self.service

    async def _all_known(self) -> bool:
        wanted = {f"domain/{moid}/info" for pair in self.users.items() for moid in pair}
        return all([wanted <= set(await self.ground.dump(moid)) for moid in self.pair_hosts])

    def peers(self, moid: str) -> PlatformPeers:
        """All peers of a platform."""
        peers: PlatformPeers = self.stage.sites[moid].peers
        return peers

    def cm_of(self, moid: str) -> CmPeer:
        """A platform's CM."""
        return self.peers(moid).cm

    def services_of(self, moid: str) -> list[CssService]:
        """A platform's instances."""
        services: list[CssService] = self.stage.sites[moid].instances
        return services

    async def lost(self, moid: str) -> None:
        """Both PMS say that a platform is abnormal; wait until every instance knows."""
        await self._say(moid, "abnormal")

    async def back(self, moid: str) -> None:
        """Both PMS say that a platform is normal again; wait until every instance knows."""
        await self._say(moid, "normal")

    async def _say(self, moid: str, state: str) -> None:
        for teller in self.pair_hosts:
            self.peers(teller).pms.broadcast_platform(moid, state)
        services = [service for each in self.pair_hosts for service in self.services_of(each)]
        for service in services:
            await self.eventually(lambda service=service: service.startup.platforms().state_of(moid).value, state)
