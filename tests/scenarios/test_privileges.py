"""The rights that `docs/operations.md` recommends suffice: `twistd css` runs with them, and with no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.peers.platform import PlatformPeers
from tests.scenarios.ground import KEY, reactor, until
from tests.servers import servers
from tests.servers.redis import command

ROOT = Path(__file__).resolve().parents[2]
OWN_RIGHTS = (r"^(MAU|mau|RMS|MEETING|meeting|platform\.license|UPU|BMC|nms|monitor)\..*$", ".*")
"""Configure and read; write."""
OTHERS_RIGHTS = (r"^(mau\.cmcmu|MEETING\.CSS|meeting\.mccntf)\.(ex|EX)$", ".*")
"""Configure; write."""
REDIS_RIGHTS = "~* &* -@all +@read +@write +@scripting +@connection +time +subscribe"

TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]


class LeastPrivilege(TestCase):
    """A create and a release on accounts that may do no more than the page says."""

    timeout = 120

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)

    def test_the_page_names_these(self) -> None:
        page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
        for rights in (OWN_RIGHTS[0], OTHERS_RIGHTS[0], REDIS_RIGHTS):
            self.assertIn(f"{rights}`", page)

    def test_create_and_release(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._create_and_release())

    async def _create_and_release(self) -> None:
        await deferToThread(self._grant)
        peers, bus = self._peers()
        bus.start()
        peers.start()
        try:
            await bus.when_connected()
            process = self._start_css()
            await until(lambda: "licence of A stored" in self._log(), 60, "CSS serves")
            peers.bmc.send_domain("add", "A", level=1, used=1)
            peers.bmc.send_domain("add", "u1", level=0, uplevelmoid="A", used=1)
            await self._created(peers)
            await self._planned(peers)
            released = await peers.cm.release("0660175").addTimeout(10, reactor)
            self.assertEqual(released["type"], "MAU_CM_RELEASECONF_ACK")
            await until(lambda: peers.upu.inbox.count("UPU_DEL_CONF_REQ"), what="the notices")
            await deferToThread(self._stop, process)
            self._check_log()
        finally:
            await peers.stop()
            await bus.stop()

    async def _planned(self, peers: PlatformPeers) -> None:
        """What the CM writes and tells of is reported."""
        await until(lambda: self._log().count("Redis 127.0.0.1:") >= 5, what="the channel is listened to")
        words = [("HSET", "vroom/78", "confname", "x", "moid", "u1"), ("PUBLISH", "conf.change", '{"e164":"78"}')]
        for each in words:
            await deferToThread(command, self.redis.address, *each)
        await until(lambda: peers.upu.inbox.count("UPU_ADD_CONF_REQ", "78"), what="the change is reported")

    async def _created(self, peers: PlatformPeers) -> None:
        """The domain may take a moment to be known: until then creates are refused."""
        answer: dict[str, Any] = {}

        async def ask() -> None:
            answer.update(await peers.cm.create("0660175", "周会", "u1").addTimeout(10, reactor))

        for _ in range(20):
            await ask()
            if answer["type"].endswith("_ACK"):
                return
        raise AssertionError(answer)

    def _grant(self) -> None:
        rabbit = self.rabbitmq = servers().private_rabbitmq()
        self.addCleanup(deferToThread, rabbit.close)
        self.redis = servers().private_redis()
        self.addCleanup(deferToThread, self.redis.close)
        rabbit.control("add_user", "css", "secret")
        for vhost, (configure, write), read in (("a", OWN_RIGHTS, OWN_RIGHTS[0]), ("b", OTHERS_RIGHTS, "")):
            rabbit.control("add_vhost", vhost)
            rabbit.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
            rabbit.control("set_permissions", "-p", vhost, "css", configure, write, read)
        command(self.redis.address, "ACL", "SETUSER", "css", "on", ">secret", *REDIS_RIGHTS.split())

    def _peers(self) -> tuple[PlatformPeers, AmqpBus]:
        rabbit, (host, port) = self.rabbitmq, self.redis.address
        bus = AmqpBus(
            reactor, [AmqpAddress.from_url(f"amqp://guest:guest@{rabbit.host}:{rabbit.port}/a")], name="peers"
        )
        redis = [{"ip": host, "port": port, "db": index, "platformmoid": moid} for index, moid in enumerate("AB")]
        configs: dict[str, dict[str, Any]] = {
            moid: {"mq": [{"ip": rabbit.host, "port": rabbit.port, "vhost": moid.lower()}]} for moid in "AB"
        }
        configs["A"]["redis"] = redis
        peers = PlatformPeers(
            bus, reactor, Random(3), "A", hosts=["10.0.0.1"], licence_key=KEY, configs=configs, main=["B"], backup=["B"]
        )
        peers.bmc.licences = {"A": {}, "B": {}}
        return peers, bus

    def _start_css(self) -> subprocess.Popen[bytes]:
        rabbit = self.rabbitmq
        (self.folder / "license.keys").write_bytes(KEY)
        (self.folder / "css.toml").write_text(
            f'[platform]\nmoid = "A"\n[amqp]\nurl = "amqp://css:secret@{rabbit.host}:{rabbit.port}/a"\n'
            'user = "css"\npassword = "secret"\n[redis]\nuser = "css"\npassword = "secret"\n'
            '[sql]\nurl = "sqlite:///css.sqlite"\n[license]\nkey_file = "license.keys"\n'
        )
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*TWISTD, "css", "--config", str((self.folder / "css.toml").resolve())],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(self._kill, process)
        return process

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait(30)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
            process.wait()

    def _log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def _check_log(self) -> None:
        """Nothing was refused, on either broker or in Redis, but to look at the settings of Redis."""
        log = "\n".join(line for line in self._log().splitlines() if "its settings can't be read" not in line)
        for sign in ("ACCESS_REFUSED", "NOPERM", "NOAUTH", "Traceback", "link lost", "can't work"):
            self.assertNotIn(sign, log)
        self.assertIn("connected to amqp://css@", log)
        self.assertIn("has stopped", log)
