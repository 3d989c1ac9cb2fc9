"""A RabbitMQ of the test's own: killed, restarted, short of memory, with other accounts."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.ports.bus import Binding, BusError, BusFull, Outgoing, Queue, Topology
from tests.adapters.amqp.fixture import BrokerCase, Logged
from tests.adapters.amqp.raw import on_channel
from tests.contracts.bus_case import Recorder, message, pause, until
from tests.servers import RabbitMQServer, servers

TOPOLOGY = Topology(("EX",), (Queue("Q"), Queue("own", exclusive=True)), (Binding("Q", "EX", "k"),))
LOW, USUAL = "0.00000001", "0.4"


class OwnBroker(BrokerCase):
    timeout = 120

    server: RabbitMQServer

    async def setUp(self) -> None:  # type: ignore[override]
        self.buses = []
        self.server = await deferToThread(servers().private_rabbitmq)
        self.addCleanup(deferToThread, self.server.close)
        self.host, self.broker_port, self.vhost = self.server.host, self.server.port, "/"
        await self.listen_at_proxy(None)

    async def ready_bus(self) -> AmqpBus:
        bus = self.make_bus(direct=True)
        bus.declare(TOPOLOGY)
        bus.start()
        await bus.when_connected()
        return bus

    @staticmethod
    def is_longer(sent: list[str], length: int) -> bool:
        return len(sent) > length

    async def control(self, *arguments: str) -> str:
        return await deferToThread(self.server.control, *arguments)

    async def test_killed_and_restarted(self) -> None:
        """During a stream: nothing confirmed is lost, what is not confirmed is sent again, consumers come back."""
        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        bus.consume("own", recorder)
        sent: list[str] = []
        stop: list[bool] = []

        async def insist(one: Outgoing) -> None:
            while True:
                try:
                    await bus.publish(one)
                    sent.append(one.message_id)
                    return
                except BusError:
                    await bus.when_connected()

        async def stream() -> None:
            number = 0
            while not stop:
                await insist(Outgoing("EX", "k", b"{}", f"s{number}"))
                number += 1
                await pause(0.002)

        streaming = Deferred.fromCoroutine(stream())
        await until(lambda: len(sent) > 100)
        for way in (self.server.kill, self.server.stop):
            await deferToThread(way)
            await until(lambda: not bus.connected)
            await pause(0.5)
            await deferToThread(self.server.start)
            await bus.when_connected()
            more = len(sent) + 100
            await until(partial(self.is_longer, sent, more))
        stop.append(True)
        await streaming
        await until(lambda: set(recorder.ids) >= set(sent))
        await bus.publish(message(1, "own"))
        await until(lambda: "m1" in recorder.ids)
        self.assertEqual(set(recorder.ids), {*sent, "m1"})
        self.assertEqual([each.queue for each in recorder.deliveries if each.message_id == "m1"], ["own"])

    async def test_what_an_administrator_does(self) -> None:
        bus = await self.ready_bus()
        recorder = Recorder()
        bus.consume("Q", recorder)
        await self.memory_alarm(bus, recorder)
        await self.all_connections_closed(bus, recorder)
        await self.account_made_later()
        await self.account_that_may_declare_nothing(bus)

    async def memory_alarm(self, bus: AmqpBus, recorder: Recorder) -> None:
        logged = Logged(self)
        await self.control("set_vm_memory_high_watermark", LOW)
        early = bus.publish(message(1))
        await until(lambda: bus.blocked)
        self.assertTrue(bus.connected)
        self.assertNoResult(early)
        await self.assertFailure(bus.publish(message(2)), BusFull)
        self.assertIn("low on memory", logged.lines("takes no messages")[0])
        await self.control("set_vm_memory_high_watermark", USUAL)
        await early
        await until(lambda: not bus.blocked)
        await bus.publish(message(3))
        await until(lambda: recorder.ids == ["m1", "m3"])
        self.assertTrue(logged.lines("takes messages again"))

    async def all_connections_closed(self, bus: AmqpBus, recorder: Recorder) -> None:
        logged = Logged(self)
        states: list[bool] = []
        bus.on_state_change(states.append)
        await self.control("close_all_connections", "weekend")
        await until(lambda: states == [False, True])
        self.assertIn("weekend", logged.lines("Link lost")[0])
        await bus.publish(message(4))
        await until(lambda: "m4" in recorder.ids)

    async def account_made_later(self) -> None:
        logged = Logged(self)
        bus = self.bus_to(AmqpAddress(self.host, self.broker_port, "/", "css", "新密码"))
        bus.start()
        await until(lambda: len(logged.lines("ACCESS_REFUSED")) >= 2)
        await self.control("add_user", "css", "新密码")
        await until(lambda: logged.lines("access to vhost"))
        await self.control("set_permissions", "css", "^css", ".*", ".*")
        await bus.when_connected()

    async def account_that_may_declare_nothing(self, other: AmqpBus) -> None:
        """What is there is used as it is; what is not there can't be created, which is said and tried again."""
        await other.publish(message(5))
        bus = self.bus_to(AmqpAddress(self.host, self.broker_port, "/", "css", "新密码"))
        bus.declare(Topology(("EX",), (Queue("Q"),)))
        bus.start()
        await bus.when_connected()
        await bus.publish(message(6))
        await bus.stop()
        logged = Logged(self)
        bus = self.bus_to(AmqpAddress(self.host, self.broker_port, "/", "css", "新密码"))
        bus.declare(Topology(queues=(Queue("neu"),)))
        bus.start()
        await until(lambda: len(logged.lines("queue neu can't be declared: ACCESS_REFUSED")) >= 2)
        await on_channel(self.host, self.broker_port, "/", lambda channel: channel.queue_declare("neu", durable=True))
        await bus.when_connected()
