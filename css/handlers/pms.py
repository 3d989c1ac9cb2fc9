"""Talking to the PMS: requests answered by RPC, and broadcasts (contract: PMS; seed 2.2).

`PmsClient(...)`: `topology` to declare, `reply_queues` to consume with `routes`, then `ask_state()` and
`ask_config(moid)`. Answers come by the instance's own queue; a PMS that knows only the seed's name uses the shared
one, where an answer for another instance is as good as one's own, if it is about the same thing.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from css.handlers import addresses as to
from css.handlers.dispatch import Routes
from css.handlers.tally import Tally
from css.messages.base import Message
from css.messages.codec import encode
from css.messages.pms import (
    PlatformConfigNotice,
    PlatformConfigRequest,
    PlatformStateNotice,
    PlatformStateRequest,
)
from css.ports.bus import BusError, Delivery, IBus, Outgoing

Notice = TypeVar("Notice", PlatformStateNotice, PlatformConfigNotice)


class PmsSilent(Exception):
    """The PMS did not answer, or could not be asked."""


class _Awaited(msgspec.Struct):
    kind: type[Message]
    moid: str
    answer: Deferred[Message]
    identities: list[str]
    """Of all times that it was asked."""


class PmsClient:
    """Asks the own platform's PMS.

    @param session: a text that no other run of any instance has; begins the ids of its requests.
    @param again_seconds: pause after which an unanswered question is asked again; an answer to any asking counts.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        bus: IBus,
        own: str,
        instance: str,
        session: str,
        timeout_seconds: float,
        again_seconds: float,
        tally: Tally,
    ) -> None:
        self._reactor = reactor
        self._bus = bus
        self._own = own
        self._session = session
        self._timeout_seconds = timeout_seconds
        self._again_seconds = again_seconds
        self._tally = tally
        self._asked = 0
        self._awaited: dict[str, _Awaited] = {}
        self._reply_to = to.platform_reply_queue(instance)
        self.topology = to.pms_topology(instance)
        self.reply_queues = (self._reply_to, to.PLATFORM_REPLY_QUEUE)
        self.broadcast_queue = to.broadcast_queue(instance)

    @property
    def routes(self) -> Routes:
        """What it handles on the reply queues."""
        return {PlatformStateNotice: self._replied, PlatformConfigNotice: self._replied}

    async def ask_state(self) -> PlatformStateNotice:
        """@raise PmsSilent: no valid answer about the own platform in time."""
        return await self._ask(PlatformStateRequest(moid=self._own), self._own, PlatformStateNotice)

    async def ask_config(self, moid: str) -> PlatformConfigNotice:
        """@raise PmsSilent: no valid answer about that platform in time."""
        return await self._ask(PlatformConfigRequest(moid=moid), moid, PlatformConfigNotice)

    async def _ask(self, request: Message, moid: str, kind: type[Notice]) -> Notice:
        awaited = _Awaited(kind, moid, Deferred(), [])
        left = self._timeout_seconds
        try:
            while True:
                wait = min(left, self._again_seconds)
                left -= wait
                try:
                    notice = await self._ask_once(request, awaited, wait)
                    break
                except TimeoutError:
                    if left <= 0:
                        raise PmsSilent(f"no answer in {self._timeout_seconds} seconds") from None
                    awaited.answer = Deferred()
        except BusError as error:
            raise PmsSilent(str(error) or type(error).__name__) from error
        finally:
            for identity in awaited.identities:
                del self._awaited[identity]
        assert isinstance(notice, kind)
        return notice

    async def _ask_once(self, request: Message, awaited: _Awaited, seconds: float) -> Message:
        """@raise TimeoutError: no answer within these seconds, to this asking or an earlier one."""
        self._asked += 1
        identity = f"{self._session}.pms.{self._asked}"
        awaited.identities.append(identity)
        self._awaited[identity] = awaited
        outgoing = Outgoing(
            to.DEFAULT,
            to.pms_queue(self._own),
            encode(request),
            identity,
            identity,
            self._reply_to,
            # A PMS that was away must not find all that was asked meanwhile.
            expiration_ms=max(1, round(self._timeout_seconds * 1000)),
        )
        await self._bus.publish(outgoing)
        # It may have answered before the broker confirmed.
        return await awaited.answer.addTimeout(seconds, self._reactor)

    async def _replied(self, notice: PlatformStateNotice | PlatformConfigNotice, delivery: Delivery) -> None:
        found = self._match(notice, delivery)
        if found is None or found.answer.called:
            self._tally.count("pms_replies_dropped")
            self.log.info("dropped an answer of the PMS about {moid} that nobody awaits", moid=notice.moid)
            return
        found.answer.callback(notice)

    def _match(self, notice: Message, delivery: Delivery) -> _Awaited | None:
        found = self._awaited.get(delivery.correlation_id)
        if found is not None:
            return found if _is_about(found, notice) else None
        if delivery.queue != to.PLATFORM_REPLY_QUEUE:
            return None
        return next((each for each in self._awaited.values() if _is_about(each, notice)), None)


def _is_about(awaited: _Awaited, notice: Message) -> bool:
    return isinstance(notice, awaited.kind) and getattr(notice, "moid", None) == awaited.moid
