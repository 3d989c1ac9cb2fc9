"""The process that `benchmarks.amqp` measures: `python -m benchmarks.echo css|pika URL MESSAGES PREFETCH`.

It consumes `bench.in`, publishes each message to `bench.out`, and acknowledges it when that is confirmed. From the
first delivery asked for to the last acknowledgement it counts the CPU that it uses itself, and prints that as JSON.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pika
from pika.adapters.twisted_connection import TwistedProtocolConnection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.task import react

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.bus import AmqpBus
from css.ports.bus import Delivery, Outgoing

QUEUE_IN, QUEUE_OUT = "bench.in", "bench.out"
HEADERS = {"x-css-epoch": 1835008000126469, "x-css-version": 1}


class Stretch(msgspec.Struct):
    """What was measured."""

    messages: int
    seconds: float
    cpu_seconds: float
    """In user and in kernel mode."""


class Meter:
    """Counts messages; `done` fires at the last one."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        self.done: Deferred[None] = Deferred()
        self._left = messages
        self._began = time.monotonic()
        self._cpu_seconds = _cpu_seconds()

    def count(self) -> None:
        """One more has been published and confirmed."""
        self._left -= 1
        if not self._left:
            self.done.callback(None)

    def stretch(self) -> Stretch:
        """@return: what has been used since the beginning."""
        return Stretch(self.messages, time.monotonic() - self._began, _cpu_seconds() - self._cpu_seconds)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def by_css(reactor: Any, url: str, messages: int, prefetch: int) -> Stretch:
    """Through the port, as CSS's handlers do it."""
    bus = AmqpBus(reactor, [AmqpAddress.from_url(url)], name="bench")
    bus.start()
    await bus.when_connected()
    meter = Meter(messages)

    async def handle(delivery: Delivery) -> None:
        await bus.publish(
            Outgoing(
                "",
                QUEUE_OUT,
                delivery.body,
                delivery.message_id,
                delivery.correlation_id,
                delivery.reply_to,
                headers=HEADERS,
            )
        )
        meter.count()

    consumer = bus.consume(QUEUE_IN, handle, prefetch)
    await meter.done
    await consumer.cancel()
    stretch = meter.stretch()
    await bus.stop()
    return stretch


async def by_pika(reactor: Any, url: str, messages: int, prefetch: int) -> Stretch:
    """As pika's documentation does it, with a channel to consume and one to publish."""
    parameters = pika.URLParameters(url)
    endpoint = HostnameEndpoint(reactor, parameters.host, parameters.port)
    connection = await connectProtocol(endpoint, TwistedProtocolConnection(parameters))
    await connection.ready
    publishing = await connection.channel()
    await publishing.confirm_delivery()
    consuming = await connection.channel()
    await consuming.basic_qos(prefetch_count=prefetch)
    meter = Meter(messages)

    def take(delivery: Any) -> None:
        _, method, received, body = delivery
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            headers=HEADERS,
            message_id=received.message_id,
            correlation_id=received.correlation_id,
            reply_to=received.reply_to,
        )
        published = publishing.basic_publish("", QUEUE_OUT, body, properties, mandatory=True)
        _ = published.addCallback(acknowledge, method.delivery_tag)
        _ = queue.get().addCallback(take)

    def acknowledge(_: object, tag: int) -> None:
        consuming.basic_ack(tag)
        meter.count()

    queue, consumer_tag = await consuming.basic_consume(QUEUE_IN)
    _ = queue.get().addCallback(take)
    await meter.done
    await consuming.basic_cancel(consumer_tag)
    stretch = meter.stretch()
    await connection.close()
    return stretch


WAYS: dict[str, Callable[[Any, str, int, int], Awaitable[Stretch]]] = {"css": by_css, "pika": by_pika}


async def _main(reactor: Any, way: str, url: str, messages: str, prefetch: str) -> None:
    stretch = await WAYS[way](reactor, url, int(messages), int(prefetch))
    print(msgspec.json.encode(stretch).decode(), flush=True)


if __name__ == "__main__":
    react(lambda reactor, *arguments: Deferred.fromCoroutine(_main(reactor, *arguments)), sys.argv[1:5])
