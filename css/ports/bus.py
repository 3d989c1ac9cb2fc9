"""The message-bus port: one platform's AMQP broker, as CSS and its peers see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

MAX_BODY_BYTES = 16 * 1024 * 1024
"""A larger body is discarded as it arrives; only `KEPT_OF_TOO_LARGE` bytes of it are delivered."""

KEPT_OF_TOO_LARGE = 64 * 1024


class Outgoing(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One message to publish: final bytes, final address. Always persistent, mandatory and `application/json`."""

    exchange: str
    """Name of the exchange; empty for the default exchange."""
    routing_key: str
    body: bytes
    message_id: str
    correlation_id: str = ""
    reply_to: str = ""
    expiration_ms: int = 0
    """Per-message time to live in milliseconds; 0 for none."""
    headers: dict[str, Any] = {}


class Delivery(msgspec.Struct, gc=False):
    """One message as it was consumed."""

    queue: str
    """The real name of the queue that it was consumed from."""
    body: bytes
    message_id: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    headers: Mapping[str, Any] = {}
    redelivered: bool = False
    too_large_bytes: int = 0
    """The body's real size in bytes, if that exceeded `MAX_BODY_BYTES` and `body` is only its beginning; else 0."""


class Binding(msgspec.Struct, frozen=True):
    """A queue bound to a direct exchange by a routing key."""

    queue: str
    exchange: str
    routing_key: str


class Queue(msgspec.Struct, frozen=True):
    """A queue to declare. Durable, unless exclusive (then auto-delete, one a connection)."""

    name: str
    exclusive: bool = False


class Topology(msgspec.Struct, frozen=True):
    """What a bus declares at each connect, in this order: exchanges (direct, durable), queues, bindings.

    What already exists with other arguments is used as it is. Nothing is ever deleted.
    """

    exchanges: tuple[str, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()


class BusError(Exception):
    """A message was not, or not certainly, taken over by the broker."""


class Unroutable(BusError):
    """The broker returned the message: no queue is bound there. It is certain that nobody has it."""


class NotConnected(BusError):
    """The message was not sent: there is no link to the broker. Try again when there is one."""


class Unconfirmed(BusError):
    """The link was lost, or the broker refused (nack) or kept silent before it confirmed: the outcome is unknown.

    Publish again with the same `message_id`.
    """


class BusFull(BusError):
    """Too many publishes are waiting for their confirm, or the broker blocks publishers: not sent."""


class BadMessage(Exception):
    """Raised by a handler never to see this delivery again: it is acknowledged."""


class TryLater(Exception):
    """Raised by a handler whose dependency is away, and which has said so in the log: the delivery is given back."""


Handler = Callable[[Delivery], Awaitable[None]]


class IConsumer(Interface):
    """A consumer. It outlives the connections that it consumes on."""

    in_flight = Attribute("How many deliveries the handler is busy with, an int.")

    def cancel() -> Deferred[None]:
        """Stop taking deliveries.

        @return: fires when the broker has been told and the last delivery in flight has been handled and
            acknowledged (or its link lost). Never fails.
        """


class IBus(Interface):
    """One broker (or vhost). It connects, and reconnects with jittered back-off, by itself, from `start` to `stop`."""

    connected = Attribute("True while messages can be published: link open, topology declared, confirms on.")
    blocked = Attribute("True while the broker blocks publishers (`connection.blocked`).")

    def start() -> None:
        """Begin to connect. Never fails: reasons why a connect failed are logged."""

    def stop() -> Deferred[None]:
        """Close the link in order and stay disconnected; publishes under way fail with `Unconfirmed`.

        @return: fires when the link is closed. Never fails.
        """

    def when_connected() -> Deferred[None]:
        """@return: fires once `connected` is true; fails with `NotConnected` if the bus is stopped first."""

    def on_state_change(listener: Callable[[bool], None]) -> None:
        """Have `listener(connected)` called at each change of `connected`, for the life of the bus."""

    def declare(topology: Topology) -> None:
        """Add to what is declared at each connect; now too when connected. Failures are logged, and abort the link."""

    def publish(message: Outgoing) -> Deferred[None]:
        """Publish, persistent and mandatory.

        Messages published in one reactor turn leave in the order of the calls.

        @return: fires with None when the broker has confirmed the message. Fails with `Unroutable`, `NotConnected`,
            `Unconfirmed` or `BusFull`.
        """

    def consume(queue: str, handler: Handler, prefetch: int = 20) -> IConsumer:
        """Consume a queue, now and after each reconnect, with manual acknowledgement.

        A delivery is acknowledged when the handler's awaitable returns, or raises `BadMessage`. If it raises anything
        else, that is logged (`TryLater` excepted) and the delivery is given back to the queue after a pause of about a
        second, jittered; so a handler raises when a dependency is away. Deliveries are handed over in order, up to
        `prefetch` of them at the same time. A consumer that the broker cancels, a queue deleted and a channel closed
        by the broker make the bus declare and consume again.
        """

    def last_round_trip_seconds_ago() -> float:
        """@return: seconds since the broker last sent anything (a confirm, delivery, heartbeat); inf if never."""
