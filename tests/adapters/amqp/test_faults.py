"""What goes wrong between a bus and a real RabbitMQ, and that it comes back by itself."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.adapters.amqp.content import DeliveryChannel
from css.ports.bus import Binding, BusError, BusFull, Outgoing, Queue, Topology, Unconfirmed
from tests.adapters.amqp.fixture import BrokerCase, Logged
from tests.adapters.amqp.raw import on_channel
from tests.contracts.bus_case import Recorder, message, pause, reactor, until
from tests.servers.process import free_port

QUEUE = Topology(("EX",), (Queue("Q"),), (Binding("Q", "EX", "k"),))


class Faults(BrokerCase):
    async def ready_bus(self, topology: Topology = QUEUE, **settings: Any) -> AmqpBus:
        bus = self.make_bus(**settings)
        bus.declare(topology)
        bus.start()
        await bus.when_connected()
        return bus

    async def test_reset_between_publish_and_confirm(self) -> None:
        bus = await self.ready_bus()
        recorder = Recorder()
        other = self.make_bus(direct=True)
        other.consume("Q", recorder)
        other.start()
        await other.when_connected()
        self.proxy.hold(answers=True)
        published = bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1"])
        self.assertNoResult(published)
        self.proxy.cut()
        self.proxy.hold()
        await self.assertFailure(published, Unconfirmed)
        await bus.when_connected()
        await bus.publish(message(1))
        await until(lambda: recorder.ids == ["m1", "m1"])

    async def test_cut_every_few_messages(self) -> None:
        """A stream with cuts in it: what was not confirmed is published again, and nothing is lost."""
        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder, prefetch=50)
        lost: list[int] = []

        async def insist(number: int) -> None:
            while True:
                try:
                    await bus.publish(message(number))
                    return
                except BusError:
                    lost.append(number)
                    await bus.when_connected()

        for start in range(0, 1000, 100):
            publishes = [insist(number) for number in range(start, start + 100)]
            sent = gatherResults([Deferred.fromCoroutine(one) for one in publishes])
            reactor.callLater(0.002 * (start % 300) / 100, self.proxy.cut)
            await sent
        await until(lambda: len(set(recorder.ids)) == 1000)
        self.assertEqual(set(recorder.ids), {f"m{number}" for number in range(1000)})
        self.assertTrue(lost, "no cut met a publish: nothing was tried")

    async def test_channel_closed(self) -> None:
        logged = Logged(self)
        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await bus.publish(message(1))
        await until(lambda: recorder.ids)
        assert bus._link is not None
        channels = [one for one in bus._link.receivers.values() if isinstance(one, DeliveryChannel)]
        channels[0].acknowledge(999)
        await until(lambda: not bus.connected)
        await bus.when_connected()
        await bus.publish(message(2))
        await until(lambda: recorder.ids == ["m1", "m2"])
        self.assertIn("PRECONDITION_FAILED", logged.lines("Link lost")[0])

    async def test_consume_what_is_not_there(self) -> None:
        logged = Logged(self)
        bus = self.make_bus()
        recorder = Recorder()
        bus.consume("没有", recorder)
        bus.start()
        await until(lambda: len(logged.lines("no queue '没有'")) >= 3, "it says so, and tries again")
        self.assertFalse(bus.connected)
        bus.declare(Topology(queues=(Queue("没有"),)))
        await bus.when_connected()
        await bus.publish(message(1, "没有"))
        await until(lambda: recorder.ids == ["m1"])

    async def test_binding_that_is_refused(self) -> None:
        logged = Logged(self)
        bus = self.make_bus()
        bus.declare(Topology(queues=(Queue("Q"),), bindings=(Binding("Q", "无EX", "k"),)))
        bus.start()
        await until(lambda: len(logged.lines("can't be bound to 无EX")) >= 2)
        self.assertFalse(bus.connected)

    async def test_other_arguments(self) -> None:
        def declare(channel: Any) -> None:
            channel.queue_declare("Q", durable=True, arguments={"x-max-length": 7})
            channel.queue_declare("Q2", durable=False, auto_delete=False)
            channel.exchange_declare("EX", "topic", durable=False)

        await on_channel(self.host, self.broker_port, self.vhost, declare)
        recorder = Recorder()
        topology = Topology(("EX", "EX2"), (Queue("Q"), Queue("Q2"), Queue("Q3")), (Binding("Q", "EX", "a.b"),))
        bus = await self.ready_bus(topology)
        for queue in ("Q", "Q2", "Q3"):
            bus.consume(queue, recorder)
        await bus.publish(Outgoing("EX", "a.b", b"", "m1"))
        await bus.publish(message(2, "Q2"))
        await bus.publish(message(3, "Q3"))
        await until(lambda: recorder.ids == ["m1", "m2", "m3"])
        self.assertEqual(self.proxy.accepted, 1)

    async def test_exclusive_queue_of_a_link_that_the_broker_still_believes_in(self) -> None:
        logged = Logged(self)
        bus = await self.ready_bus(Topology(queues=(Queue("own", exclusive=True),)))
        recorder = Recorder()
        bus.consume("own", recorder)
        await pause(0.05)
        self.proxy.cut_clients()
        old = list(self.proxy.pairs)
        await until(lambda: logged.lines("RESOURCE_LOCKED"))
        self.assertFalse(bus.connected)
        for pair in old:
            pair.abort()
        await bus.when_connected()
        await bus.publish(message(1, "own"))
        await until(lambda: recorder.ids == ["m1"])

    async def test_stopped_while_a_queue_is_locked(self) -> None:
        logged = Logged(self)
        topology = Topology(queues=(Queue("own", exclusive=True),))
        await self.ready_bus(topology)
        second = self.make_bus()
        second.declare(topology)
        second.start()
        await until(lambda: logged.lines("RESOURCE_LOCKED"))
        started = time.monotonic()
        await second.stop()
        self.assertLess(time.monotonic() - started, 2)

    async def test_dead_peer(self) -> None:
        bus = await self.ready_bus(heartbeat_seconds=1)
        logged = Logged(self)
        self.proxy.hold(answers=True, requests=True)
        started = time.monotonic()
        await until(lambda: not bus.connected)
        self.assertTrue(1 < time.monotonic() - started < 4)
        self.assertTrue(logged.lines("silent for 2 seconds"))
        self.proxy.cut()
        self.proxy.hold()
        await bus.when_connected()

    async def test_idle_link_stays(self) -> None:
        bus = await self.ready_bus(heartbeat_seconds=1)
        await pause(3.5)
        self.assertTrue(bus.connected)
        self.assertEqual(self.proxy.accepted, 1)
        self.assertLess(bus.last_round_trip_seconds_ago(), 1.2)

    async def test_hangs_when_connecting(self) -> None:
        logged = Logged(self)
        self.proxy.hold(answers=True)
        bus = self.make_bus(connect_timeout_seconds=0.3)
        bus.start()
        await until(lambda: len(logged.lines("no answer in 0.3 seconds")) >= 2)
        self.assertGreaterEqual(self.proxy.accepted, 2)
        self.proxy.hold()
        await bus.when_connected()

    async def test_next_address(self) -> None:
        logged = Logged(self)
        dead = AmqpAddress(self.host, free_port(), self.vhost)
        bus = self.bus_to(dead, AmqpAddress(self.host, self.proxy.port, self.vhost))
        bus.start()
        await bus.when_connected()
        self.assertEqual(len(logged.lines("Cannot connect to")), 1)
        self.assertIn("refused", logged.lines("Cannot connect to")[0])

    async def test_wrong_password(self) -> None:
        logged = Logged(self)
        bus = self.bus_to(AmqpAddress(self.host, self.proxy.port, self.vhost, "guest", "geheim"))
        bus.start()
        await until(lambda: len(logged.lines("ACCESS_REFUSED")) >= 3, "it says so, and tries again")
        self.assertFalse(bus.connected)
        self.assertEqual(logged.lines("geheim"), [])

    async def test_unknown_vhost(self) -> None:
        logged = Logged(self)
        bus = self.bus_to(AmqpAddress(self.host, self.proxy.port, "无"))
        bus.start()
        await until(lambda: len(logged.lines("无 not found")) >= 2)
        self.assertFalse(bus.connected)

    async def test_back_pressure(self) -> None:
        """A broker that does not read: at most the bound is buffered; later all of it arrives, in order."""
        bus = await self.ready_bus(max_unconfirmed_bytes=20_000_000)
        assert bus._link is not None
        for pair in self.proxy.pairs:
            pair.sides[True].transport.pauseProducing()
        publishes: list[Deferred[None]] = []
        while True:
            published = bus.publish(message(len(publishes), body=bytes(100_000)))
            if published.called:
                await self.assertFailure(published, BusFull)
                break
            publishes.append(published)
            if len(publishes) % 10 == 0:
                await pause(0.001)
        self.assertEqual(len(publishes), 200)
        await until(lambda: bus._link is not None and bus._link.output.full)
        for pair in self.proxy.pairs:
            pair.sides[True].transport.resumeProducing()
        await gatherResults(publishes)
        recorder = Recorder()
        bus.consume("Q", recorder)
        await until(lambda: len(recorder.ids) == 200)
        self.assertEqual(recorder.ids, [f"m{number}" for number in range(200)])

    async def test_log_in_an_operators_words(self) -> None:
        logged = Logged(self)
        bus = await self.ready_bus()
        self.proxy.cut()
        await until(lambda: not bus.connected)
        await bus.when_connected()
        connects = logged.lines("connected to amqp://guest@127.0.0.1")
        self.assertEqual(len(connects), 2)
        self.assertIn("1 queues declared, 0 consumers", connects[0])
        (lost,) = logged.lines("Link lost to amqp://guest@127.0.0.1")
        self.assertRegex(lost, r"trying again in 0\.\d s$")
