"""Connections to real servers, made from the configuration and the PMS's addresses."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from urllib.parse import quote

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus, AmqpSettings
from css.adapters.crypto.fernet import FernetCipher, NoCipher
from css.adapters.redis.ledger import RedisLedger
from css.adapters.redis.planned import RedisLocatorBook, RedisPlanned
from css.adapters.redis.platform_state import RedisPlatformState
from css.adapters.redis.settings import RedisSettings, SentinelSettings
from css.adapters.redis.store import RedisStore, connect
from css.config import RedisSection, Settings
from css.handlers.outbox import ACK_WAIT_SECONDS
from css.messages.pms import BrokerAddress, RedisAddress, SqlAddress
from css.ports.bus import IBus
from css.ports.ledger import ILedger
from css.ports.licence import ILicenceCipher
from css.ports.planned import ILocatorBook, IPlannedConferences
from css.ports.sql import IConferenceDatabase
from css.ports.store import IConferenceStore, IPlatformState


class ServerConnector:
    """Makes connections to RabbitMQ, Redis and SQL; see `css.handlers.links.Connector`."""

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._reactor = reactor
        self._settings = settings

    def make_own_bus(self) -> IBus:
        """The own platform's broker, not started.

        @raise ValueError: the configuration names the embedded broker, which only `make run` has.
        """
        broker = self._settings.amqp.broker
        if broker is None:
            raise ValueError('[amqp] url is "memory:", which only the demo has: give amqp://… or amqps://…')
        address = AmqpAddress(
            broker.host,
            broker.port,
            broker.vhost,
            broker.user,
            broker.password.reveal(),
            broker.tls,
            self._settings.amqp.ca_file,
        )
        return self._bus([address], f"broker of {self._settings.platform.moid}")

    def make_bus(self, moid: str, addresses: tuple[BrokerAddress, ...]) -> IBus:
        """Another platform's broker; TLS as with the own one."""
        amqp = self._settings.amqp
        own = amqp.broker
        nodes = [
            AmqpAddress(
                each.ip,
                each.port,
                each.vhost,
                amqp.user,
                amqp.password.reveal() or "guest",
                own is not None and own.tls,
                amqp.ca_file,
            )
            for each in addresses
        ]
        return self._bus(nodes, f"broker of {moid}")

    def _bus(self, addresses: list[AmqpAddress], name: str) -> IBus:
        # A broker that confirms nothing must not hold a step for longer than a step waits.
        settings = AmqpSettings(queue_type=self._settings.amqp.queue_type, confirm_timeout_seconds=ACK_WAIT_SECONDS)
        bus: IBus = AmqpBus(self._reactor, addresses, settings, name=name)
        return bus

    def make_store(self, address: RedisAddress) -> IConferenceStore:
        """The store of the platform that the address names; Sentinels, if configured, overrule the address."""
        store = connect(self._reactor, redis_settings(self._settings.redis, address), address.platformmoid)
        store.start()
        made: IConferenceStore = store
        return made

    def make_state(self, store: IConferenceStore) -> IPlatformState:
        """On the same link as the store."""
        assert isinstance(store, RedisStore)
        state: IPlatformState = RedisPlatformState(store.link)
        return state

    def make_ledger(self, store: IConferenceStore) -> ILedger:
        """On the same link as the store."""
        assert isinstance(store, RedisStore)
        ledger: ILedger = RedisLedger(store.link)
        return ledger

    def make_planned(self, store: IConferenceStore) -> IPlannedConferences:
        """On the same link as the store; it listens on one of its own."""
        assert isinstance(store, RedisStore)
        planned: IPlannedConferences = RedisPlanned(self._reactor, store.link)
        return planned

    def make_book(self, store: IConferenceStore) -> ILocatorBook:
        """On the same link as the store."""
        assert isinstance(store, RedisStore)
        book: ILocatorBook = RedisLocatorBook(store.link)
        return book

    def make_database(self, address: SqlAddress | None) -> IConferenceDatabase | None:
        """The configured one, else the one at the PMS's address."""
        # Costs more than all else together, and others that connect (`cssctl`, NPPCLIENT) have no use for it.
        from css.adapters.sql.database import SqlDatabase
        from css.adapters.sql.engine import SqlSettings, SqlTls

        sql = self._settings.sql
        url = sql.url.reveal()
        if not url:
            if address is None:
                return None
            url = f"mysql://{address.ip}:{address.port}/{quote(address.db, safe='')}"
        tls = SqlTls(sql.ca_file, sql.cert_file, sql.key_file) if sql.tls else None
        database: IConferenceDatabase = SqlDatabase(
            self._reactor,
            SqlSettings(
                url=url,
                user=sql.user,
                password=sql.password.reveal(),
                tls=tls,
                threads=sql.threads,
                timeout_seconds=sql.timeout_seconds,
                max_waiting=sql.max_waiting,
            ),
        )
        return database

    def drop_store(self, store: IConferenceStore) -> Awaitable[None]:
        """Close its link."""
        assert isinstance(store, RedisStore)
        return store.stop()


def redis_settings(section: RedisSection, address: RedisAddress) -> RedisSettings:
    """How to reach a platform's Redis; Sentinels, if configured, overrule the address."""
    sentinel, moid = section.sentinel, address.platformmoid
    master = sentinel.masters.get(moid) if sentinel else None
    return RedisSettings(
        host=address.ip,
        port=address.port,
        db=address.db,
        username=section.user,
        password=section.password.reveal(),
        tls=section.tls,
        tls_ca_file=section.ca_file,
        sentinel=SentinelSettings(sentinel.hosts, master) if sentinel and master else None,
    )


def cipher_of(settings: Settings) -> ILicenceCipher:
    """What verifies licences, with the configured keys."""
    keys = [key.reveal() for key in settings.license.keys]
    cipher: ILicenceCipher = FernetCipher(keys) if keys else NoCipher()
    return cipher
