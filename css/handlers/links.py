"""The connections that the PMS's addresses lead to: other platforms' brokers, every Redis, SQL (seed 2.2).

`Links(...)`: `take(platforms, configs)` makes, replaces and drops connections so that they agree with what the PMS
says; `peers` and `stores` are live: handlers keep them and look things up at each use, the own store is the first.
How a connection is made is the `Connector`'s business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from css.domain.platforms import Platforms
from css.handlers import addresses as to
from css.handlers.tracker import Tracker
from css.messages.pms import BrokerAddress, PlatformConfigNotice, RedisAddress, SqlAddress
from css.ports.bus import IBus
from css.ports.ledger import ILedger
from css.ports.planned import ILocatorBook, IPlannedConferences
from css.ports.sql import IConferenceDatabase, SqlError, SqlRefused
from css.ports.store import IConferenceStore, IPlatformState


class Connector(Protocol):
    """Makes connections; none of these waits for one, each connects and reconnects by itself."""

    def make_bus(self, moid: str, addresses: tuple[BrokerAddress, ...]) -> IBus:
        """Another platform's broker, not started; the addresses are nodes of one cluster."""

    def make_store(self, address: RedisAddress) -> IConferenceStore:
        """The store of the platform that the address names."""

    def make_state(self, store: IConferenceStore) -> IPlatformState:
        """The own platform's state, on the server of its store."""

    def make_ledger(self, store: IConferenceStore) -> ILedger:
        """The recovery ledger, on the server of the own store."""

    def make_planned(self, store: IConferenceStore) -> IPlannedConferences:
        """What the CM plans, on the server of a store."""

    def make_book(self, store: IConferenceStore) -> ILocatorBook:
        """What the locator was told of that, on the server of the own store."""

    def make_database(self, address: SqlAddress | None) -> IConferenceDatabase | None:
        """The configuration's, else the one at the address; None where neither says."""

    def drop_store(self, store: IConferenceStore) -> Awaitable[None]:
        """Close a store that was made here, once its commands under way are done. Never fails."""


class Links:
    """All connections but the own broker's.

    @param retry_seconds: pause between attempts to prepare the database.
    """

    log = Logger()

    def __init__(
        self, reactor: IReactorTime, own: str, connector: Connector, retry_seconds: float, tracker: Tracker
    ) -> None:
        self._reactor = reactor
        self._own = own
        self._connector = connector
        self._retry_seconds = retry_seconds
        self._tracker = tracker
        self.peers: dict[str, IBus] = {}
        self.stores: dict[str, IConferenceStore] = {}
        self.state: IPlatformState | None = None
        self.ledger: ILedger | None = None
        self.book: ILocatorBook | None = None
        self.planned: dict[str, IPlannedConferences] = {}
        """By source platform, as `stores`."""
        self._broker_addresses: dict[str, tuple[BrokerAddress, ...]] = {}
        self._redis_addresses: dict[str, RedisAddress] = {}
        self._sql_address: SqlAddress | None = None
        self._sql_known = False
        self._database: IConferenceDatabase | None = None
        self._prepared: IConferenceDatabase | None = None
        self._database_tried = False
        self._retry: IDelayedCall | None = None

    @property
    def database(self) -> IConferenceDatabase | None:
        """None until it has been reached once and its tables are there."""
        return self._prepared

    @property
    def database_tried(self) -> bool:
        """Whether the first attempt to reach the database has ended, well or not, or there is none to reach."""
        return self._database_tried or (self._sql_known and self._database is None)

    def take(self, platforms: Platforms, configs: Mapping[str, PlatformConfigNotice]) -> None:
        """Connect to what is new or has moved, and drop what no list names any more."""
        for moid in platforms.peers:
            if moid in configs:
                self._take_broker(moid, tuple(configs[moid].mq))
        for moid in [moid for moid in self.peers if moid not in platforms.peers]:
            self._drop_broker(moid)
        own = configs.get(self._own)
        if own is not None:
            if own.redis is not None:
                self._take_stores(own.redis, platforms.possible_and_own)
            self._take_database(own.mysql)

    async def close(self) -> None:
        """Close everything: brokers, then stores, then SQL."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for moid in list(self.peers):
            await self.peers.pop(moid).stop()
        for moid in list(self.stores):
            await self.planned.pop(moid).unlisten()
            await self._connector.drop_store(self.stores.pop(moid))
        self.state = self.ledger = self.book = None
        database, self._database, self._prepared = self._database, None, None
        if database is not None:
            await database.close()

    def _take_broker(self, moid: str, addresses: tuple[BrokerAddress, ...]) -> None:
        if not addresses or self._broker_addresses.get(moid) == addresses:
            return
        self._drop_broker(moid)
        bus = self._connector.make_bus(moid, addresses)
        bus.declare(to.PEER_TOPOLOGY)
        bus.start()
        self.peers[moid] = bus
        self._broker_addresses[moid] = addresses
        self.log.info("connecting to the broker of {moid}", moid=moid)

    def _drop_broker(self, moid: str) -> None:
        self._broker_addresses.pop(moid, None)
        bus = self.peers.pop(moid, None)
        if bus is not None:
            self.log.info("leaving the broker of {moid}", moid=moid)
            self._tracker.run(_wait(bus.stop()), "closing a broker's link")

    def _take_stores(self, addresses: Iterable[RedisAddress], wanted: tuple[str, ...]) -> None:
        listed = {address.platformmoid: address for address in addresses}
        for moid in [moid for moid in self.stores if moid not in wanted]:
            self._drop_store(moid)
        for moid in wanted:
            address = listed.get(moid)
            if address is None:
                self.log.warn("the PMS does not tell where the Redis of {moid} is", moid=moid)
            elif self._redis_addresses.get(moid) != address:
                self._drop_store(moid)
                self._add_store(moid, address)

    def _add_store(self, moid: str, address: RedisAddress) -> None:
        self.log.info("connecting to the Redis of {moid} at {ip}:{port}", moid=moid, ip=address.ip, port=address.port)
        store = self._connector.make_store(address)
        self._redis_addresses[moid] = address
        self.planned[moid] = self._connector.make_planned(store)
        if moid != self._own:
            self.stores[moid] = store
            return
        self.state = self._connector.make_state(store)
        self.ledger = self._connector.make_ledger(store)
        self.book = self._connector.make_book(store)
        others = dict(self.stores)
        self.stores.clear()
        self.stores.update({moid: store, **others})

    def _drop_store(self, moid: str) -> None:
        self._redis_addresses.pop(moid, None)
        planned, store = self.planned.pop(moid, None), self.stores.pop(moid, None)
        if planned is not None:
            self._tracker.run(_wait(planned.unlisten()), "closing a listener's link")
        if store is not None:
            self.log.info("leaving the Redis of {moid}", moid=moid)
            self._tracker.run(_wait(self._connector.drop_store(store)), "closing a store's link")

    def _take_database(self, address: SqlAddress | None) -> None:
        if self._sql_known and (address is None or address == self._sql_address):
            return
        self._sql_known, self._sql_address = True, address
        old, self._prepared = self._database, None
        self._database = self._connector.make_database(address)
        if old is not None:
            self._tracker.run(old.close(), "closing the database")
        if self._database is not None and self._retry is None:
            self._prepare_soon()

    def _prepare_soon(self) -> None:
        self._retry = None
        if self._database is not None:
            self._tracker.run(self._prepare(self._database), "preparing the database")

    async def _prepare(self, database: IConferenceDatabase) -> None:
        try:
            await database.prepare()
        except (SqlError, SqlRefused) as error:
            self._database_tried = True
            self.log.warn("the database is not usable yet: {error}", error=str(error))
            if database is self._database:
                self._retry = self._reactor.callLater(self._retry_seconds, self._prepare_soon)
            return
        if database is self._database:
            self.log.info("the database is there")
            self._prepared = database
            self._database_tried = True


async def _wait(closing: Awaitable[None]) -> None:
    await closing
