"""From a delivery to its handler: size, schema, routing; what is bad is parked and never stops the consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from twisted.logger import Logger

from css.domain.conference import Requester
from css.handlers import addresses as to
from css.handlers.effects import answer_address
from css.handlers.hops import origin_of
from css.handlers.letters import message_id
from css.handlers.outbox import parked
from css.handlers.probes import Probe
from css.handlers.tally import Tally
from css.messages.base import Message
from css.messages.codec import Malformed, decode, nack_for_malformed, wire_type
from css.messages.licences import LicenseRequest
from css.ports.bus import BadMessage, BusError, Delivery, IBus, NotConnected, Outgoing, TryLater, Unroutable
from css.ports.sql import SqlError
from css.ports.store import StoreError, WrongType

MessageHandler = Callable[[Any, Delivery], Awaitable[None]]
Routes = Mapping[type[Message], MessageHandler]


def merge(*families: Routes) -> dict[type[Message], MessageHandler]:
    """One routing table from that of each message family.

    @raise ValueError: two families claim one message.
    """
    merged: dict[type[Message], MessageHandler] = {}
    for routes in families:
        for message, handler in routes.items():
            if message in merged:
                raise ValueError(f"{message.__name__} is routed twice")
            merged[message] = handler
    return merged


class Dispatcher:
    """Hands each delivery to the handler of its message.

    @param peers: the other platforms' brokers by moid: what they have forwarded is refused there.
    @param notice: called with each decoded message before its handler (signs of life).
    """

    log = Logger()

    def __init__(
        self,
        bus: IBus,
        routes: Routes,
        tally: Tally,
        notice: Callable[[Message], None],
        probe: Probe,
        peers: Mapping[str, IBus] = {},
    ) -> None:
        self._bus = bus
        self._peers = peers
        self._routes = routes
        self._tally = tally
        self._notice = notice
        self._away = False
        self._probe = probe

    async def __call__(self, delivery: Delivery) -> None:
        """Handle one delivery. Raises what makes the bus give the delivery back: a dependency is away, or the handler
        has failed for the first time; what fails again is parked, so that it can't stop the consumer."""
        try:
            await self._handle(delivery)
        except (StoreError, BusError, SqlError) as error:
            self._wait_for(error, delivery)
        if self._away:
            self._away = False
            self.log.info("requests are handled again")

    async def _handle(self, delivery: Delivery) -> None:
        if delivery.too_large_bytes:
            await self._park(delivery, "too_large", {"x-css-size": delivery.too_large_bytes})
            return
        try:
            message = decode(delivery.body)
        except Malformed as malformed:
            await self._refuse(delivery, malformed)
            return
        handler = self._routes.get(type(message))
        if handler is None:
            self._tally.count("unexpected")
            await self._park(delivery, f"unknown_type: {wire_type(message)} is nothing that CSS takes")
            return
        self._notice(message)
        try:
            await handler(message, delivery)
        except Exception as error:
            if _may_pass(error) or not delivery.redelivered:
                raise
            await self._give_up(delivery, error)
            return
        self._probe(type(message).__name__, "before_ack")

    async def _give_up(self, delivery: Delivery, error: Exception) -> None:
        """A handler has failed, and not for want of a dependency: a second time would be followed by endless others."""
        self._tally.count("failed_for_good")
        self.log.failure("ALERT: a message of {queue} fails its handler and is parked", queue=delivery.queue)
        await self._park(delivery, f"failed: {type(error).__name__}")

    def _wait_for(self, error: Exception, delivery: Delivery) -> NoReturn:
        """A dependency is away: the delivery goes back. Said once, however many deliveries it stops."""
        self._tally.count("given_back")
        if not self._away:
            self._away = True
            self.log.warn(
                "requests wait in their queues, {queue} first: {error}", queue=delivery.queue, error=str(error)
            )
        raise TryLater(str(error)) from error

    async def _refuse(self, delivery: Delivery, malformed: Malformed) -> None:
        nack = nack_for_malformed(malformed)
        if nack is not None:
            address = _requester_of(malformed, delivery)
            identity = message_id("refused", delivery.message_id, delivery.correlation_id, delivery.body)
            if address is not None:
                await self._tell(Outgoing(*address, nack, identity, delivery.correlation_id), origin_of(delivery))
        await self._park(delivery, malformed.reason)

    async def _tell(self, answer: Outgoing, origin: str) -> None:
        """Publish a refusal, on the broker where it was asked for."""
        bus = self._peers.get(origin) if origin else self._bus
        try:
            if bus is None:
                raise NotConnected(f"no link to {origin}")
            await bus.publish(answer)
        except Unroutable:
            self._tally.count("unroutable_dropped")
        except BusError:
            if not origin:
                raise
            self._tally.count("refusals_lost")

    async def _park(self, delivery: Delivery, reason: str, headers: Mapping[str, object] = {}) -> None:
        self._tally.count("parked")
        self.log.warn("parked a message of {queue}: {reason}", queue=delivery.queue, reason=reason)
        message = Outgoing(
            to.DEFAULT,
            to.PARK_QUEUE,
            delivery.body,
            delivery.message_id,
            delivery.correlation_id,
            delivery.reply_to,
            headers=dict(delivery.headers),
        )
        try:
            await self._bus.publish(parked(message, reason, delivery.queue, **headers))
        except Unroutable:
            # Its own headers can't be sent on (with ours they exceed a frame …): its body matters more than they do.
            self._tally.count("parked_without_headers")
            bare = Outgoing(to.DEFAULT, to.PARK_QUEUE, delivery.body, message_id("bare", delivery.message_id))
            await self._bus.publish(parked(bare, reason, delivery.queue, **headers))


def _may_pass(error: Exception) -> bool:
    """Whether a delivery's handler may do better later, however often it has failed."""
    awaited = isinstance(error, StoreError | BusError | SqlError | TryLater | BadMessage)
    return awaited and not isinstance(error, WrongType)


def _requester_of(malformed: Malformed, delivery: Delivery) -> tuple[str, str] | None:
    """Where a malformed request is answered; None: an MCU has sent it, and does not say which process it is."""
    if malformed.type == wire_type(LicenseRequest) and not delivery.reply_to:
        return to.TO_LICENCE_USERS
    by_mcu = (malformed.type or "").startswith(("MCU_", "CMU_"))
    if delivery.reply_to or not by_mcu:
        requester = Requester(malformed.mtreqid or "", delivery.reply_to, delivery.correlation_id)
        return answer_address(requester)[1]
    if malformed.ip and malformed.pid:
        return to.DEFAULT, to.mcu_queue(malformed.ip, malformed.pid)
    return None
