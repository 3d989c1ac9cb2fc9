"""Declaring a topology on a link, whatever is there already."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from txamqp.client import ChannelClosed

from css.adapters.backoff import Backoff
from css.ports.bus import Binding, Queue, Topology

if TYPE_CHECKING:
    from css.adapters.amqp.link import Link

ACCESS_REFUSED, LOCKED, PRECONDITION_FAILED = 403, 405, 406

Declare = Callable[[Any, bool], Deferred[Any]]
"""Declares something on a channel; the flag: passively, which only asks whether it is there."""


class Refused(Exception):
    """The broker refuses a declaration."""


class Declarer:
    """Declares on channels to throw away: the broker closes the channel with each refusal."""

    log = Logger()

    def __init__(self, link: Link, queue_type: str, random: Random) -> None:
        self._link = link
        self._queue_type = queue_type
        self._random = random
        self._channel: Any = None

    async def declare(self, topology: Topology) -> None:
        """@raise Refused: if something is missing and can't be created, or a binding is refused."""
        for exchange in topology.exchanges:
            await self._ensure(f"exchange {exchange}", self._exchange(exchange))
        for queue in topology.queues:
            await self._ensure(f"queue {queue.name}", self._queue(queue))
        for binding in topology.bindings:
            await self._bind(binding)
        if self._channel is not None:
            await self._link.close_channel(self._channel)
            self._channel = None

    async def _ensure(self, what: str, declare: Declare) -> None:
        backoff = Backoff(self._random, first=0.5)
        while True:
            code, text = await self._try(lambda channel: declare(channel, False))
            if code == ACCESS_REFUSED:
                refused = text
                code, text = await self._try(lambda channel: declare(channel, True))
                text = refused if code else ""
            if code == PRECONDITION_FAILED:
                self.log.debug("{what} exists with other arguments and is used as it is: {text}", what=what, text=text)
                return
            if code == LOCKED:
                self.log.warn("{what} is still held by another link, trying again: {text}", what=what, text=text)
                await self._link.pause(backoff.next_seconds())
                continue
            if code:
                raise Refused(f"{what} can't be declared: {text}")
            return

    def _exchange(self, name: str) -> Declare:
        def declare(channel: Any, passive: bool) -> Deferred[Any]:
            return channel.exchange_declare(exchange=name, type="direct", durable=True, passive=passive)  # type: ignore[no-any-return]

        return declare

    def _queue(self, queue: Queue) -> Declare:
        arguments = {"x-queue-type": "quorum"} if self._queue_type == "quorum" and not queue.exclusive else {}

        def declare(channel: Any, passive: bool) -> Deferred[Any]:
            return channel.queue_declare(  # type: ignore[no-any-return]
                queue=queue.name,
                durable=not queue.exclusive,
                exclusive=queue.exclusive,
                auto_delete=queue.exclusive,
                passive=passive,
                arguments=arguments,
            )

        return declare

    async def _bind(self, binding: Binding) -> None:
        code, text = await self._try(
            lambda channel: channel.queue_bind(
                queue=binding.queue, exchange=binding.exchange, routing_key=binding.routing_key
            )
        )
        if code:
            raise Refused(f"queue {binding.queue} can't be bound to {binding.exchange}: {text}")

    async def _try(self, request: Callable[[Any], Deferred[Any]]) -> tuple[int, str]:
        """@return: code and text of the refusal; code 0: it was done."""
        channel = self._channel
        if channel is None:
            channel = self._channel = await self._link.open_channel(is_probe=True)
        try:
            await self._link.answer(request(channel))
        except ChannelClosed as closed:
            self._channel = None
            self._link.forget_channel(channel)
            reason = closed.args[0]
            return reason.reply_code, reason.reply_text
        return 0, ""
