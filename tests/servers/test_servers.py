"""The servers that tests get: shared ones, private ones, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pika
import pymysql
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.servers import RabbitMQServer, SharedRabbitMQ, process, servers
from tests.servers.guard import started_at
from tests.servers.install import MissingServers, ensure_installed, missing_packages, program
from tests.servers.process import ServerFailed
from tests.servers.redis import RedisServer, ValkeyServer, command
from tests.servers.shared import ENVIRONMENT, Owner, SharedServerError, Sharing, find_asker
from tests.sources import ROOT


def wait_until(condition: Callable[[], bool], limit_seconds: float = 5.0) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def broker_link(broker: RabbitMQServer | SharedRabbitMQ, vhost: str) -> pika.BlockingConnection:
    """A client that shares no code with ours."""
    return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port, vhost, heartbeat=0))


class Folders(SynchronousTestCase):
    """Where servers keep their files."""

    def setUp(self) -> None:
        self.patch(os, "environ", {name: value for name, value in os.environ.items() if name != "TMPDIR"})
        self.patch(tempfile, "tempdir", None)

    def test_in_memory_where_there_is_room(self) -> None:
        """A folder there is like one elsewhere."""
        memory = Path(self.mktemp())
        memory.mkdir()
        self.patch(process, "_MEMORY", memory)
        self.patch(process, "_ROOM_BYTES", 0)
        self.assertEqual(memory, process.new_folder("a").parent)

    def test_not_where_it_is_small_or_missing(self) -> None:
        """The machine's own place for temporary files is taken."""
        self.patch(process, "_ROOM_BYTES", 1 << 60)
        self.assertEqual(Path(tempfile.gettempdir()), process.new_folder("a").parent)
        self.patch(process, "_ROOM_BYTES", 0)
        self.patch(process, "_MEMORY", Path(self.mktemp()))
        self.assertEqual(Path(tempfile.gettempdir()), process.new_folder("a").parent)

    def test_where_the_user_says(self) -> None:
        """TMPDIR is heeded."""
        os.environ["TMPDIR"] = self.mktemp()
        Path(os.environ["TMPDIR"]).mkdir()
        self.assertEqual(Path(os.environ["TMPDIR"]).resolve(), process.new_folder("a").parent.resolve())


class SharedServers(TestCase):
    """The run's own set."""

    def test_redis_databases(self) -> None:
        """Each is empty and nobody else's, in Redis as in Valkey."""
        for address, new_database in [
            (servers().redis_address(), servers().new_redis_database),
            (servers().valkey_address(), servers().new_valkey_database),
        ]:
            first, second = new_database(), new_database()
            self.assertNotEqual(first, second)
            command(address, "SET", "a", "1", database=first)
            self.assertEqual(["1", "0"], [command(address, "DBSIZE", database=each) for each in (first, second)])

    def test_two_kinds(self) -> None:
        """Valkey is not Redis under another name: it has commands that Redis 7.0 lacks."""
        self.assertRaises(OSError, command, servers().redis_address(), "COMMANDLOG", "LEN", "slow")
        self.assertTrue(command(servers().valkey_address(), "COMMANDLOG", "LEN", "slow").isdigit())

    def test_vhosts(self) -> None:
        """Each is usable by guest, and its queues are not seen in another; more than the pool holds can be had."""
        broker = servers().rabbitmq()
        vhosts = [broker.new_vhost() for _ in range(25)]
        self.assertEqual(25, len(set(vhosts)))
        first, last = broker_link(broker, vhosts[0]), broker_link(broker, vhosts[-1])
        first.channel().queue_declare("q")
        self.assertRaises(pika.exceptions.ChannelClosedByBroker, last.channel().queue_declare, "q", passive=True)
        first.close()
        last.close()

    def test_dropped_vhosts(self) -> None:
        """They are gone once others are made; those others are usable."""
        broker = servers().rabbitmq()
        vhost = broker.new_vhost()
        link = broker_link(broker, vhost)
        link.channel().queue_declare("q", durable=True)
        link.close()
        broker.drop_vhost(vhost)
        last = [broker.new_vhost() for _ in range(45)][-1]
        broker_link(broker, last).close()
        self.assertRaises(pika.exceptions.AMQPError, self.declare, broker, vhost)

    def declare(self, broker: RabbitMQServer | SharedRabbitMQ, vhost: str) -> None:
        """Look for the queue."""
        broker_link(broker, vhost).channel().queue_declare("q", durable=True)

    def test_schemas(self) -> None:
        """Each is empty and takes Chinese."""
        urls = [servers().mariadb().new_schema() for _ in range(2)]
        self.assertNotEqual(*urls)
        for url in urls:
            user, _, rest = url.removeprefix("mysql://").partition(":")
            password, _, rest = rest.partition("@")
            address, _, schema = rest.partition("/")
            host, _, port = address.partition(":")
            link = pymysql.connect(
                host=host, port=int(port), user=user, password=password, database=schema, charset="utf8mb4"
            )
            with link, link.cursor() as cursor:
                cursor.execute("CREATE TABLE t (name VARCHAR(9))")
                cursor.execute("INSERT INTO t VALUES ('会议')")
                cursor.execute("SELECT name, CHAR_LENGTH(name) FROM t")
                self.assertEqual((("会议", 2),), cursor.fetchall())

    def test_other_process_asks(self) -> None:
        """Who finds a set in the environment uses that one, gets its errors, and notices that it is gone."""
        owner = Owner()
        self.addCleanup(owner.close)
        sharing = Sharing(owner)
        self.patch(os, "environ", {**os.environ, **sharing.environment})
        ask = find_asker(lambda: self.fail("there is an owner already"))
        host, port = ask("address redis")
        self.assertEqual((host, port), owner.answer("address redis"))
        self.assertEqual([1, 2, 3], [ask("database redis"), owner.answer("database redis"), ask("database redis")])
        self.assertRaises(SharedServerError, ask, "vhost redis")
        sharing.close()
        os.environ[ENVIRONMENT] = '{"socket": "/nonexistent"}'
        self.assertRaises(SharedServerError, find_asker, lambda: owner)

    def test_closed_set(self) -> None:
        """An owner that closes ends its servers and deletes their folders."""
        owner = Owner()
        address = owner.answer("address redis")
        owner.close()
        self.assertRaises(OSError, command, address, "PING")


class PrivateServers(TestCase):
    """Servers to break."""

    timeout = 120

    def test_redis_killed(self) -> None:
        """Comes back at its address with all that it had answered; so does Valkey."""
        for make in (servers().private_redis, servers().private_valkey):
            server = make()
            self.addCleanup(server.close)
            address = server.address
            command(address, "SET", "a", "1")
            server.kill()
            self.assertRaises(OSError, command, address, "PING")
            server.start()
            self.assertEqual("1", command(address, "GET", "a"))

    def test_redis_frozen(self) -> None:
        """Accepts links and answers nothing, until it goes on; even frozen it can be closed."""
        server = servers().private_redis()
        self.addCleanup(server.close)
        self.patch(sys.modules["tests.servers.redis"], "_ANSWER_LIMIT_SECONDS", 0.2)
        server.pause()
        self.assertRaises(TimeoutError, command, server.address, "PING")
        server.resume()
        self.assertEqual("PONG", command(server.address, "PING"))
        server.pause()
        folder = server.folder
        server.close()
        self.assertFalse(server.running or folder.exists())

    def test_mariadb_killed(self) -> None:
        """Comes back at its address with its data, after a kill as after a stop."""
        server = servers().private_mariadb()
        self.addCleanup(server.close)
        schema = server.new_schema().rpartition("/")[2]
        for end in (server.kill, server.stop):
            end()
            self.assertRaises(pymysql.err.OperationalError, server.connect)
            server.start()
            with server.connect() as link, link.cursor() as cursor:
                cursor.execute("SHOW DATABASES")
                self.assertIn((schema,), cursor.fetchall())

    def test_rabbitmq_killed(self) -> None:
        """Comes back at its address with vhosts, durable queues and persistent messages; its epmd ends with it."""
        server = servers().private_rabbitmq()
        self.addCleanup(server.close)
        vhost = server.new_vhost()
        link = broker_link(server, vhost)
        channel = link.channel()
        channel.confirm_delivery()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", "会议".encode(), pika.BasicProperties(delivery_mode=2))
        server.kill()
        server.start()
        link = broker_link(server, vhost)
        self.assertEqual("会议".encode(), link.channel().basic_get("q")[2])
        link.close()
        assert server._epmd is not None
        pids = [server.pid, server._epmd.pid]
        server.close()
        self.assertEqual(["", ""], [started_at(pid) for pid in pids])

    def test_does_not_start(self) -> None:
        """A server that ends at once says why."""
        server = RedisServer()
        self.addCleanup(server.close)
        self.patch(server, "command", lambda: [program("redis-server"), "--nonsense"])
        self.assertIn("nonsense", str(self.assertRaises(ServerFailed, server.start)))
        self.assertFalse(server.running)


class LeavingNothing(TestCase):
    """What happens to servers whose owner does not close them."""

    OWNER = """
import sys, time
from tests.servers import servers
server = servers().private_redis()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""

    def owner(self) -> tuple[subprocess.Popen[str], int, Path]:
        """A process that owns a server, that server's process id, and its folder."""
        process = subprocess.Popen(
            [sys.executable, "-c", self.OWNER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(process.communicate)
        assert process.stdout is not None
        pid, _, folder = process.stdout.readline().strip().partition(" ")
        self.assertTrue(started_at(int(pid)))
        return process, int(pid), Path(folder)

    def test_owner_killed(self) -> None:
        """The guard ends what a killed process started, and deletes its folder."""
        process, pid, folder = self.owner()
        process.send_signal(signal.SIGKILL)
        self.assertTrue(wait_until(lambda: not started_at(pid) and not folder.exists()))

    def test_owner_ends(self) -> None:
        """Nothing is left when a process that forgot to close its server has ended."""
        process, pid, folder = self.owner()
        process.communicate()
        self.assertEqual(0, process.returncode)
        self.assertFalse(started_at(pid) or folder.exists())


class Installing(TestCase):
    """Servers that are not installed."""

    def test_says_the_command(self) -> None:
        """Without root the exact command is said."""
        self.patch(sys.modules["tests.servers.install"], "PACKAGES", {"no-such-program": "some-package"})
        self.patch(os, "geteuid", lambda: 1000)
        error = self.assertRaises(MissingServers, ensure_installed)
        self.assertIn("apt-get update && apt-get install -y --no-install-recommends some-package", str(error))

    def test_all_there(self) -> None:
        """Nothing is installed where all is there, whoever asks."""
        ran: list[object] = []
        self.patch(subprocess, "run", lambda *arguments, **named: ran.append(arguments))
        for user in (0, 1000):
            self.patch(os, "geteuid", lambda user=user: user)
            ensure_installed()
        self.assertEqual((ran, missing_packages()), ([], []))

    def test_valkey_needs_no_install(self) -> None:
        """Valkey comes with a Python package."""
        self.assertTrue(os.access(ValkeyServer().binary(), os.X_OK))
