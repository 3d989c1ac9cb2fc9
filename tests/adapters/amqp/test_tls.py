"""TLS to a real RabbitMQ, which a proxy with its own certificate stands in front of."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.ports.bus import Queue, Topology
from tests.adapters.amqp.certificates import Authority
from tests.adapters.amqp.fixture import BrokerCase, Logged
from tests.contracts.bus_case import Recorder, message, until


class Tls(BrokerCase):
    async def set_up_proxy(self) -> None:
        """Each test has the proxy that it needs."""
        self.authority = Authority()
        self.ca_file = self.authority.write(Path(self.mktemp()))

    def address(self, ca_file: str, host: str = "127.0.0.1") -> AmqpAddress:
        return AmqpAddress(host, self.proxy.port, self.vhost, tls=True, ca_file=ca_file)

    async def use(self, server: Any, ca_file: str = "", host: str = "127.0.0.1") -> AmqpBus:
        await self.listen_at_proxy(server)
        bus = self.bus_to(self.address(ca_file or self.ca_file, host))
        bus.declare(Topology(queues=(Queue("Q"),)))
        bus.start()
        return bus

    async def refused(self, logged: Logged, bus: AmqpBus, reason: str) -> None:
        """The bus says why, and tries again."""
        await until(lambda: len(logged.lines("trying again")) >= 2, "it tries again")
        self.assertFalse(bus.connected)
        self.assertIn(reason, logged.lines("trying again")[0])

    async def test_good_certificate(self) -> None:
        for host in ("127.0.0.1", "localhost"):
            bus = await self.use(self.authority.server(host), host=host)
            recorder = Recorder()
            consumer = bus.consume("Q", recorder)
            await bus.when_connected()
            payload = bytes(range(256)) * 4000
            await bus.publish(message(1, body=payload))
            await until(partial(len, recorder.deliveries))
            self.assertTrue(recorder.deliveries[0].body == payload)
            await consumer.cancel()
            await bus.stop()
            await self.proxy.close()
            await self.set_up_proxy()
        await self.listen_at_proxy(None)

    async def test_unknown_authority(self) -> None:
        logged = Logged(self)
        bus = await self.use(Authority().server("127.0.0.1"))
        await self.refused(logged, bus, "certificate verify failed")

    async def test_authorities_of_the_system(self) -> None:
        logged = Logged(self)
        await self.listen_at_proxy(self.authority.server("127.0.0.1"))
        bus = self.bus_to(self.address(""))
        bus.start()
        await self.refused(logged, bus, "certificate verify failed")

    async def test_other_host(self) -> None:
        logged = Logged(self)
        bus = await self.use(self.authority.server("other.example"))
        await self.refused(logged, bus, "127.0.0.1")

    async def test_expired(self) -> None:
        logged = Logged(self)
        bus = await self.use(self.authority.server("127.0.0.1", days=-1))
        await self.refused(logged, bus, "certificate verify failed")

    async def test_no_tls_there(self) -> None:
        logged = Logged(self)
        bus = await self.use(None)
        await self.refused(logged, bus, "")

    async def test_no_such_file(self) -> None:
        logged = Logged(self)
        bus = await self.use(None, ca_file="missing.pem")
        await self.refused(logged, bus, "missing.pem")

    async def test_file_without_certificates(self) -> None:
        empty = Path(self.mktemp())
        empty.write_text("nothing\n")
        logged = Logged(self)
        bus = await self.use(self.authority.server("127.0.0.1"), ca_file=str(empty))
        await self.refused(logged, bus, "no certificate")
