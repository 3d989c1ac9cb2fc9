"""The embedded broker: the contract, its own verbs, and that equal seeds give equal histories."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.bus import MemoryBroker, MemoryBus
from css.ports.bus import BusFull, Delivery, Outgoing, Queue, Topology, Unconfirmed
from tests.contracts import bus as contract
from tests.contracts.bus_case import Recorder, message, reactor

QUEUES = Topology(queues=(Queue("Q"), Queue("R")))


class MemoryBusContract(contract.BusContract):
    """The contract on the embedded broker."""

    def setUp(self) -> None:
        self.broker = MemoryBroker(reactor, Random(1))

    def make_bus(self, **settings: Any) -> MemoryBus:
        bus = self.broker.bus("test", **settings)
        self.addCleanup(bus.stop)
        return bus

    def cut(self, bus: MemoryBus) -> None:
        bus.drop_link()

    def silence(self) -> None:
        self.broker.hang()

    def speak(self) -> None:
        self.broker.resume()

    async def delete_queue(self, name: str) -> None:
        self.broker.delete_queue(name)


class Verbs(SynchronousTestCase):
    """What tests and the simulation can do to the broker."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = MemoryBroker(self.clock, Random(1))
        self.bus = self.broker.bus("css")
        self.bus.declare(QUEUES)
        self.bus.start()
        self.turn()
        self.assertTrue(self.bus.connected)

    def turn(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        for _ in range(10):
            self.clock.advance(0)

    def one_step(self) -> None:
        """What the broker has been given is done, and nothing that follows from it."""
        (call,) = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
        step = partial(call.func, *call.args, **call.kw)  # type: ignore[attr-defined]
        call.cancel()
        step()

    def test_nothing_happens_in_the_call(self) -> None:
        recorder = Recorder()
        self.bus.consume("Q", recorder)
        published = self.bus.publish(message(1))
        self.assertNoResult(published)
        self.assertEqual(recorder.ids, [])
        self.turn()
        self.successResultOf(published)
        self.assertEqual(recorder.ids, ["m1"])

    def test_queue_length_and_messages(self) -> None:
        sent = [message(1), message(2)]
        for one in sent:
            self.successResultOf(self.published(one))
        self.assertEqual(self.broker.queue_length("Q"), 2)
        self.assertEqual(self.broker.messages("Q"), sent)
        self.assertEqual(self.broker.queue_length("unknown"), 0)
        self.assertEqual(self.broker.queue_names(), ["Q", "R"])

    def test_unacknowledged(self) -> None:
        recorder = Recorder()
        recorder.closed = True
        self.bus.consume("Q", recorder, prefetch=1)
        self.successResultOf(self.published(message(1)))
        self.successResultOf(self.published(message(2)))
        self.assertEqual((self.broker.unacknowledged("Q"), self.broker.queue_length("Q")), (1, 1))
        recorder.open()
        self.turn()
        self.assertEqual((self.broker.unacknowledged("Q"), self.broker.queue_length("Q")), (0, 0))

    def test_stop_and_start(self) -> None:
        states: list[bool] = []
        self.bus.on_state_change(states.append)
        self.successResultOf(self.published(message(1)))
        late = self.bus.publish(message(2))
        self.broker.stop()
        self.failureResultOf(late, Unconfirmed)
        self.turn(60)
        self.assertFalse(self.bus.connected)
        self.broker.start()
        self.turn(20)
        self.assertTrue(self.bus.connected)
        self.assertEqual(states, [False, True])
        self.assertEqual(self.broker.messages("Q"), [message(1)])

    def test_block(self) -> None:
        self.broker.block()
        early = self.bus.publish(message(1))
        self.turn()
        self.assertTrue(self.bus.blocked)
        self.failureResultOf(self.bus.publish(message(2)), BusFull)
        self.assertNoResult(early)
        self.broker.unblock()
        self.turn()
        self.assertFalse(self.bus.blocked)
        self.successResultOf(early)
        self.assertEqual(self.broker.messages("Q"), [message(1)])

    def test_blocked_when_it_connects(self) -> None:
        self.broker.block()
        self.turn()
        self.bus.drop_link()
        self.turn(1)
        self.assertTrue(self.bus.connected)
        self.assertTrue(self.bus.blocked)

    def test_deliveries_go_on_while_publishers_are_blocked(self) -> None:
        self.successResultOf(self.published(message(1)))
        self.broker.block()
        recorder = Recorder()
        self.bus.consume("Q", recorder)
        self.turn()
        self.assertEqual(recorder.ids, ["m1"])
        self.assertEqual(self.broker.unacknowledged("Q"), 0)

    def test_link_lost_between_publish_and_confirm(self) -> None:
        published = self.bus.publish(message(1))
        self.one_step()
        self.assertEqual(self.broker.queue_length("Q"), 1)
        self.bus.drop_link()
        self.failureResultOf(published, Unconfirmed)
        self.assertEqual(self.broker.queue_length("Q"), 1)

    def test_link_lost_before_the_publish_arrives(self) -> None:
        published = self.bus.publish(message(1))
        self.bus.drop_link()
        self.failureResultOf(published, Unconfirmed)
        self.turn(1)
        self.assertEqual(self.broker.queue_length("Q"), 0)

    def test_link_lost_with_a_delivery_on_its_way(self) -> None:
        self.successResultOf(self.published(message(1)))
        recorder = Recorder()
        self.bus.consume("Q", recorder)
        self.one_step()
        self.bus.drop_link()
        self.assertEqual(recorder.ids, [])
        self.turn(1)
        self.assertEqual([delivery.redelivered for delivery in recorder.deliveries], [True])

    def test_hang(self) -> None:
        self.broker.hang()
        published = self.bus.publish(message(1))
        self.turn(12)
        self.assertNoResult(published)
        self.assertEqual(self.bus.last_round_trip_seconds_ago(), 12)
        self.broker.resume()
        self.turn()
        self.successResultOf(published)

    def test_heartbeat(self) -> None:
        self.turn(35)
        self.assertEqual(self.bus.last_round_trip_seconds_ago(), 5)

    def test_message_given_back_keeps_its_place(self) -> None:
        recorder = Recorder()
        recorder.closed = True
        consumer = self.bus.consume("Q", recorder, prefetch=2)
        for number in range(4):
            self.successResultOf(self.published(message(number)))
        _ = consumer.cancel()
        self.bus.drop_link()
        self.assertEqual([one.message_id for one in self.broker.messages("Q")], ["m0", "m1", "m2", "m3"])
        recorder.open()

    def test_expired_is_not_counted(self) -> None:
        self.successResultOf(self.published(Outgoing("", "Q", b"", "m1", expiration_ms=1000)))
        self.turn(0.9)
        self.assertEqual(self.broker.queue_length("Q"), 1)
        self.turn(0.2)
        self.assertEqual(self.broker.queue_length("Q"), 0)

    def test_delete_unknown_queue(self) -> None:
        self.broker.delete_queue("unknown")
        self.assertEqual(self.broker.queue_names(), ["Q", "R"])

    def test_nothing_left_after_stop(self) -> None:
        self.bus.consume("Q", Recorder())
        self.successResultOf(self.published(message(1)))
        stopped = self.bus.stop()
        self.turn()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_is_no_loss(self) -> None:
        """Who stops a bus in order is not warned that its link is gone; who loses it is."""
        for end, levels in ((self.bus.drop_link, [LogLevel.warn]), (self.bus.stop, [LogLevel.info])):
            self.turn(60)
            with capturedLogs() as events:
                _ = end()
                self.turn()
            told = [event for event in events if "link" in event["log_format"]]
            self.assertEqual([event["log_level"] for event in told], levels)

    def published(self, one: Outgoing) -> Deferred[None]:
        published = self.bus.publish(one)
        self.turn()
        return published


class Deterministic(SynchronousTestCase):
    """Equal seeds give equal histories."""

    def history(self, seed: int) -> list[tuple[float, str, bool]]:
        clock = Clock()
        random = Random(seed)
        broker = MemoryBroker(clock, random)
        seen: list[tuple[float, str, bool]] = []

        async def handler(delivery: Delivery) -> None:
            seen.append((clock.seconds(), delivery.message_id, delivery.redelivered))
            if random.random() < 0.3:
                raise ConnectionError("planted")

        buses = [broker.bus(name) for name in ("a", "b")]
        for bus in buses:
            bus.declare(QUEUES)
            bus.consume("Q", handler, prefetch=3)
            bus.start()
        for number in range(100):
            clock.advance(random.random())
            bus = random.choice(buses)
            _ = bus.publish(message(number)).addErrback(lambda _: None)
            if random.random() < 0.1:
                random.choice(buses).drop_link()
        for _ in range(100):
            clock.advance(0.5)
        self.flushLoggedErrors(ConnectionError)
        return seen

    def test_equal_seeds(self) -> None:
        self.assertEqual(self.history(7), self.history(7))

    def test_other_seed(self) -> None:
        self.assertNotEqual(self.history(7), self.history(8))
