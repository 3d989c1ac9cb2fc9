"""Handing a request over to the platform on which its conference runs (contract, "Forwarding"; seed 2.3.3)."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from css.domain.conference import Requester
from css.handlers import addresses as to
from css.handlers.doubtful import Doubtful, Refusal
from css.handlers.hops import HOP, ORIGIN
from css.handlers.probes import Probe, no_probe
from css.handlers.tally import Tally
from css.handlers.trails import Trail, Trails
from css.ports.bus import BusError, Delivery, IBus, NotConnected, Outgoing, Unroutable


class Forwarding:
    """Publishes to other platforms' CSS. What is not acknowledged comes again, and the other platform knows the same
    request again; that it was handed on is remembered, and what is in doubt.

    @param peers: the other platforms' brokers by moid.
    @param trails: remembers which requests were handed on.
    @param doubtful: keeps what may, or may not, have got there.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        peers: Mapping[str, IBus],
        tally: Tally,
        trails: Trails,
        doubtful: Doubtful,
        probe: Probe = no_probe,
    ) -> None:
        self._own = own
        self._peers = peers
        self._tally = tally
        self._trails = trails
        self._doubtful = doubtful
        self._probe = probe

    async def forward(
        self, delivery: Delivery, e164: str, platform: str, refusal: Refusal | None = None, waits: bool = False
    ) -> bool:
        """Forward a delivery as it is. Fails with `StoreError`.

        Without a link that it can't be done is known at once. If the link is lost in mid-way nobody knows whether it
        has got there: it is sent again until that is known, and a requester is refused only when it is given up. One
        that comes again is not forwarded by this but by `again`.

        @param refusal: what its requester is told then; None: nobody awaits an answer.
        @param waits: without a link it waits for one, as long.
        @return: whether that platform's broker has it, or will have it if it can be.
        """
        bus, message = self._peers.get(platform), self._forwarded(delivery)
        if bus is None or not (bus.connected or waits):
            return self._failed(platform, "no link")
        requester = refusal.requester if refusal is not None and refusal.certain else None
        if requester is not None:
            await self._trails.leave(requester, Trail(platform, True))
        self._probe("forward", "before_publish")
        try:
            await bus.publish(message)
        except Unroutable:
            if requester is not None:
                await self._trails.take_back(requester, Trail(platform, True))
            return self._failed(platform, "no CSS has ever been there")
        except BusError:
            await self._doubtful.keep(e164, platform, message, refusal)
        else:
            self._probe("forward", "after_confirm")
            await self._there(requester, platform)
        return True

    async def again(self, delivery: Delivery, e164: str, trail: Trail, refusal: Refusal) -> None:
        """Hand a request over once more to the platform that has had it, or may have: it repeats its answer. Fails with
        `StoreError`.

        @param refusal: what its requester is told if it has perhaps never got there, and does not within a while.
        """
        bus, message = self._peers.get(trail.platform), self._forwarded(delivery)
        try:
            if bus is None:
                raise NotConnected(f"no link to {trail.platform}")
            await bus.publish(message)
        except BusError:
            await self._doubtful.keep(e164, trail.platform, message, None if trail.reached else refusal)
        else:
            await self._there(None if trail.reached else refusal.requester, trail.platform)

    async def _there(self, requester: Requester | None, platform: str) -> None:
        self._tally.count("forwarded")
        if requester is not None:
            await self._trails.reached(requester, platform)

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
