"""The connection's own rules, by a clock and a transport of strings."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.redis.advice import problems
from css.adapters.redis.protocol import StoreProtocol
from css.adapters.redis.scripts import ALL, CLEAR_OUTBOX, LOAD
from css.ports.store import StoreError


class _Transport(StringTransport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802 - Twisted's name
        self.keep_alive = enabled


class ProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol = StoreProtocol(self.clock, timeout_seconds=2.0, max_in_flight=3)
        self.transport = _Transport()
        self.protocol.makeConnection(self.transport)

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def test_replies_belong_to_commands_in_order_whatever_pieces_they_come_in(self) -> None:
        waiting = [self.protocol.execute_command("GET", key) for key in "abc"]
        for byte in b"$1\r\nA\r\n$-1\r\n*2\r\n:5\r\n$2\r\n\xff\x00\r\n":
            self.protocol.dataReceived(bytes([byte]))
        self.assertEqual([self.successResultOf(each) for each in waiting], [b"A", None, [5, b"\xff\x00"]])
        self.assertEqual((self.transport.no_delay, self.transport.keep_alive), (True, True))

    def test_error_reply_is_a_store_error_of_that_command_only(self) -> None:
        bad, good = self.protocol.execute_command("A"), self.protocol.execute_command("B")
        self.protocol.dataReceived(b"-LOADING Redis is loading\r\n+OK\r\n")
        self.assertIn("LOADING", str(self.failureResultOf(bad, StoreError).value))
        self.assertEqual(self.successResultOf(good), b"OK")
        self.assertFalse(self.transport.disconnecting)

    def test_overdue_reply_ends_the_connection_and_everything_under_way(self) -> None:
        first = self.protocol.execute_command("A")
        self.clock.advance(1.5)
        second = self.protocol.execute_command("B")
        self.clock.advance(0.5)  # overdue: the reply may lie in the socket, so one more turn
        self.assertNoResult(first)
        self.clock.advance(0.05)
        for each in (first, second):
            self.assertIn("no answer", str(self.failureResultOf(each, StoreError).value))
        self.assertTrue(self.transport.disconnected)
        self.successResultOf(self.protocol.when_lost())
        late = self.protocol.execute_command("C")
        self.protocol.dataReceived(b"+A\r\n+B\r\n")
        self.failureResultOf(late, StoreError)
        closed = self.protocol.when_closed()
        self.assertNoResult(closed)
        self.lose()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_command_has_its_whole_time(self) -> None:
        for _ in range(5):
            waiting = self.protocol.execute_command("A")
            self.clock.advance(1.9)
            self.protocol.dataReceived(b"+A\r\n")
            self.assertEqual(self.successResultOf(waiting), b"A")
        self.clock.advance(10)
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_more_than_the_bound_is_in_flight(self) -> None:
        waiting = [self.protocol.execute_command("A") for _ in range(3)]
        self.assertEqual(self.protocol.in_flight, 3)
        self.assertIn("too many", str(self.failureResultOf(self.protocol.execute_command("B"), StoreError).value))
        self.protocol.dataReceived(b"+A\r\n")
        self.assertEqual(self.successResultOf(waiting[0]), b"A")
        waiting.append(self.protocol.execute_command("B"))
        self.assertNoResult(waiting[3])
        self.lose()
        for each in waiting[1:]:
            self.failureResultOf(each, StoreError)

    def test_cancelled_command_does_not_shift_the_others(self) -> None:
        first, second = self.protocol.execute_command("A"), self.protocol.execute_command("B")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.protocol.dataReceived(b"+A\r\n+B\r\n")
        self.assertEqual(self.successResultOf(second), b"B")

    def test_forgotten_script_is_sent_with_its_text(self) -> None:
        waiting = self.protocol.run_script(LOAD, (b"\x92\xa11\xa0", b"blob"))
        self.clock.advance(0)
        self.assertNotIn(LOAD.source, self.transport.value())
        self.transport.clear()
        self.protocol.dataReceived(b"-NOSCRIPT No matching script.\r\n")
        head = b"*5\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n$1\r\n0\r\n" % (len(LOAD.source), LOAD.source)
        self.assertEqual(self.transport.value(), head + b"$4\r\n\x92\xa11\xa0\r\n$4\r\nblob\r\n")
        self.protocol.dataReceived(b":1\r\n")
        self.assertEqual(self.successResultOf(waiting), 1)

    def test_what_is_asked_in_one_turn_leaves_in_one_write(self) -> None:
        for key in "ab":
            _ = self.protocol.execute_command("GET", key)
        self.assertEqual(self.transport.writes, [])
        self.clock.advance(0)
        self.assertEqual(self.transport.writes, [b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"])

    def test_what_replies_lead_to_leaves_with_them(self) -> None:
        for key in "ab":
            asked = self.protocol.execute_command("GET", key)
            _ = asked.addCallback(lambda value: self.protocol.execute_command("DEL", value))
        self.clock.advance(0)
        self.transport.clear()
        self.protocol.dataReceived(b"+A\r\n+B\r\n")
        self.assertEqual(self.transport.value(), b"*2\r\n$3\r\nDEL\r\n$1\r\nA\r\n*2\r\n$3\r\nDEL\r\n$1\r\nB\r\n")

    def test_a_full_way_out_is_waited_for(self) -> None:
        producer = self.transport.producer
        assert producer is not None
        producer.pauseProducing()
        _ = self.protocol.execute_command("GET", "a")
        self.clock.advance(0)
        self.assertEqual(self.transport.value(), b"")
        producer.resumeProducing()
        self.assertEqual(self.transport.value(), b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")

    def test_what_was_not_written_when_the_connection_went_never_is(self) -> None:
        waiting = self.protocol.execute_command("GET", "a")
        self.lose()
        self.failureResultOf(waiting, StoreError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.transport.value(), b"")

    def test_server_that_is_no_master_is_left(self) -> None:
        for answer in (b"-READONLY You can't\r\n", b"-MASTERDOWN Link\r\n"):
            self.setUp()
            waiting = self.protocol.execute_command("A")
            self.protocol.dataReceived(answer)
            self.failureResultOf(waiting, StoreError)
            self.assertTrue(self.transport.disconnected)

    def test_nonsense_ends_the_connection(self) -> None:
        for nonsense, asked in ((b"HTTP/1.1 400 Bad Request\r\n", True), (b"+unasked\r\n", False)):
            self.setUp()
            waiting = self.protocol.execute_command("A") if asked else None
            self.protocol.dataReceived(nonsense)
            self.assertTrue(self.transport.disconnected)
            if waiting is not None:
                self.failureResultOf(waiting, StoreError)


class AdviceTests(SynchronousTestCase):
    GOOD = {"appendonly": "yes", "maxmemory-policy": "noeviction", "min-replicas-to-write": "1"}  # noqa: RUF012

    def test_recommended_settings_are_fine_and_replicas_matter(self) -> None:
        self.assertEqual(problems(self.GOOD, has_replicas=True), [])
        alone = {**self.GOOD, "min-replicas-to-write": "0"}
        self.assertEqual(problems(alone, has_replicas=False), [])
        self.assertEqual([name for name, _ in problems(alone, has_replicas=True)], ["min-replicas-to-write"])

    def test_each_risky_setting_is_named(self) -> None:
        bad = {"appendonly": "no", "maxmemory-policy": "volatile-lru", "min-replicas-to-write": "0"}
        self.assertEqual([name for name, _ in problems(bad, has_replicas=True)], list(bad))


class ScriptTests(SynchronousTestCase):
    def test_every_script_is_loaded_once(self) -> None:
        self.assertEqual(len({script.sha for script in ALL}), len(ALL))
        self.assertIn(CLEAR_OUTBOX, ALL)
        self.assertNotIn("_", {script.name[0] for script in ALL})
