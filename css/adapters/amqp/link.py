"""One connection to a broker, from the login to its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from txamqp.client import Closed

from css.adapters.amqp.address import AmqpAddress
from css.adapters.amqp.declare import Refused
from css.adapters.amqp.delegate import LinkDelegate
from css.adapters.amqp.framing import FRAME_OVERHEAD, FrameProtocol
from css.ports.bus import Unroutable

Job = Callable[[], Awaitable[None]]

TICKS_OF_SILENCE = 4
"""The broker is dead after that many ticks, two a heartbeat, without a byte.

Ticks are counted, not seconds: one that comes late, because this process was stalled, must not condemn a broker whose
bytes wait to be read."""


class LinkOwner(Protocol):
    """Whom a link tells what happens to it."""

    def link_lost(self, link: Link, reason: str) -> None:
        """It is of no more use, and closed or about to be. May be called twice."""

    def link_closed(self, link: Link) -> None: ...
    def block_changed(self, link: Link, reason: str | None) -> None: ...
    def consumer_cancelled(self, link: Link, number: int) -> None: ...


class Link(FrameProtocol):
    """A connection with its channels. Control operations run one after the other, as jobs; if one fails, all fails."""

    def __init__(
        self,
        reactor: IReactorTime,
        owner: LinkOwner,
        address: AmqpAddress,
        name: str,
        heartbeat_seconds: int,
        answer_seconds: float,
    ) -> None:
        super().__init__(reactor, LinkDelegate(), address.vhost)
        self.address = address
        self.name = name
        self.probes: set[int] = set()
        """Numbers of channels that the broker may close without harm."""
        self._owner = owner
        self._heartbeat_seconds = heartbeat_seconds
        self._answer_seconds = answer_seconds
        self._tick: IDelayedCall | None = None
        self._silent_ticks = 0
        self._heard_before = 0.0
        self._channel_max = 2047
        self._jobs: deque[Job] = deque()
        self._working = False
        self._abort_call: IDelayedCall | None = None
        self._pausing: Deferred[None] | None = None

    # The life of the connection

    def give_up(self, reason: str) -> None:
        if not self._ended:
            super().give_up(reason)
            self._owner.link_lost(self, self.failure)

    def connectionMade(self) -> None:
        tcp = ITCPTransport(self.transport, None)
        if tcp is not None:
            tcp.setTcpNoDelay(True)
        super().connectionMade()

    async def enter(self) -> None:
        """Log in and enter the virtual host. @raise Closed: if the broker refuses."""
        response = f"\0{self.address.user}\0{self.address.password}"
        await self.start(response, mechanism="PLAIN")

    def tuned(self, max_frame: int, channel_max: int, heartbeat: int) -> int:
        """The broker's limits are known. @return: the heartbeat to agree on, in seconds."""
        self.max_payload = max_frame - FRAME_OVERHEAD
        self._channel_max = channel_max or 65535
        if heartbeat:
            self._heartbeat_seconds = min(heartbeat, self._heartbeat_seconds)
        self._tick = self.clock.callLater(self._heartbeat_seconds / 2, self._check_heartbeat)
        return self._heartbeat_seconds

    def leave(self) -> None:
        """Close the connection in order; abort it if the broker does not agree in time."""
        if self._ended or self.closed:
            return
        self.failure = self.failure or "closed by this side"
        self._abort_call = self.clock.callLater(self._answer_seconds, self._abort)
        if self._pausing is not None:
            self._pausing.cancel()
        self.submit(self._close_in_order)

    def connectionLost(self, reason: Any) -> None:
        for call in (self._tick, self._abort_call):
            if call is not None and call.active():
                call.cancel()
        self.failure = self.failure or _describe(reason)
        super().connectionLost(reason)
        if self._pausing is not None:
            self._pausing.cancel()
        self._owner.link_lost(self, self.failure)
        self._owner.link_closed(self)

    async def _close_in_order(self) -> None:
        self.flush(with_acks=True)
        await (await self.channel(0)).connection_close(reply_code=200, reply_text="bye")
        self.do_close(Failure(ConnectionDone()))

    def _abort(self) -> None:
        self.transport.abortConnection()

    def _check_heartbeat(self) -> None:
        self._tick = self.clock.callLater(self._heartbeat_seconds / 2, self._check_heartbeat)
        if self.heard_at == self._heard_before:
            self._silent_ticks += 1
            if self._silent_ticks >= TICKS_OF_SILENCE:
                self.give_up(f"the broker has been silent for {2 * self._heartbeat_seconds} seconds")
                return
        else:
            self._silent_ticks = 0
            self._heard_before = self.heard_at
        if not self.wrote:
            self.send_heartbeat()
            self.flush()
        self.wrote = False

    # Channels

    async def answer(self, deferred: Deferred[Any]) -> Any:
        """Await the broker's answer. @raise TimeoutError: if there is none in time. @raise Closed: if it refuses."""
        return await deferred.addTimeout(self._answer_seconds, self.clock)

    async def pause(self, seconds: float) -> None:
        """Wait, within a job. @raise Closed: if the link is lost meanwhile."""
        self._pausing = deferLater(self.clock, seconds)
        try:
            await self._pausing
        except CancelledError:
            raise Closed("the link was lost") from None
        finally:
            self._pausing = None

    async def open_channel(self, is_probe: bool = False) -> Any:
        """@return: a new txamqp channel, open."""
        number = next(n for n in range(1, self._channel_max + 1) if n not in self.channels)
        channel = await self.channel(number)
        if is_probe:
            self.probes.add(number)
        await self.answer(channel.channel_open())
        return channel

    async def close_channel(self, channel: Any) -> None:
        """Close a channel, and make its number free."""
        await self.answer(channel.channel_close(reply_code=200, reply_text="done"))
        self.forget_channel(channel)

    def forget_channel(self, channel: Any) -> None:
        """Make the number of a closed channel free."""
        self.channels.pop(channel.id, None)
        self.receivers.pop(channel.id, None)
        self.probes.discard(channel.id)

    def channel_closed(self, channel: Any, code: int, text: str) -> None:
        """The broker has closed a channel. Only a probe may be lost; with any other all of the link is set up anew."""
        if channel.id in self.probes:
            return
        unroutable = self.publisher.take_unroutable(text) if self.publisher is not None and code == 404 else []
        self.give_up(f"the broker closed channel {channel.id}: {code} {text}")
        for deferred in unroutable:
            deferred.errback(Unroutable(text))

    def blocked(self, reason: str | None) -> None:
        """The broker blocks publishers (or, None, no longer)."""
        self._owner.block_changed(self, reason)

    def consumer_cancelled(self, number: int) -> None:
        """The broker has cancelled the consumer of a channel."""
        self._owner.consumer_cancelled(self, number)

    # Jobs

    def submit(self, job: Job) -> None:
        """Have a control operation done after all that were submitted before. If it fails, the link is given up."""
        self._jobs.append(job)
        if not self._working:
            self._working = True
            self._track(self._work())

    async def _work(self) -> None:
        try:
            while self._jobs and not self._ended:
                await self._jobs.popleft()()
        except Closed:
            self.give_up(self.failure or "the broker refused a request")
        except TimeoutError:
            self.give_up(f"the broker did not answer in {self._answer_seconds} seconds")
        except Refused as error:
            self.give_up(str(error))
        except Exception as error:
            self.log.failure("{name}: setting up failed", name=self.name)
            self.give_up(str(error))
        finally:
            self._working = False

    def _track(self, coroutine: Any) -> None:
        """Run something whose end nobody awaits: it ends with the link, which fails whatever waits for the broker."""
        _ = Deferred.fromCoroutine(coroutine).addErrback(self._unexpected)

    def _unexpected(self, failure: Failure) -> None:
        self.log.failure("{name}: unexpected failure", failure, name=self.name)
        self.give_up(f"unexpected failure: {failure.value}")


def _describe(reason: Failure) -> str:
    return reason.getErrorMessage() or reason.type.__name__  # type: ignore[union-attr]
