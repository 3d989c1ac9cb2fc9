"""Answers about conferences of another platform, whose Redis is away, must not hold up what is behind them."""

from __future__ import annotations

from collections.abc import Mapping

from css.domain.conference import parse_placement
from css.handlers.clocks import StoreClocks
from css.handlers.dispatch import MessageHandler
from css.handlers.tally import Tally
from css.messages.base import Message
from css.ports.bus import Delivery
from css.ports.store import IConferenceStore, StoreError

MOST_WAITING = 5
"""How many such answers of one queue wait at a time, at most half of what it may have in flight (`[amqp] prefetch`)."""
PAUSE_MS = 1_500
"""How long one that was given back is out of sight at most."""


class OthersAnswers:
    """Gives a few of them back while that Redis is away, and drops the rest.

    What is dropped is known again: an MCU lists what it has started, and what is silent has a deadline.

    @param own: moid of the own platform, without whose Redis nothing is done anyway: while that is away all wait.
    @param stores: the stores of the own and the possible platforms, by moid.
    """

    def __init__(self, own: str, stores: Mapping[str, IConferenceStore], clocks: StoreClocks, tally: Tally) -> None:
        self._own = own
        self._stores = stores
        self._clocks = clocks
        self._tally = tally
        self._given_back_ms: list[int] = []

    def guarded(self, handler: MessageHandler) -> MessageHandler:
        """The same handler for answers whose correlation id names a placement."""

        async def handle(message: Message, delivery: Delivery) -> None:
            try:
                await handler(message, delivery)
            except StoreError:
                placement = parse_placement(delivery.correlation_id)
                if placement is None or placement[0] == self._own or self._is_own_away() or self._may_wait():
                    raise
                self._tally.count("others_answers_dropped")

        return handle

    def _is_own_away(self) -> bool:
        store = self._stores.get(self._own)
        return store is None or not store.available

    def _may_wait(self) -> bool:
        now_ms = self._clocks.local_ms()
        self._given_back_ms = [at_ms for at_ms in self._given_back_ms if now_ms - at_ms < PAUSE_MS]
        if len(self._given_back_ms) >= MOST_WAITING:
            return False
        self._given_back_ms.append(now_ms)
        return True
