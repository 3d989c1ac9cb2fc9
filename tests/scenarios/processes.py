"""CSS in processes of its own, as an operator runs it; its peers are in this process, its servers are real."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pika
from sqlalchemy import delete, insert
from twisted.internet.threads import deferToThread

from css.adapters.sql.engine import SqlSettings, make_engine
from css.adapters.sql.tables import ap_domain
from css.probe import VARIABLE
from tests.scenarios.case import pause
from tests.scenarios.forking import Forked
from tests.scenarios.ground import KEY, ServerGround, Site, Stage, reactor, settings_text, until
from tests.servers.process import Child, new_folder

PLATFORM = "platform-a"
PROJECT = Path(__file__).resolve().parent.parent.parent
START_LIMIT_SECONDS = 120.0
STOP_LIMIT_SECONDS = 60.0

TIMERS = {
    "state_refresh_seconds": 30.0,
    "request_timeout_seconds": 10.0,
    "creating_timeout_seconds": 10.0,
    "mcu_timeout_seconds": 15.0,
    "sync_grace_seconds": 20.0,
    "unroutable_seconds": 10.0,
    "outbox_lease_seconds": 0.6,
}
"""Some restarts must fit into the time-outs of a create, else its outcome depends on how fast the machine is."""


TWISTD = str(Path(sys.executable).with_name("twistd"))


class CssProcess:
    """One run of `twistd css`.

    @param anew: as an operator starts it; else it is forked off a process that has imported all, which is far quicker.
    """

    def __init__(self, folder: Path, name: str, config: Path, kill_at: str = "", anew: bool = False) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        arguments = ["-n", "--pidfile=", "css", "--config", str(config)]
        environment = {VARIABLE: kill_at}
        if anew:
            command, everything = [sys.executable, TWISTD, *arguments], {**os.environ, "PYTHONPATH": str(PROJECT)}
            self._child = Child(command, self.log_path, {**everything, **environment})
        else:
            self._child = Forked(arguments, self.log_path, environment)

    @property
    def running(self) -> bool:
        """Whether it lives, frozen or not."""
        return self._child.running

    @property
    def status(self) -> int | None:
        """Its exit status, negative: the signal that killed it; None while it runs."""
        return self._child.status

    def log(self) -> str:
        """All that it has printed."""
        return self.log_path.read_text(errors="replace")

    def says(self, text: str, times: int = 1) -> bool:
        """Whether a text is in its log that often."""
        return self.log().count(text) >= times

    async def serves(self) -> None:
        """Wait until it takes requests. Whether there is a licence, and a directory, is told by `Scene.ready`.

        One that is to die of what waits for it may have died since.
        """
        what = f"{self.name} serves"
        await until(lambda: self.says("serves platform") or not self._alive(), START_LIMIT_SECONDS, what)

    async def dies(self, seconds: float = START_LIMIT_SECONDS) -> int | None:
        """Wait until it has ended. @return: its exit status."""
        await until(lambda: not self.running, seconds, f"{self.name} dies")
        return self.status

    async def stop(self) -> int | None:
        """SIGTERM; it must end by itself. @return: its exit status."""
        self._child.send(signal.SIGTERM)
        return await self.dies(STOP_LIMIT_SECONDS)

    def kill(self) -> None:
        """SIGKILL."""
        self._child.send(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP."""
        self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._child.send(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._child.end(signal.SIGKILL)

    def _alive(self) -> bool:
        if not self.running:
            raise AssertionError(f"{self.name} ended with {self.status}:\n{self.log()[-4000:]}")
        return True


def configured(ground: ServerGround, folder: Path, moid: str, name: str, timers: dict[str, float]) -> Path:
    """@return: the configuration file of an instance, written into the folder."""
    key_file = folder / "licence.keys"
    key_file.write_bytes(KEY + b"\n")
    more = f'[license]\nkey_file = "{key_file}"\n[sql]\nurl = "{ground.sql_url}"\n'
    config = folder / f"{name}.toml"
    config.write_text(settings_text(moid, name, ground.amqp_url(moid), more, **timers))
    return config


async def put_domains(ground: ServerGround, above: dict[str, str]) -> None:
    """Put domains into `ap_domain`, as the BMC's side does.

    @param above: of each domain the one above it; a platform has none.
    """
    rows = [
        {
            "moid": moid,
            "level": 0 if uplevelmoid else 1,
            "uplevelmoid": uplevelmoid,
            "name": moid,
            "used": 1,
            "enableh265": 0,
            "enablehdmeeting": 0,
        }
        for moid, uplevelmoid in above.items()
    ]

    def write() -> None:
        engine = make_engine(SqlSettings(url=ground.sql_url))
        with engine.begin() as connection:
            connection.execute(delete(ap_domain).where(ap_domain.c.moid.in_(list(above))))
            connection.execute(insert(ap_domain), rows)
        engine.dispose()

    await deferToThread(write)


class Scene:
    """One platform: its servers, its peers, and instances of CSS as processes."""

    def __init__(self, ground: ServerGround, **timers: float) -> None:
        self.ground = ground
        self.folder = new_folder("css")
        self.processes: list[CssProcess] = []
        self._stage = Stage(ground)
        self._timers = {**TIMERS, **timers}
        self._names = itertools.count(1)
        self.site: Site | None = None

    @property
    def peers(self) -> Any:
        """The platform's peers."""
        assert self.site is not None
        return self.site.peers

    async def open(self, hosts: list[str], users: list[str]) -> None:
        """Start the peers; put the platform and its user domains into `ap_domain`, as the BMC does."""
        self.site = await self._stage.platform(PLATFORM, hosts)
        await self.prepare_directory(users)

    async def prepare_directory(self, users: list[str]) -> None:
        """Make the tables, and put the platform and its user domains into `ap_domain`."""
        await self.ground.database.prepare()
        await self.write_domains({PLATFORM: 1, **dict.fromkeys(users, 0)})

    async def write_domains(self, levels: dict[str, int]) -> None:
        """Put domains into `ap_domain`. CSS is not told."""
        await put_domains(self.ground, {moid: PLATFORM if level == 0 else "" for moid, level in levels.items()})

    def run(self, kill_at: str = "", name: str = "css-1", anew: bool = False, **timers: float) -> CssProcess:
        """Start an instance. @param kill_at: `<step>.<point>`, where it is to kill itself; anew: see `CssProcess`."""
        timers = {**self._timers, **timers}
        config = configured(self.ground, self.folder, PLATFORM, name, timers)
        process = CssProcess(self.folder, f"{name}.{next(self._names)}", config, kill_at, anew)
        self.processes.append(process)
        return process

    async def ready(self, *users: str) -> None:
        """Wait until Redis has the platform's licence and these domains: then creates need not be refused."""
        missing = {f"domain/{user}/info" for user in users} | {f"domain/{PLATFORM}/license"}
        store = self.ground.stores[PLATFORM]
        give_up_at = reactor.seconds() + START_LIMIT_SECONDS
        while reactor.seconds() < give_up_at:
            missing = {key for key in missing if not await store.read_hash(key)}
            if not missing:
                return
            await pause(0.05)
        raise AssertionError(f"not in Redis: {missing}")

    async def stop_peers(self) -> None:
        """Stop all peers; whatever CSS says from now on stays in the queues."""
        if self.site is not None:
            await self.site.peers.stop()

    async def queue_lengths(self) -> dict[str, int]:
        """Messages that wait in any queue of the platform, empty queues left out."""
        peers = self.site.peers.all() if self.site else []
        names = {queue.name for peer in peers for queue in peer.topology().queues} | _CSS_QUEUES
        rabbitmq = self.ground.rabbitmq
        place = pika.ConnectionParameters(rabbitmq.host, rabbitmq.port, self.ground.vhosts[PLATFORM])

        def ask() -> dict[str, int]:
            with pika.BlockingConnection(place) as link:
                channel = link.channel()
                found = {name: channel.queue_declare(name, passive=True).method.message_count for name in names}
            return {name: count for name, count in found.items() if count}

        lengths: dict[str, int] = await deferToThread(ask)
        return lengths

    async def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.close()
        await self._stage.close()


_CSS_QUEUES = {
    "MAU.CM.Q",
    "MAU.CMMCU.Q",
    "MAU.MCU.Q",
    "MAU.RPCRES.Q",
    "MAU.RPCPLATINFO.Q",
    "MAU.BMC.Q",
    "MAU.LICENSE.Q",
    "MAU.PARK.Q",
}
