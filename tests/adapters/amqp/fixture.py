"""Buses to real RabbitMQ servers, for tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus, AmqpSettings
from tests.adapters.amqp.proxy import TcpProxy
from tests.contracts.bus_case import reactor
from tests.servers import servers

QUICK: dict[str, Any] = {"reconnect_seconds": (0.05, 0.4)}


class BrokerCase(TestCase):
    """A vhost on the run's RabbitMQ, reached through a proxy of the test's own."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        self.buses: list[AmqpBus] = []
        broker = await deferToThread(servers().rabbitmq)
        self.host, self.broker_port = broker.host, broker.port
        self.vhost = await deferToThread(broker.new_vhost)
        self.addCleanup(broker.drop_vhost, self.vhost)
        await self.set_up_proxy()

    async def set_up_proxy(self) -> None:
        await self.listen_at_proxy(None)

    async def listen_at_proxy(self, tls: Any) -> None:
        """Put a proxy before the broker, with TLS towards the client if that is given."""
        self.proxy = TcpProxy(reactor, self.host, self.broker_port, tls)
        await self.proxy.listen()

    async def tearDown(self) -> None:  # type: ignore[override]
        self.proxy.hold()
        for bus in self.buses:
            await bus.stop()
        await self.proxy.close()

    def make_bus(self, *, direct: bool = False, **settings: Any) -> AmqpBus:
        """A bus, not started; `direct`: past the proxy."""
        port = self.broker_port if direct else self.proxy.port
        return self.bus_to(AmqpAddress(self.host, port, self.vhost), **settings)

    def bus_to(self, *addresses: AmqpAddress, **settings: Any) -> AmqpBus:
        """A bus to any addresses, not started."""
        bus = AmqpBus(reactor, addresses, AmqpSettings(**{**QUICK, **settings}), name="test")
        self.buses.append(bus)
        return bus


@implementer(ILogObserver)
class Logged:
    """What is logged, for the rest of a test."""

    def __init__(self, case: TestCase) -> None:
        self._events: list[LogEvent] = []
        globalLogPublisher.addObserver(self)
        case.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        self._events.append(event)

    def lines(self, part: str = "") -> list[str]:
        """Lines that contain something, in order."""
        lines = [formatEvent(event) for event in self._events]
        return [line for line in lines if part in line]
