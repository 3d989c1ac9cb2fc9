"""A bus that is connected to a scripted broker."""

from __future__ import annotations

from typing import Any

from pamqp import commands
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.amqp.framing import ACK_DELAY_SECONDS
from css.ports.bus import (
    Binding,
    Delivery,
    Outgoing,
    Queue,
    Topology,
)
from tests.adapters.amqp.scripted import connected, scripted_bus, settle

Basic, Channel, Connection = commands.Basic, commands.Channel, commands.Connection


class LinkCase(SynchronousTestCase):
    """A bus that consumes `Q`, connected to a scripted broker."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, **bus_settings: Any) -> None:
        self.clock = Clock()
        self.broker, self.bus = scripted_bus(self.clock, **bus_settings)
        self.seen: list[Delivery] = []
        self.gates: list[Deferred[None]] = []
        self.gated = False
        self.bus.declare(Topology(("EX",), (Queue("Q"),), (Binding("Q", "EX", "k"),)))
        self.consumer = self.bus.consume("Q", self.handle, prefetch=20)
        connected(self.clock, self.broker, self.bus)
        self.consuming = self.broker.channel_of(Basic.Consume)
        self.publishing = self.broker.channel_of(commands.Confirm.Select)
        self.broker.frames.clear()
        assert self.broker.transport is not None
        self.transport = self.broker.transport
        self.transport.writes.clear()

    async def handle(self, delivery: Delivery) -> None:
        self.seen.append(delivery)
        if self.gated:
            gate: Deferred[None] = Deferred()
            self.gates.append(gate)
            await gate

    def publish(self, number: int = 1, **fields: Any) -> Deferred[None]:
        return self.bus.publish(Outgoing("EX", "k", b"{}", f"m{number}", **fields))

    def acks(self) -> list[tuple[int, bool]]:
        """Those written, once none waits for company any more."""
        settle(self.clock, ACK_DELAY_SECONDS)
        return [(ack.delivery_tag, ack.multiple) for ack in self.broker.sent(Basic.Ack)]
