"""What the contract of buses is tested with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from css.ports.bus import (
    Binding,
    Delivery,
    Outgoing,
    Queue,
    Topology,
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


class BusCase(TestCase):
    """How a contract's tests make buses and do things to their links; a subclass says it."""

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
