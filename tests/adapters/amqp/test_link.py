"""The life of a link without a network: login, heartbeats, refusals, the end."""

from __future__ import annotations

import itertools
from typing import Any

from pamqp import commands
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from css.ports.bus import (
    Queue,
    Topology,
    Unconfirmed,
)
from tests.adapters.amqp.linkcase import Basic, Channel, Connection, LinkCase
from tests.adapters.amqp.scripted import HEARTBEAT, connected, deliver, scripted_bus, settle


class LinkLife(LinkCase):
    """Login, heartbeats, refusals, the end."""

    def test_login(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock, heartbeat_seconds=10)
        connected(self.clock, self.broker, self.bus)
        (start,) = self.broker.sent(Connection.StartOk)
        self.assertEqual((start.mechanism, start.response), ("PLAIN", "\0用户\0密码"))
        self.assertTrue(start.client_properties["capabilities"]["consumer_cancel_notify"])
        (tune,) = self.broker.sent(Connection.TuneOk)
        self.assertEqual((tune.frame_max, tune.heartbeat), (131072, 10))
        self.assertEqual(self.broker.sent(Connection.Open)[0].virtual_host, "会议")
        self.assertEqual(self.broker.frames[0][1].name, "ProtocolHeader")

    def test_prefetch_and_manual_acknowledgement(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock)
        self.bus.consume("Q", self.handle, prefetch=7)
        connected(self.clock, self.broker, self.bus)
        self.assertEqual(self.broker.sent(Basic.Qos)[0].prefetch_count, 7)
        self.assertFalse(self.broker.sent(Basic.Consume)[0].no_ack)

    def test_quorum_queues(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock, queue_type="quorum")
        self.bus.declare(Topology(queues=(Queue("Q"), Queue("own", exclusive=True))))
        connected(self.clock, self.broker, self.bus)
        durable, own = self.broker.sent(commands.Queue.Declare)
        self.assertEqual((durable.durable, durable.arguments), (True, {"x-queue-type": "quorum"}))
        self.assertEqual((own.durable, own.exclusive, own.auto_delete, own.arguments), (False, True, True, {}))

    def test_heartbeats_are_sent(self) -> None:
        for _ in range(20):
            self.broker.send(0, HEARTBEAT)
            settle(self.clock, 5)
        self.assertTrue(self.bus.connected)
        beats = [value for _, value in self.broker.frames if value.name == "Heartbeat"]
        self.assertGreaterEqual(len(beats), 18)

    def test_dead_broker(self) -> None:
        waited = 0
        while self.bus.connected:
            settle(self.clock, 1)
            waited += 1
            self.assertLess(waited, 40)
        self.assertTrue(20 <= waited <= 26, waited)
        self.assertTrue(self.transport.aborted)

    def test_stalled_process_does_not_condemn_the_broker(self) -> None:
        self.broker.send(0, HEARTBEAT)
        self.clock.rightNow += 600
        settle(self.clock)
        self.broker.send(0, HEARTBEAT)
        settle(self.clock, 4)
        self.assertTrue(self.bus.connected)

    def test_silent_at_login(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock, connect_timeout_seconds=3)
        del self.broker.answers[Connection.StartOk]
        self.bus.start()
        settle(self.clock, 2.9)
        self.assertEqual(self.broker.connections, 1)
        settle(self.clock, 0.2)
        assert self.broker.transport is not None
        self.assertTrue(self.broker.transport.aborted)
        settle(self.clock, 1)
        self.assertEqual(self.broker.connections, 2)
        self.broker.answers[Connection.StartOk] = lambda _: Connection.Tune(0, 0, 0)
        settle(self.clock, 5)
        settle(self.clock, 2)
        self.assertTrue(self.bus.connected)

    def test_silent_while_it_is_set_up(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock, connect_timeout_seconds=3)
        answer = self.broker.answers.pop(commands.Confirm.Select)
        self.bus.start()
        settle(self.clock, 3.1)
        settle(self.clock, 1)
        self.assertEqual(self.broker.connections, 2)
        self.broker.answers[commands.Confirm.Select] = answer
        settle(self.clock, 4)
        settle(self.clock, 2)
        self.assertTrue(self.bus.connected)

    def test_no_plain_login(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock)
        self.broker.mechanisms = "EXTERNAL AMQPLAIN"
        self.bus.start()
        settle(self.clock)
        assert self.broker.transport is not None
        self.assertTrue(self.broker.transport.aborted)

    def test_channel_closed_by_the_broker(self) -> None:
        published = self.publish()
        settle(self.clock)
        self.broker.send(self.consuming, Channel.Close(406, "PRECONDITION_FAILED - unknown delivery tag", 60, 80))
        self.assertTrue(self.transport.aborted)
        self.failureResultOf(published, Unconfirmed)
        settle(self.clock, 1)
        self.assertTrue(self.bus.connected)
        self.assertEqual(len(self.broker.sent(Basic.Consume)), 1)

    def test_connection_closed_by_the_broker(self) -> None:
        self.broker.send(0, Connection.Close(320, "CONNECTION_FORCED - going down", 0, 0))
        self.assertEqual(len(self.broker.sent(Connection.CloseOk)), 1)
        settle(self.clock)
        self.assertFalse(self.bus.connected)
        settle(self.clock, 1)
        self.assertTrue(self.bus.connected)

    def test_consumer_cancelled_by_the_broker(self) -> None:
        self.broker.send(self.consuming, Basic.Cancel("c", nowait=True))
        settle(self.clock)
        self.assertTrue(self.bus.connected)
        self.assertEqual(len(self.broker.sent(commands.Queue.Declare)), 1)
        self.assertEqual(self.broker.channel_of(Basic.Consume), self.consuming)
        self.broker.send(self.consuming, *deliver(1, b"again"))
        self.assertEqual([delivery.body for delivery in self.seen], [b"again"])

    def test_stop(self) -> None:
        self.broker.send(self.consuming, *deliver(1, b""))
        published = self.publish()
        stopped = self.bus.stop()
        self.assertNoResult(stopped)
        settle(self.clock)
        self.successResultOf(stopped)
        self.failureResultOf(published, Unconfirmed)
        kinds = [value.name for _, value in self.broker.frames]
        self.assertLess(kinds.index("Basic.Ack"), kinds.index("Connection.Close"))
        self.assertFalse(self.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_when_the_broker_is_silent(self) -> None:
        del self.broker.answers[Connection.Close]
        stopped = self.bus.stop()
        settle(self.clock, 9)
        self.assertNoResult(stopped)
        settle(self.clock, 2)
        self.successResultOf(stopped)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_at_login(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock)
        del self.broker.answers[Connection.StartOk]
        self.bus.start()
        settle(self.clock)
        stopped = self.bus.stop()
        settle(self.clock)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asked_for_things_while_it_logs_in(self) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock)
        answer = self.broker.answers.pop(Connection.StartOk)
        self.bus.start()
        settle(self.clock)
        self.bus.declare(Topology(queues=(Queue("Q"),)))
        consumer = self.bus.consume("Q", self.handle)
        gone = self.bus.consume("Q", self.handle).cancel()
        settle(self.clock)
        self.successResultOf(gone)
        self.assertEqual(self.broker.sent(Channel.Open), [])
        self.broker.send(0, answer(None))
        settle(self.clock)
        self.assertTrue(self.bus.connected)
        self.assertEqual(len(self.broker.sent(commands.Queue.Declare)), 1)
        self.assertEqual(len(self.broker.sent(Basic.Consume)), 1)
        self.assertEqual(consumer.in_flight, 0)

    def test_nothing_waits_for_a_link_that_is_gone(self) -> None:
        self.gated = True
        self.broker.send(self.consuming, *deliver(1, b""))
        stopped = self.bus.stop()
        settle(self.clock)
        self.successResultOf(stopped)
        self.gates[0].errback(ValueError("planted"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.flushLoggedErrors(ValueError)

    def test_stop_between_attempts(self) -> None:
        self.broker.lose(ConnectionLost())
        self.successResultOf(self.bus.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        settle(self.clock, 60)
        self.assertEqual(self.broker.connections, 1)

    def test_pauses_grow_and_are_jittered(self) -> None:
        self.broker.connect = lambda factory: failing()  # type: ignore[method-assign]
        moments: list[float] = []

        def failing() -> Deferred[Any]:
            moments.append(self.clock.seconds())
            refused: Deferred[Any] = Deferred()
            refused.errback(ConnectionRefusedError("planted"))
            return refused

        self.broker.lose(ConnectionLost())
        for _ in range(1200):
            self.clock.advance(0.1)
        pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
        self.assertLess(pauses[0], 0.7)
        self.assertTrue(all(4.8 <= pause <= 10.2 for pause in pauses[6:]), pauses)
        self.assertGreater(len({round(pause, 2) for pause in pauses[6:]}), 3)
