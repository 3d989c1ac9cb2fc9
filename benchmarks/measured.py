"""The process that is measured: CSS itself, or the relay, on servers of its own vhost, database and schema."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import cpu_seconds, ready_seconds
from tests.servers import Servers
from tests.servers.process import Child, new_folder

PLATFORM = "platform-a"
KEY = "sTPgkSXUrV7HqbsJgkkqhAeWgk0X0a2yRDT-wW7pQAc="
"""A Fernet key that only benchmarks and tests use."""

PROFILE = "CSS_BENCH_PROFILE"
"""Environment variable: the file to which CSS's cProfile is written. Figures of such a run are of no worth."""

ROOT = Path(__file__).resolve().parent.parent


class Place(msgspec.Struct):
    """Where one measured process works: nobody else is there."""

    host: str
    port: int
    vhost: str
    redis: tuple[str, int]
    database: int
    sql_url: str

    @property
    def amqp_url(self) -> str:
        """Of the vhost, for guest."""
        return f"amqp://guest:guest@{self.host}:{self.port}/{self.vhost}"

    @property
    def config(self) -> dict[str, Any]:
        """What the PMS tells of it."""
        host, port = self.redis
        return {
            "mq": [{"ip": self.host, "port": self.port, "vhost": self.vhost}],
            "redis": [{"ip": host, "port": port, "db": self.database, "platformmoid": PLATFORM}],
        }


def new_place(servers: Servers) -> Place:
    """An empty vhost, an empty Redis database, an empty schema."""
    broker = servers.rabbitmq()
    database = servers.new_redis_database()
    vhost, sql_url = broker.new_vhost(), servers.mariadb().new_schema()
    return Place(broker.host, broker.port, vhost, servers.redis_address(), database, sql_url)


class Measured:
    """A started process; it says what CPU it has used."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.log = new_folder(f"bench-{name}") / f"{name}.log"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._child = Child(command, self.log, {**os.environ, "PYTHONPATH": path})

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def cpu_seconds(self) -> float:
        """Since it began."""
        return cpu_seconds(self.pid)

    def ready_seconds(self) -> float:
        """How long it has run or waited for a core since it began, its main thread alone."""
        return ready_seconds(self.pid)

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self._child.running

    def end(self) -> None:
        """Stop it in order, as supervisord does."""
        self._child.end(signal.SIGTERM)


def start_css(place: Place) -> Measured:
    """`twistd -n css`, configured as in production."""
    folder = new_folder("bench-config")
    (folder / "license.keys").write_text(KEY + "\n")
    config = folder / "css.toml"
    config.write_text(
        f'[platform]\nmoid = "{PLATFORM}"\n[instance]\nname = "css-1"\n'
        f'[amqp]\nurl = "{place.amqp_url}"\nuser = "guest"\npassword = "guest"\n'
        f'[sql]\nurl = "{place.sql_url}"\n[license]\nkey_file = "license.keys"\n'
    )
    run = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
    options = ["-n", "--pidfile="]
    if profile := os.environ.get(PROFILE):
        options += ["--profile", profile, "--profiler", "cprofile", "--savestats"]
    return Measured("css", [sys.executable, "-c", run, *options, "css", "--config", str(config)])


def start_relay(place: Place, hosts: list[str]) -> Measured:
    """The same hops without any logic."""
    return Measured("relay", [sys.executable, "-m", "benchmarks.relay", place.amqp_url, *hosts])
