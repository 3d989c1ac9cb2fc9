"""Two platforms in this process: brokers, stores, peers, instances; started and ended in order."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from css.adapters.memory.bus import MemoryBroker
from css.adapters.redis.ledger import RedisLedger
from css.adapters.redis.platform_state import RedisPlatformState
from css.adapters.redis.settings import RedisSettings
from css.adapters.redis.store import RedisStore, connect
from css.adapters.sql.database import SqlDatabase
from css.adapters.sql.engine import SqlSettings
from css.config import Settings, parse
from css.connections import cipher_of
from css.core import milliseconds, rules_of
from css.ctl.plan import Scene
from css.demo.connector import DemoConnector
from css.demo.errors import DemoError
from css.demo.layout import PLATFORMS, TIMERS, Layout
from css.demo.records import stored, take_up
from css.domain.conference import Conference
from css.domain.platforms import Known, Platforms, PlatformState
from css.handlers.rehearsal import Candidates
from css.handlers.startup import Phase
from css.peers.cmu import CmuHost
from css.peers.platform import PlatformPeers
from css.ports.bus import IBus
from css.ports.ledger import ILedger
from css.ports.sql import SqlError, SqlRefused
from css.probe import no_probe
from css.service import CssService

START_LIMIT_SECONDS = 30.0
_POLL_SECONDS = 0.05
_SQLITE = "demo.sqlite"
_LICENCE_KEYS = "license.keys"


class World:
    """All that `make run` runs, but for Valkey itself.

    @param folder: keeps SQLite and the licence key.
    @param redis: address of Valkey.
    """

    def __init__(
        self, reactor: Any, random: Random, folder: Path, redis: tuple[str, int], licence_key: bytes, session: str
    ) -> None:
        self._reactor = reactor
        self._random = random
        self._folder = folder
        self._redis = redis
        self._session = session
        self.brokers = {each.moid: MemoryBroker(reactor, random) for each in PLATFORMS}
        self.stores: dict[str, RedisStore] = {each.moid: self._store(each) for each in PLATFORMS}
        self.ledgers: dict[str, ILedger] = {moid: RedisLedger(store.link) for moid, store in self.stores.items()}
        self._buses: dict[str, IBus] = {moid: broker.bus(f"peers of {moid}") for moid, broker in self.brokers.items()}
        self.peers = {each.moid: self._peers(each, licence_key) for each in PLATFORMS}
        self.services = [self._service(each, name) for each in PLATFORMS for name in each.instances]
        self._started: list[CssService] = []

    @property
    def hosts(self) -> Mapping[str, CmuHost]:
        """Every MCU host, by its address."""
        return {ip: host for peers in self.peers.values() for ip, host in peers.hosts.items()}

    def scene(self, moid: str) -> Scene:
        """What a dry run on a platform is made from; the PMS says how the platforms are."""
        peers, settings = self.peers[moid], self._settings(PLATFORMS[0], PLATFORMS[0].instances[0])
        states = {each: PlatformState(peers.pms.state_of(each)) for each in self.peers}
        known = {each: Known(state) for each, state in states.items()}

        async def alive(platform: str, domain: str, ips: tuple[str, ...]) -> Candidates:
            return Candidates(ips)

        return Scene(
            platforms=Platforms(moid, tuple(peers.pms.main), tuple(peers.pms.backup), known, True),
            stores=self.stores,
            states={each: RedisPlatformState(store.link) for each, store in self.stores.items()},
            rules=rules_of(settings),
            silence_ms=milliseconds(settings.timers.mcu_timeout_seconds),
            flap_ms=max(1, round(settings.timers.mcu_penalty_seconds)) * 1000,
            given=alive,
        )

    async def start(self) -> list[Conference]:
        """Start everything, up to the point where conferences can be created.

        @return: conferences of an earlier run, which the MCUs have taken up again.
        @raise DemoError: something does not start.
        """
        for store in self.stores.values():
            store.start()
        await self.until(lambda: all(store.available for store in self.stores.values()), "Valkey can't be reached")
        await self._fill_database()
        earlier = take_up((await stored(self.stores)).values(), self.hosts)
        for bus in self._buses.values():
            bus.start()
        await gatherResults([bus.when_connected() for bus in self._buses.values()])
        for peers in self.peers.values():
            peers.start()
        for service in self.services:
            service.startService()
            self._started.append(service)
        await self.until(self._all_serve, "CSS does not come into service")
        await self._until_licensed()
        return earlier

    async def stop_services(self) -> None:
        """End the instances, each in order."""
        started, self._started = self._started, []
        await gatherResults([service.stopService() for service in started])

    async def stop_rest(self) -> None:
        """End the peers, and what connects them."""
        await gatherResults([peers.stop() for peers in self.peers.values() if peers.cm.running])
        await gatherResults([bus.stop() for bus in self._buses.values()])
        await gatherResults([store.stop() for store in self.stores.values()])

    async def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Wait until something holds. @raise DemoError: it does not within 30 s; `otherwise` says what that means."""
        give_up_at = self._reactor.seconds() + START_LIMIT_SECONDS
        while not condition():
            if self._reactor.seconds() > give_up_at:
                raise DemoError(f"{otherwise}: the log in {self._folder} says why")
            await deferLater(self._reactor, _POLL_SECONDS)

    def _all_serve(self) -> bool:
        return all(service.startup.phase is Phase.SERVING for service in self.services)

    async def _until_licensed(self) -> None:
        """Until then CSS would refuse creates."""
        give_up_at = self._reactor.seconds() + START_LIMIT_SECONDS
        for moid, store in self.stores.items():
            while not await store.read_hash(f"domain/{moid}/license"):
                if self._reactor.seconds() > give_up_at:
                    raise DemoError(f"CSS gets no licence: the log in {self._folder} says why")
                await deferLater(self._reactor, _POLL_SECONDS)

    def _store(self, platform: Layout) -> RedisStore:
        host, port = self._redis
        return connect(self._reactor, RedisSettings(host=host, port=port, db=platform.database), platform.moid)

    def _peers(self, platform: Layout, licence_key: bytes) -> PlatformPeers:
        others = [each.moid for each in PLATFORMS if each.moid != platform.moid]
        peers = PlatformPeers(
            self._buses[platform.moid],
            self._reactor,
            self._random,
            platform.moid,
            hosts=platform.hosts,
            rooms=dict(zip(platform.hosts, platform.rooms, strict=True)),
            licence_key=licence_key,
            configs=self._configs(platform),
            main=others,
            backup=others,
        )
        peers.bmc.licences = {each.moid: {} for each in PLATFORMS}
        return peers

    def _configs(self, platform: Layout) -> dict[str, dict[str, Any]]:
        """What the PMS of a platform tells of everybody's servers."""
        host, port = self._redis
        configs: dict[str, dict[str, Any]] = {
            each.moid: {"mq": [{"ip": "memory", "port": 1, "vhost": each.moid}]} for each in PLATFORMS
        }
        configs[platform.moid]["redis"] = [
            {"ip": host, "port": port, "db": each.database, "platformmoid": each.moid} for each in PLATFORMS
        ]
        return configs

    def _service(self, platform: Layout, name: str) -> CssService:
        settings = self._settings(platform, name)
        connector = DemoConnector(self._reactor, settings, self.brokers)
        service = CssService(
            self._reactor,
            settings,
            connector.make_own_bus(),
            connector,
            cipher_of(settings),
            no_probe,
            self._random,
            f"{name}.{self._session}",
        )
        service.work.steps.says_why = True  # to the log file: a demo is there to be understood
        return service

    def _settings(self, platform: Layout, name: str) -> Settings:
        """The same path as any configuration takes; relative paths in it are taken from the folder."""
        tables: dict[str, dict[str, object]] = {
            "platform": {"moid": platform.moid},
            "instance": {"name": name},
            "amqp": {"url": "memory:"},
            "sql": {"url": f"sqlite:///{_SQLITE}"},
            "license": {"key_file": _LICENCE_KEYS},
            "timers": {**TIMERS},
        }
        lines = []
        for section, values in tables.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        return parse("\n".join(lines), str(self._folder / f"{name}.toml"))

    async def _fill_database(self) -> None:
        """Do what the BMC's side does: write the domains to `ap_domain`, where CSS reads them at its start."""
        path = self._folder / _SQLITE
        database = SqlDatabase(self._reactor, SqlSettings(url=f"sqlite:///{path}"))
        try:
            await database.prepare()
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO ap_domain"
                    " (moid, level, uplevelmoid, name, used, enableh265, enablehdmeeting) VALUES (?, ?, ?, ?, 1, 1, 1)",
                    [row for each in PLATFORMS for row in _domain_rows(each)],
                )
        except (SqlError, SqlRefused, sqlite3.Error) as error:
            raise DemoError(f"the database {path} can't be used ({error}): remove it, or repair its rights") from error
        finally:
            await database.close()


def _domain_rows(platform: Layout) -> list[tuple[str, int, str, str]]:
    users = [(moid, 0, platform.moid, name) for moid, name in platform.domains]
    return [(platform.moid, 1, "", platform.moid), *users]
