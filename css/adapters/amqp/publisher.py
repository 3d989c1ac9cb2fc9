"""The publishing channel of a link, with the broker's confirms and returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from css.adapters.amqp.content import ReturnReceiver
from css.adapters.amqp.frames import NotEncodable, publish_frames, publish_method
from css.adapters.pending import PendingPublishes
from css.ports.bus import Outgoing, Unconfirmed, Unroutable

if TYPE_CHECKING:
    from css.adapters.amqp.framing import FrameProtocol

MAX_ADDRESSES = 2048
"""So many method frames are kept ready; then all are forgotten."""


class Publisher:
    """Publishes in order, and tells each publisher what became of it."""

    def __init__(self, link: FrameProtocol, number: int, pending: PendingPublishes) -> None:
        self.number = number
        self.receiver = ReturnReceiver(self._returned)
        self._link = link
        self._pending = pending
        self._tag = 0
        self._methods: dict[tuple[str, str], bytes] = {}
        self._write: Callable[[bytes], None] = link.write_soon
        self._holders = 0
        self._held: list[bytes] = []

    def publish(self, message: Outgoing) -> Deferred[None]:
        """@return: see `IBus.publish`. @raise ValueError: if the message can't be written as AMQP."""
        address = (message.exchange, message.routing_key)
        method = self._methods.get(address)
        if method is None:
            method = self._new_method(address)
        frames = publish_frames(method, self.number, message, self._link.max_payload)
        self._tag = tag = self._tag + 1
        self._write(frames)
        return self._pending.add(tag, message)

    def hold(self) -> None:
        """Keep publishes back: what they are meant for is being declared."""
        self._holders += 1
        self._write = self._held.append

    def release(self) -> None:
        """Undo one `hold`."""
        self._holders -= 1
        if self._holders == 0:
            self._write = self._link.write_soon
            held, self._held = self._held, []
            for frames in held:
                self._write(frames)

    def confirmed(self, tag: int, multiple: bool) -> None:
        """The broker has taken a publish over, or all up to it."""
        if multiple:
            for deferred in self._pending.take_up_to(tag):
                deferred.callback(None)
        else:
            waiting = self._pending.take(tag)
            if waiting is not None:
                waiting.callback(None)

    def refused(self, tag: int, multiple: bool) -> None:
        """The broker could not take a publish over."""
        pending = self._pending
        for deferred in pending.take_up_to(tag) if multiple else [pending.take(tag)]:
            if deferred is not None:
                deferred.errback(Unconfirmed("the broker refused the message (nack)"))

    def take_unroutable(self, refusal: str) -> list[Deferred[None]]:
        """Forget publishes to an exchange that is not there: the broker closed the channel at the first of them.

        @return: their Deferreds, not fired.
        """
        taken = []
        for exchange in self._pending.exchanges():
            if f"no exchange '{exchange}' in" in refusal:
                taken += self._pending.take_exchange(exchange)
        return taken

    def _returned(self, exchange: str, routing_key: str, message_id: str) -> None:
        deferred = self._pending.take_returned(exchange, routing_key, message_id)
        if deferred is not None:
            deferred.errback(Unroutable(f"no queue for {routing_key!r} of exchange {exchange!r}"))

    def _new_method(self, address: tuple[str, str]) -> bytes:
        if "\0" in address[0]:
            raise NotEncodable("a name with a NUL")
        method = publish_method(self.number, *address)
        if len(self._methods) >= MAX_ADDRESSES:
            self._methods.clear()
        self._methods[address] = method
        return method
