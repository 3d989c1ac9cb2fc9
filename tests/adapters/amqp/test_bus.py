"""The bus contract on a real RabbitMQ."""

from __future__ import annotations

from css.adapters.amqp.bus import AmqpBus
from tests.adapters.amqp.fixture import BrokerCase
from tests.adapters.amqp.raw import on_channel
from tests.contracts import bus as contract


class AmqpBusContract(BrokerCase, contract.BusContract):
    """The contract, with links that go through a proxy."""

    def cut(self, bus: AmqpBus) -> None:
        self.proxy.cut()

    def silence(self) -> None:
        self.proxy.hold(answers=True)

    def speak(self) -> None:
        self.proxy.hold()

    async def delete_queue(self, name: str) -> None:
        await on_channel(self.host, self.broker_port, self.vhost, lambda channel: channel.queue_delete(name))
