"""Handing a request over to the platform on which its conference runs (contract, "Forwarding"; seed 2.3.3)."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from css.handlers import addresses as to
from css.handlers.probes import Probe, no_probe
from css.handlers.tally import Tally
from css.ports.bus import BusError, Delivery, IBus, Outgoing, Unroutable

ORIGIN = "x-css-origin"
"""Header: moid of the platform on whose broker the request is answered."""
HOP = "x-css-hop"
"""Header: 1 on what has been forwarded, and so is never forwarded again."""
RETRY_PAUSE_SECONDS = 0.2


def has_hopped(delivery: Delivery) -> bool:
    """Whether another platform's CSS has forwarded it."""
    return HOP in delivery.headers


def origin_of(delivery: Delivery) -> str:
    """Moid of the platform on whose broker a request is answered; empty: the own one."""
    origin = delivery.headers.get(ORIGIN)
    return origin if has_hopped(delivery) and isinstance(origin, str) else ""


class Forwarding:
    """Publishes to other platforms' CSS. It needs no memory: what is not acknowledged comes again, and the other
    platform knows the same request again.

    @param peers: the other platforms' brokers by moid.
    @param patience_seconds: how long a request whose fate is unknown is sent again.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        own: str,
        peers: Mapping[str, IBus],
        tally: Tally,
        patience_seconds: float,
        probe: Probe = no_probe,
    ) -> None:
        self._reactor = reactor
        self._own = own
        self._peers = peers
        self._tally = tally
        self._patience_seconds = patience_seconds
        self._probe = probe

    async def forward(self, delivery: Delivery, platform: str) -> bool:
        """Forward a delivery as it is. @return: whether that platform's broker has it.

        Without a link that is known at once. If the link is lost in mid-way, it is sent again until it is known.
        """
        give_up_at = self._reactor.seconds() + self._patience_seconds
        message = self._forwarded(delivery)
        unsure = False
        while True:
            bus = self._peers.get(platform)
            if bus is None or not (bus.connected or unsure):
                return self._failed(platform, "no link")
            self._probe("forward", "before_publish")
            try:
                await bus.publish(message)
            except Unroutable:
                return self._failed(platform, "no CSS has ever been there")
            except BusError as error:
                unsure = True
                if self._reactor.seconds() >= give_up_at:
                    return self._failed(platform, str(error))
                await deferLater(self._reactor, RETRY_PAUSE_SECONDS)
            else:
                self._probe("forward", "after_confirm")
                self._tally.count("forwarded")
                return True

    def _forwarded(self, delivery: Delivery) -> Outgoing:
        return Outgoing(
            *to.TO_PEER_CSS,
            delivery.body,
            delivery.message_id,
            delivery.correlation_id,
            delivery.reply_to,
            headers={**delivery.headers, ORIGIN: self._own, HOP: 1},
        )

    def _failed(self, platform: str, reason: str) -> bool:
        self._tally.count("forwards_failed")
        self.log.info("{platform} can't be reached: {reason}", platform=platform, reason=reason)
        return False
