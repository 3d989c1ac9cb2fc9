"""The contract of buses: consuming, and ceasing to."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from css.ports.bus import (
    KEPT_OF_TOO_LARGE,
    MAX_BODY_BYTES,
    BadMessage,
    Delivery,
    NotConnected,
    Outgoing,
    Unconfirmed,
    Unroutable,
)
from tests.contracts.bus_case import ONE_QUEUE, PATIENCE_SECONDS, BusCase, Recorder, message, pause, reactor, until


class ConsumingContract(BusCase):
    """Sentences about `consume` and `IConsumer`."""

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
        self.assertFalse(bus.connected)
        bus.start()
        await bus.when_connected()
        await bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1"])
        self.assertEqual(recorder.deliveries[0], Delivery("Q", b"{}", "m1", "", "", {}, False, 0))

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
        self.assertEqual((consumer.in_flight, bus.connected), (0, True))

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
