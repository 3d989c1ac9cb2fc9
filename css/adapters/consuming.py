"""What a consumer does with its deliveries, whatever broker they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from random import Random
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from css.adapters.handling import run_handler
from css.ports.bus import BadMessage, Delivery, Handler, IConsumer, TryLater

T = TypeVar("T")

GIVE_BACK_AFTER_SECONDS = (0.5, 1.5)
"""A delivery whose handler failed goes back after a pause between these; at once, it would come back at once."""


@implementer(IConsumer)
class Consumer(ABC, Generic[T]):
    """Hands deliveries to a handler, at most `prefetch` at a time, and settles each by its token.

    A token says what to settle and on which link; settling on a link that is gone does nothing.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTime, random: Random, queue: str, handler: Handler, prefetch: int) -> None:
        self.queue = queue
        self.prefetch = prefetch
        self.in_flight = 0
        self.cancelled = False
        self._reactor = reactor
        self._random = random
        self._handler = handler
        self._waiting: deque[tuple[Delivery, T]] = deque()
        self._paused: dict[T, IDelayedCall] = {}
        self._going_on = False
        self._told = False
        self._released = False
        self._ended = False
        self._cancelling: list[Deferred[None]] = []

    @abstractmethod
    def acknowledge(self, token: T) -> None:
        """Tell the broker that a delivery is done."""

    @abstractmethod
    def give_back(self, token: T) -> None:
        """Tell the broker to deliver it again."""

    @abstractmethod
    def is_lost(self, token: T) -> bool:
        """@return: True if the link that the delivery came by is gone."""

    @abstractmethod
    def tell_cancelled(self) -> None:
        """Ask the broker to send no more; `told` is to be called once it has agreed or its link is gone."""

    @abstractmethod
    def release(self) -> None:
        """All deliveries of the cancelled consumer are settled: `ended` is to be called once the broker knows."""

    def take(self, delivery: Delivery, token: T) -> None:
        """A delivery has come."""
        if self.cancelled:
            self.give_back(token)
        elif self.in_flight >= self.prefetch:
            # Handlers of a link that was lost are still busy: the new link's deliveries have to wait for them.
            self._waiting.append((delivery, token))
        else:
            self.in_flight += 1
            run_handler(self._handler, delivery, self._done, token)

    def link_lost(self) -> None:
        """What has not been handed over yet comes back by itself."""
        self._waiting.clear()
        for call in self._paused.values():
            call.cancel()
        self._paused.clear()
        if self._released:
            self.ended()
        elif self.cancelled:
            self.told()

    def cancel(self) -> Deferred[None]:
        """See `IConsumer.cancel`."""
        done: Deferred[None] = Deferred()
        self._cancelling.append(done)
        if self._ended:
            self.ended()
        elif not self.cancelled:
            self.cancelled = True
            self._give_all_back()
            self.tell_cancelled()
        return done

    def told(self) -> None:
        """The broker sends nothing any more."""
        self._told = True
        self._check_drained()

    def ended(self) -> None:
        """The broker knows of all that was settled, or the link is lost."""
        self._ended = True
        waiting, self._cancelling = self._cancelling, []
        for deferred in waiting:
            deferred.callback(None)

    def _done(self, error: Exception | None, token: T) -> None:
        self.in_flight -= 1
        if error is None:
            self.acknowledge(token)
        elif isinstance(error, BadMessage):
            self.log.warn("Message from {queue} dropped: {error}", queue=self.queue, error=error)
            self.acknowledge(token)
        else:
            self._pause(error, token)
        if self._waiting:
            self._go_on()
        if self.cancelled:
            self._check_drained()

    def _pause(self, error: Exception, token: T) -> None:
        if not isinstance(error, TryLater):
            failure = Failure(error)
            self.log.failure("Handler of {queue} failed, its message goes back", failure, queue=self.queue)
        if self.cancelled:
            self.give_back(token)
        elif not self.is_lost(token):
            delay = self._random.uniform(*GIVE_BACK_AFTER_SECONDS)
            self._paused[token] = self._reactor.callLater(delay, self._pause_over, token)

    def _pause_over(self, token: T) -> None:
        del self._paused[token]
        self.give_back(token)

    def _go_on(self) -> None:
        if self._going_on:
            return
        self._going_on = True
        while self._waiting and self.in_flight < self.prefetch:
            self.take(*self._waiting.popleft())
        self._going_on = False

    def _give_all_back(self) -> None:
        waiting = list(self._waiting)
        paused = list(self._paused.items())
        self._waiting.clear()
        self._paused.clear()
        for token, call in paused:
            call.cancel()
            self.give_back(token)
        for _, token in waiting:
            self.give_back(token)

    def _check_drained(self) -> None:
        if self._told and self.in_flight == 0 and not self._released:
            self._released = True
            self.release()
