"""What every `IBus` does, sentence by sentence of its port. A subclass says how to make one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from css.ports.bus import (
    KEPT_OF_TOO_LARGE,
    MAX_BODY_BYTES,
    BadMessage,
    Binding,
    BusFull,
    Delivery,
    IBus,
    IConsumer,
    NotConnected,
    Outgoing,
    Queue,
    Topology,
    Unconfirmed,
    Unroutable,
)

reactor: Any = _reactor

PATIENCE_SECONDS = 15.0
ONE_QUEUE = Topology(exchanges=("会管.EX",), queues=(Queue("Q"),), bindings=(Binding("Q", "会管.EX", "键"),))


def message(number: int, queue: str = "Q", body: bytes = b"{}") -> Outgoing:
    return Outgoing(exchange="", routing_key=queue, body=body, message_id=f"m{number}")


def pause(seconds: float) -> Deferred[None]:
    return deferLater(reactor, seconds)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until something is so."""
    deadline = reactor.seconds() + PATIENCE_SECONDS
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError(f"never came true: {what or condition}")
        await pause(0.005)


class Recorder:
    """A handler that keeps what it gets; it waits while `gate` is closed."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.busy = 0
        self.most_busy = 0
        self.gates: list[Deferred[None]] = []
        self.closed = False

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.closed:
                gate: Deferred[None] = Deferred()
                self.gates.append(gate)
                await gate
        finally:
            self.busy -= 1

    def open(self) -> None:
        """Let all go on that wait, and all to come."""
        self.closed = False
        gates, self.gates = self.gates, []
        for gate in gates:
            gate.callback(None)

    @property
    def ids(self) -> list[str]:
        return [delivery.message_id for delivery in self.deliveries]


class BusContract(TestCase):
    """To be subclassed where trial looks for tests."""

    timeout = 60

    def make_bus(self, **settings: Any) -> Any:
        """A bus to the test's broker, not started, stopped after the test.

        Settings: `max_unconfirmed`, `max_unconfirmed_bytes`, `confirm_timeout_seconds`.
        """
        raise NotImplementedError

    def cut(self, bus: Any) -> None:
        """Cut the bus's link."""
        raise NotImplementedError

    def silence(self) -> None:
        """Have the broker answer nothing, to no bus, until `speak`."""
        raise NotImplementedError

    def speak(self) -> None:
        """Have it answer again, what it has kept back first."""
        raise NotImplementedError

    async def delete_queue(self, name: str) -> None:
        """Delete a queue on the broker."""
        raise NotImplementedError

    async def connected_bus(self, topology: Topology = ONE_QUEUE, **settings: Any) -> Any:
        bus = self.make_bus(**settings)
        bus.declare(topology)
        bus.start()
        await bus.when_connected()
        return bus

    async def ready_ids(self, queue: str = "Q") -> list[str]:
        """Ids of what a queue has for a new consumer."""
        bus = await self.connected_bus(Topology())
        recorder = Recorder()
        recorder.closed = True
        consumer = bus.consume(queue, recorder, prefetch=1000)
        await pause(0.3)
        seen = recorder.ids
        for gate in recorder.gates:
            self.addCleanup(gate.callback, None)
        _ = consumer.cancel()
        await bus.stop()
        return seen

    # The bus

    async def test_interfaces(self) -> None:
        bus = await self.connected_bus()
        self.assertTrue(verifyObject(IBus, bus))
        self.assertTrue(verifyObject(IConsumer, bus.consume("Q", Recorder())))

    async def test_not_connected_before_start(self) -> None:
        bus = self.make_bus()
        self.assertFalse(bus.connected)
        self.assertEqual(bus.last_round_trip_seconds_ago(), float("inf"))
        await self.assertFailure(bus.publish(message(1)), NotConnected)

    async def test_connects(self) -> None:
        bus = self.make_bus()
        waiting = bus.when_connected()
        bus.start()
        self.assertNoResult(waiting)
        await waiting
        self.assertTrue(bus.connected)
        self.assertFalse(bus.blocked)
        await bus.when_connected()
        self.assertLess(bus.last_round_trip_seconds_ago(), 5)

    async def test_stop(self) -> None:
        bus = await self.connected_bus()
        await bus.stop()
        self.assertFalse(bus.connected)
        await self.assertFailure(bus.publish(message(1)), NotConnected)
        await self.assertFailure(bus.when_connected(), NotConnected)
        await pause(0.4)
        self.assertFalse(bus.connected)
        await bus.stop()

    async def test_stopped_before_it_was_connected(self) -> None:
        bus = self.make_bus()
        waiting = bus.when_connected()
        bus.start()
        stopped = bus.stop()
        await self.assertFailure(waiting, NotConnected)
        await stopped
        self.assertFalse(bus.connected)

    async def test_stopped_without_a_start(self) -> None:
        await self.make_bus().stop()

    async def test_started_again(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await bus.stop()
        bus.start()
        await bus.when_connected()
        await bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1"])

    async def test_publish_under_way_when_stopped(self) -> None:
        bus = await self.connected_bus()
        self.silence()
        published = bus.publish(message(1))
        stopped = bus.stop()
        self.speak()
        await stopped
        await self.assertFailure(published, Unconfirmed)

    async def test_state_changes_are_told(self) -> None:
        bus = self.make_bus()
        states: list[bool] = []
        bus.on_state_change(states.append)
        bus.start()
        await bus.when_connected()
        self.cut(bus)
        await until(lambda: not bus.connected)
        self.assertEqual(states, [True, False])
        await bus.when_connected()
        await bus.stop()
        self.assertEqual(states, [True, False, True, False])

    async def test_listener_that_fails(self) -> None:
        bus = self.make_bus()
        states: list[bool] = []

        def fails(connected: bool) -> None:
            raise ValueError("planted")

        bus.on_state_change(fails)
        bus.on_state_change(states.append)
        bus.start()
        await bus.when_connected()
        self.assertEqual(states, [True])
        await bus.stop()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_round_trip_ages_while_the_broker_is_silent(self) -> None:
        bus = await self.connected_bus()
        await bus.publish(message(1))
        self.assertLess(bus.last_round_trip_seconds_ago(), 0.2)
        self.silence()
        await pause(0.5)
        self.assertGreater(bus.last_round_trip_seconds_ago(), 0.3)
        self.speak()

    # Declaring

    async def test_topology(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        sent = Outgoing(
            "会管.EX", "键", "会议".encode(), "标识-1", "关联", "回复", 60_000, {"x-css-epoch": 2**52, "名": "值"}
        )
        await bus.publish(sent)
        await until(lambda: recorder.deliveries)
        self.assertEqual(
            recorder.deliveries[0],
            Delivery("Q", sent.body, "标识-1", "关联", "回复", {"x-css-epoch": 2**52, "名": "值"}, False, 0),
        )

    async def test_declare_while_connected(self) -> None:
        bus = await self.connected_bus()
        bus.declare(Topology(("LATE.EX",), (Queue("LATE"),), (Binding("LATE", "LATE.EX", "k"),)))
        recorder = Recorder()
        bus.consume("LATE", recorder)
        await bus.publish(Outgoing("LATE.EX", "k", b"1", "m1"))
        await until(lambda: recorder.ids == ["m1"])

    async def test_declare_what_exists(self) -> None:
        first = await self.connected_bus()
        second = await self.connected_bus()
        await first.publish(message(1))
        await second.publish(message(2))
        self.assertEqual(await self.ready_ids(), ["m1", "m2"])

    async def test_several_keys_of_one_queue(self) -> None:
        keys = ("mau.k", "MAU.K", "cm.k")
        bus = await self.connected_bus(Topology(("EX",), (Queue("Q"),), tuple(Binding("Q", "EX", key) for key in keys)))
        for number, key in enumerate(keys):
            await bus.publish(Outgoing("EX", key, b"", f"m{number}"))
        self.assertEqual(await self.ready_ids(), ["m0", "m1", "m2"])

    async def test_one_key_of_several_queues(self) -> None:
        queues = (Queue("A"), Queue("B"))
        bindings = (Binding("A", "EX", "k"), Binding("B", "EX", "k"))
        bus = await self.connected_bus(Topology(("EX",), queues, bindings))
        await bus.publish(Outgoing("EX", "k", b"", "m1"))
        self.assertEqual((await self.ready_ids("A"), await self.ready_ids("B")), (["m1"], ["m1"]))

    async def test_exclusive_queue_comes_back_with_the_link(self) -> None:
        bus = await self.connected_bus(Topology(queues=(Queue("own", exclusive=True),)))
        recorder = Recorder()
        bus.consume("own", recorder)
        await bus.publish(message(1, "own"))
        await until(lambda: recorder.ids == ["m1"])
        self.cut(bus)
        await until(lambda: not bus.connected)
        await bus.when_connected()
        await bus.publish(message(2, "own"))
        await until(lambda: recorder.ids == ["m1", "m2"])

    async def test_exclusive_queue_goes_with_the_link(self) -> None:
        other = await self.connected_bus()
        bus = await self.connected_bus(Topology(queues=(Queue("own", exclusive=True),)))
        await other.publish(message(1, "own"))
        await bus.stop()
        await self.assertFailure(other.publish(message(2, "own")), Unroutable)

    async def test_exclusive_queue_of_another_link(self) -> None:
        topology = Topology(queues=(Queue("own", exclusive=True),))
        first = await self.connected_bus(topology)
        second = self.make_bus()
        second.declare(topology)
        second.start()
        await pause(0.7)
        self.assertFalse(second.connected)
        await first.stop()
        await second.when_connected()

    # Publishing

    async def test_confirmed_is_kept(self) -> None:
        bus = await self.connected_bus()
        self.assertIsNone(await bus.publish(message(1)))
        self.cut(bus)
        self.assertEqual(await self.ready_ids(), ["m1"])

    async def test_unroutable(self) -> None:
        bus = await self.connected_bus()
        await self.assertFailure(bus.publish(message(1, "nowhere")), Unroutable)
        await self.assertFailure(bus.publish(Outgoing("会管.EX", "另键", b"", "m2")), Unroutable)
        await self.assertFailure(bus.publish(message(3, "长" * 100)), Unroutable)
        await bus.publish(message(4))
        self.assertTrue(bus.connected)

    async def test_unroutable_among_others(self) -> None:
        bus = await self.connected_bus()
        results: list[str] = []
        publishes = []
        for number in range(60):
            published = bus.publish(message(number % 5, "nowhere" if number % 3 == 0 else "Q"))
            published.addCallbacks(
                lambda _, n=number: results.append(f"{n} taken"),
                lambda failure, n=number: results.append(f"{n} {failure.type.__name__}"),
            )
            publishes.append(published)
        await gatherResults(publishes)
        expected = [f"{n} Unroutable" if n % 3 == 0 else f"{n} taken" for n in range(60)]
        self.assertEqual(sorted(results), sorted(expected))
        self.assertEqual(len(await self.ready_ids()), 40)

    async def test_no_such_exchange(self) -> None:
        bus = await self.connected_bus()
        await self.assertFailure(bus.publish(Outgoing("没有.EX", "k", b"", "m1")), Unroutable)
        await bus.when_connected()
        await bus.publish(message(2))

    async def test_order_of_a_turn(self) -> None:
        bus = await self.connected_bus()
        await gatherResults([bus.publish(message(number)) for number in range(500)])
        self.assertEqual(await self.ready_ids(), [f"m{number}" for number in range(500)])

    async def test_link_lost_before_the_confirm(self) -> None:
        bus = await self.connected_bus()
        self.silence()
        publishes = [bus.publish(message(number)) for number in range(3)]
        await pause(0.1)
        self.cut(bus)
        for published in publishes:
            await self.assertFailure(published, Unconfirmed)
        self.speak()
        await bus.when_connected()
        await bus.publish(message(3))

    async def test_no_confirm_in_time(self) -> None:
        bus = await self.connected_bus(confirm_timeout_seconds=0.3)
        self.silence()
        early = bus.publish(message(1))
        await pause(0.15)
        late = bus.publish(message(2))
        await self.assertFailure(early, Unconfirmed)
        self.assertNoResult(late)
        await self.assertFailure(late, Unconfirmed)
        self.speak()
        await bus.when_connected()
        await bus.publish(message(3))
        self.assertTrue(bus.connected)

    async def test_full_by_number(self) -> None:
        bus = await self.connected_bus(max_unconfirmed=3)
        taken = [bus.publish(message(number)) for number in range(3)]
        await self.assertFailure(bus.publish(message(3)), BusFull)
        await gatherResults(taken)
        await bus.publish(message(4))
        self.assertEqual(await self.ready_ids(), ["m0", "m1", "m2", "m4"])

    async def test_full_by_bytes(self) -> None:
        bus = await self.connected_bus(max_unconfirmed_bytes=1000)
        taken = [bus.publish(message(number, body=b"x" * 500)) for number in range(2)]
        await self.assertFailure(bus.publish(message(3)), BusFull)
        await gatherResults(taken)
        await bus.publish(message(4))

    async def test_publisher_that_has_lost_interest(self) -> None:
        bus = await self.connected_bus()
        published = bus.publish(message(1))
        published.cancel()
        published.addErrback(lambda _: None)
        await bus.publish(message(2))
        self.assertEqual(await self.ready_ids(), ["m1", "m2"])

    async def test_expiration(self) -> None:
        bus = await self.connected_bus()
        await bus.publish(Outgoing("", "Q", b"", "short", expiration_ms=50))
        await bus.publish(Outgoing("", "Q", b"", "long", expiration_ms=60_000))
        await pause(0.2)
        self.assertEqual(await self.ready_ids(), ["long"])

    # Consuming

    async def test_in_order_and_at_most_prefetch(self) -> None:
        bus = await self.connected_bus()
        await gatherResults([bus.publish(message(number)) for number in range(10)])
        recorder = Recorder()
        recorder.closed = True
        consumer = bus.consume("Q", recorder, prefetch=3)
        await until(lambda: len(recorder.ids) == 3)
        await pause(0.1)
        self.assertEqual(recorder.ids, ["m0", "m1", "m2"])
        self.assertEqual(consumer.in_flight, 3)
        recorder.gates.pop(1).callback(None)
        await until(lambda: len(recorder.ids) == 4)
        recorder.open()
        await until(lambda: len(recorder.ids) == 10)
        self.assertEqual(recorder.ids, [f"m{number}" for number in range(10)])
        self.assertEqual(recorder.most_busy, 3)
        await until(lambda: consumer.in_flight == 0)

    async def test_acknowledged_out_of_order(self) -> None:
        bus = await self.connected_bus()
        await gatherResults([bus.publish(message(number)) for number in range(12)])
        recorder = Recorder()
        recorder.closed = True
        consumer = bus.consume("Q", recorder, prefetch=12)
        await until(lambda: len(recorder.ids) == 12)
        kept = {3, 7}
        for number in (5, 0, 1, 4, 11, 2, 6, 10, 8, 9):
            recorder.gates[number].callback(None)
            if number in (1, 4, 6):
                await pause(0.03)
        await until(lambda: consumer.in_flight == len(kept))
        await pause(0.1)
        self.cut(bus)
        await until(lambda: len(recorder.ids) == 14)
        self.assertEqual(recorder.ids[12:], ["m3", "m7"])
        for number in kept:
            recorder.gates[number].callback(None)
        for gate in recorder.gates[12:]:
            gate.callback(None)

    async def test_acknowledged_when_the_handler_returns(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        consumer = bus.consume("Q", recorder)
        await bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1"])
        await consumer.cancel()
        self.cut(bus)
        self.assertEqual(await self.ready_ids(), [])

    async def test_handler_that_returns_a_deferred(self) -> None:
        bus = await self.connected_bus()
        seen: list[str] = []

        def handler(delivery: Delivery) -> Deferred[None]:
            seen.append(delivery.message_id)
            return pause(0.05)

        consumer = bus.consume("Q", handler)
        await bus.publish(message(1))
        await until(lambda: seen == ["m1"])
        await consumer.cancel()
        self.assertEqual(consumer.in_flight, 0)
        self.cut(bus)
        self.assertEqual(await self.ready_ids(), [])

    async def test_bad_message_is_acknowledged(self) -> None:
        bus = await self.connected_bus()
        seen: list[str] = []

        async def handler(delivery: Delivery) -> None:
            seen.append(delivery.message_id)
            if delivery.message_id == "m1":
                raise BadMessage("planted")
            await pause(0)
            raise BadMessage("planted, later")

        consumer = bus.consume("Q", handler)
        await bus.publish(message(1))
        await bus.publish(message(2))
        await until(lambda: seen == ["m1", "m2"])
        await consumer.cancel()
        self.assertEqual(await self.ready_ids(), [])

    async def test_handler_that_fails(self) -> None:
        bus = await self.connected_bus()
        seen: list[tuple[float, Delivery]] = []

        async def handler(delivery: Delivery) -> None:
            seen.append((reactor.seconds(), delivery))
            if delivery.message_id == "m1" and not delivery.redelivered:
                raise ValueError("planted")

        consumer = bus.consume("Q", handler)
        await bus.publish(message(1))
        await bus.publish(message(2))
        await until(lambda: len(seen) == 3)
        self.assertEqual([delivery.message_id for _, delivery in seen], ["m1", "m2", "m1"])
        self.assertEqual([delivery.redelivered for _, delivery in seen], [False, False, True])
        waited = seen[2][0] - seen[0][0]
        self.assertTrue(0.4 < waited < 3.0, waited)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        await consumer.cancel()
        self.assertEqual(await self.ready_ids(), [])

    async def test_handler_that_is_no_coroutine_and_fails(self) -> None:
        bus = await self.connected_bus()
        seen: list[str] = []

        def handler(delivery: Delivery) -> Deferred[None]:
            seen.append(delivery.message_id)
            raise ValueError("planted")

        consumer = bus.consume("Q", handler)
        await bus.publish(message(1))
        await until(lambda: seen)
        await consumer.cancel()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(await self.ready_ids(), ["m1"])

    async def test_redelivered_when_the_link_is_lost(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        recorder.closed = True
        consumer = bus.consume("Q", recorder, prefetch=2)
        await gatherResults([bus.publish(message(number)) for number in range(4)])
        await until(lambda: recorder.ids == ["m0", "m1"])
        self.cut(bus)
        await until(lambda: not bus.connected)
        await bus.when_connected()
        await pause(0.2)
        self.assertEqual(recorder.ids, ["m0", "m1"])
        self.assertEqual(consumer.in_flight, 2)
        recorder.open()
        await until(lambda: len(recorder.ids) == 6)
        self.assertEqual(recorder.ids[2:], ["m0", "m1", "m2", "m3"])
        self.assertEqual([d.redelivered for d in recorder.deliveries], [False, False, True, True, False, False])
        self.assertEqual(recorder.most_busy, 2)
        await consumer.cancel()
        self.assertEqual(await self.ready_ids(), [])

    async def test_two_consumers_share_a_queue(self) -> None:
        first, second = Recorder(), Recorder()
        one = await self.connected_bus()
        two = await self.connected_bus()
        one.consume("Q", first, prefetch=1)
        two.consume("Q", second, prefetch=1)
        await pause(0.1)
        await gatherResults([one.publish(message(number)) for number in range(20)])
        await until(lambda: len(first.ids) + len(second.ids) == 20)
        self.assertEqual(sorted(first.ids + second.ids), sorted(f"m{number}" for number in range(20)))
        self.assertTrue(first.ids and second.ids)

    async def test_consume_before_start(self) -> None:
        recorder = Recorder()
        bus = self.make_bus()
        bus.declare(ONE_QUEUE)
        bus.consume("Q", recorder)
        bus.start()
        await bus.when_connected()
        await bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1"])

    async def test_queue_deleted(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1"])
        await self.delete_queue("Q")
        deadline = reactor.seconds() + PATIENCE_SECONDS
        while "m2" not in recorder.ids and reactor.seconds() < deadline:
            published = bus.publish(Outgoing("会管.EX", "键", b"", "m2"))
            await published.addErrback(lambda failure: failure.trap(Unroutable, Unconfirmed, NotConnected))
            await pause(0.05)
        self.assertIn("m2", recorder.ids)

    async def test_body_too_large(self) -> None:
        bus = await self.connected_bus(max_unconfirmed_bytes=2**30)
        recorder = Recorder()
        bus.consume("Q", recorder)
        pattern = bytes(range(251))
        body = (pattern * (MAX_BODY_BYTES // 251 + 2))[: MAX_BODY_BYTES + 1]
        await bus.publish(message(1, body=body))
        await bus.publish(message(2, body=body[:-1]))
        await bus.publish(message(3, body=b""))
        await until(lambda: len(recorder.ids) == 3)
        large, whole, empty = recorder.deliveries
        self.assertEqual(large.too_large_bytes, MAX_BODY_BYTES + 1)
        self.assertTrue(large.body == body[:KEPT_OF_TOO_LARGE])
        self.assertEqual(whole.too_large_bytes, 0)
        self.assertTrue(whole.body == body[:-1])
        self.assertEqual(empty.body, b"")

    # Cancelling

    async def test_cancel_waits_for_the_last_delivery(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        recorder.closed = True
        consumer = bus.consume("Q", recorder, prefetch=2)
        await gatherResults([bus.publish(message(number)) for number in range(4)])
        await until(lambda: len(recorder.ids) == 2)
        cancelled = consumer.cancel()
        await pause(0.1)
        self.assertNoResult(cancelled)
        recorder.gates.pop().callback(None)
        await pause(0.1)
        self.assertNoResult(cancelled)
        recorder.gates.pop().callback(None)
        await cancelled
        self.assertEqual(consumer.in_flight, 0)
        await bus.stop()
        self.assertEqual(recorder.ids, ["m0", "m1"])
        self.assertEqual(await self.ready_ids(), ["m2", "m3"])

    async def test_cancel_twice(self) -> None:
        bus = await self.connected_bus()
        consumer = bus.consume("Q", Recorder())
        await gatherResults([consumer.cancel(), consumer.cancel()])
        await consumer.cancel()

    async def test_cancelled_for_good(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        consumer = bus.consume("Q", recorder)
        await pause(0.1)
        await consumer.cancel()
        self.cut(bus)
        await until(lambda: not bus.connected)
        await bus.when_connected()
        await bus.publish(message(1))
        await pause(0.1)
        self.assertEqual(recorder.ids, [])

    async def test_cancel_without_a_link(self) -> None:
        bus = self.make_bus()
        consumer = bus.consume("Q", Recorder())
        await consumer.cancel()
        bus.declare(ONE_QUEUE)
        bus.start()
        await bus.when_connected()
        await bus.publish(message(1))
        self.assertEqual(await self.ready_ids(), ["m1"])

    async def test_cancel_while_the_link_is_lost(self) -> None:
        bus = await self.connected_bus()
        recorder = Recorder()
        recorder.closed = True
        consumer = bus.consume("Q", recorder)
        await bus.publish(message(1))
        await until(lambda: recorder.ids)
        self.silence()
        cancelled = consumer.cancel()
        self.cut(bus)
        await pause(0.05)
        self.assertNoResult(cancelled)
        recorder.open()
        await cancelled
        self.speak()
        self.assertEqual(await self.ready_ids(), ["m1"])

    async def test_cancel_while_a_failed_delivery_waits(self) -> None:
        bus = await self.connected_bus()
        seen: list[str] = []

        async def handler(delivery: Delivery) -> None:
            seen.append(delivery.message_id)
            raise ValueError("planted")

        consumer = bus.consume("Q", handler)
        await bus.publish(message(1))
        await until(lambda: seen)
        await consumer.cancel()
        self.assertEqual(await self.ready_ids(), ["m1"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(seen, ["m1"])
