"""The own broker, as far as `cssctl` uses it: the PMS and RMS are asked, by reply queues of its own."""

from __future__ import annotations

import os
import uuid
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from css.handlers import addresses as to
from css.handlers.dispatch import Dispatcher
from css.handlers.pms import PmsClient
from css.handlers.probes import no_probe
from css.handlers.rehearsal import Candidates
from css.handlers.tally import Tally
from css.messages.base import Message
from css.messages.codec import Malformed, decode, encode
from css.messages.create import ResourceAck, ResourceNack, ResourceRequest
from css.ports.bus import BusError, Delivery, IBus, Outgoing, Queue, Topology

PATIENCE_SECONDS = 5.0


class Unreachable(Exception):
    """Something that is needed is not found, or does not answer; the text says what is missing."""


class OwnBroker:
    """Asks by queues that go with the connection: what instances await is never taken from them.

    @ivar pms: asks the own platform's PMS.
    """

    def __init__(self, reactor: Any, bus: IBus, own: str) -> None:
        name, session = f"cssctl-{os.getpid()}", str(uuid.uuid4())
        self._reactor = reactor
        self._bus = bus
        self._session = session
        self._asked = 0
        self._awaited: dict[str, Deferred[Message]] = {}
        self._from_pms, self._from_rms = to.platform_reply_queue(name), f"{to.RMS_REPLY_QUEUE}:{name}"
        self.pms = PmsClient(reactor, bus, own, name, session, PATIENCE_SECONDS, PATIENCE_SECONDS, Tally())

    async def start(self) -> None:
        """@raise Unreachable: it does not answer within 5 s."""
        self._bus.start()
        # Only own reply queues: what comes by the shared ones is awaited by an instance.
        queues = (Queue(self._from_pms, exclusive=True), Queue(self._from_rms, exclusive=True))
        self._bus.declare(Topology(queues=queues))
        try:
            await self._bus.when_connected().addTimeout(PATIENCE_SECONDS, self._reactor)
        except TimeoutError:
            raise Unreachable("the own broker does not answer: give --redis host:port/db") from None
        self._bus.consume(
            self._from_pms, Dispatcher(self._bus, self.pms.routes, Tally(), lambda message: None, no_probe)
        )
        self._bus.consume(self._from_rms, self._answered)

    async def stop(self) -> None:
        """Leave it."""
        await self._bus.stop()

    async def resources(self, moid: str) -> Candidates:
        """Ask RMS what a user domain may use now; that changes nothing there. @raise Unreachable: no answer."""
        self._asked += 1
        identity = f"{self._session}.rms.{self._asked}"
        answer = self._awaited[identity] = Deferred[Message]()
        body, patience_ms = encode(ResourceRequest(moid=moid)), round(PATIENCE_SECONDS * 1000)
        try:
            await self._bus.publish(
                Outgoing(*to.TO_RMS, body, identity, identity, self._from_rms, expiration_ms=patience_ms)
            )
            found = await answer.addTimeout(PATIENCE_SECONDS, self._reactor)
        except (TimeoutError, BusError) as error:
            raise Unreachable(f"RMS does not answer ({error}): plan without --ask-rms") from error
        finally:
            self._awaited.pop(identity, None)
        if isinstance(found, ResourceNack):
            return Candidates(None)
        assert isinstance(found, ResourceAck)
        return Candidates(tuple(each.ip for each in found.mcu), found.roommoid)

    async def _answered(self, delivery: Delivery) -> None:
        """What is no answer, or comes too late, is dropped."""
        awaited = self._awaited.get(delivery.correlation_id)
        try:
            message = decode(delivery.body)
        except Malformed:
            return
        if awaited is not None and not awaited.called and isinstance(message, ResourceAck | ResourceNack):
            awaited.callback(message)
