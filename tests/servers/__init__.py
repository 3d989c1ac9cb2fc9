"""Real servers for tests: one set a run, and in it a vhost, a database, a schema per test.

    from tests.servers import servers

    host, port = servers().redis_address()
    database = servers().new_redis_database()        # emptied, nobody else's
    broker = servers().rabbitmq()                    # .host, .port, .new_vhost() (guest/guest)
    url = servers().mariadb().new_schema()           # mysql://user:password@host:port/schema

A test that stops, kills or freezes a server takes a private one, and closes it:

    redis = servers().private_redis()
    self.addCleanup(redis.close)

All calls block. Servers are started when first asked for; a RabbitMQ takes about five seconds.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.servers.install import ensure_installed
from tests.servers.mariadb import MariaDBServer
from tests.servers.process import Server, guard
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer, ValkeyServer
from tests.servers.shared import Owner, find_asker

__all__ = ["MariaDBServer", "RabbitMQServer", "RedisServer", "Server", "Servers", "ValkeyServer", "servers"]

ServerT = TypeVar("ServerT", bound=Server)


@dataclass(frozen=True)
class SharedRabbitMQ:
    """The run's RabbitMQ."""

    host: str
    port: int
    new_vhost: Callable[[], str]
    """Gives the name of an empty vhost, nobody else's, that guest/guest may use."""
    drop_vhost: Callable[[str], None]
    """Says that nobody uses one any more."""


@dataclass(frozen=True)
class SharedMariaDB:
    """The run's MariaDB."""

    host: str
    port: int
    new_schema: Callable[[], str]
    """Creates an empty schema, and gives its address: `mysql://user:password@host:port/schema`."""


class Servers:
    """The run's set of servers, wherever it is, and private ones."""

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self._ask = ask

    def redis_address(self, second: bool = False) -> tuple[str, int]:
        """Host and port of the run's Redis, or of its second one. Use a database of your own in it."""
        return self._address("redis-2" if second else "redis")

    def new_redis_database(self, second: bool = False) -> int:
        """The number of an empty database of the run's Redis, or of its second one."""
        return int(self._ask("database redis-2" if second else "database redis"))

    def valkey_address(self) -> tuple[str, int]:
        """Host and port of the run's Valkey. Use a database of your own in it."""
        return self._address("valkey")

    def new_valkey_database(self) -> int:
        """The number of an empty database of the run's Valkey."""
        return int(self._ask("database valkey"))

    def rabbitmq(self, second: bool = False) -> SharedRabbitMQ:
        """The run's RabbitMQ, or its second one."""
        kind = "rabbitmq-2" if second else "rabbitmq"
        host, port = self._address(kind)
        return SharedRabbitMQ(
            host, port, lambda: str(self._ask(f"vhost {kind}")), lambda vhost: self._ask(f"drop {kind} {vhost}")
        )

    def mariadb(self) -> SharedMariaDB:
        """The run's MariaDB."""
        host, port = self._address("mariadb")
        return SharedMariaDB(host, port, lambda: str(self._ask("schema mariadb")))

    def private_redis(self, durable: bool = True) -> RedisServer:
        """A Redis of one's own, started; if `durable`, what it has answered survives a kill."""
        return _started(RedisServer(durable))

    def private_valkey(self) -> ValkeyServer:
        """A Valkey of one's own, started; what it has answered survives a kill."""
        return _started(ValkeyServer(durable=True))

    def private_rabbitmq(self) -> RabbitMQServer:
        """A RabbitMQ of one's own, started."""
        return _started(RabbitMQServer())

    def private_mariadb(self) -> MariaDBServer:
        """A MariaDB of one's own, started."""
        return _started(MariaDBServer())

    def _address(self, kind: str) -> tuple[str, int]:
        host, port = self._ask(f"address {kind}")
        return str(host), int(port)


def _started(server: ServerT) -> ServerT:
    ensure_installed()
    server.start()
    return server


def _own_set() -> Owner:
    guard()  # made first, it closes last: what the owner has ended it need not kill
    owner = Owner()
    atexit.register(owner.close)
    return owner


@functools.cache
def servers() -> Servers:
    """The servers of this run."""
    return Servers(find_asker(_own_set))
