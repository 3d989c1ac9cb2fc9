"""A simulated RMS: which servers a user domain may use."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.codec import encode
from css.messages.create import ResourceNack, ResourceRequest
from css.peers.mood import Mood, Verdict
from css.peers.peer import Peer, Route
from css.ports.bus import Binding, Delivery, IBus, Queue, Topology

QUEUE: Final = "RMS.RES.Q"
ANSWERS: Final = ("", "MAU.RPCRES.Q")


class Resources(msgspec.Struct, frozen=True):
    """What RMS grants: a room and the addresses of its servers."""

    roommoid: str
    mcu: Sequence[str] = ()
    vrs: Sequence[str] = ()
    mps: Sequence[str] = ()


class RmsPeer(Peer):
    """Answers `GET_RES_REQ` from a table by user domain; a domain that is not in it gets `default`."""

    def __init__(self, bus: IBus, reactor: IReactorTime, random: Random, name: str = "rms") -> None:
        super().__init__(bus, reactor, random, name)
        self.mood = Mood()
        self._answers: dict[str, bytes] = {}
        self._default = encode(ResourceNack("NO_RESOURCE"))

    def answer(self, moid: str, resources: Resources) -> None:
        """From now on the user domain `moid` gets these; an empty `moid`: every domain not named."""
        self._set(moid, _granted(resources))

    def refuse(self, moid: str, errcode: str) -> None:
        """From now on the user domain `moid` (empty: every domain not named) gets a NACK."""
        self._set(moid, encode(ResourceNack(errcode)))

    def silent(self) -> None:
        """Answer nobody."""
        self.mood.silent()

    def late(self, seconds: float) -> None:
        """Answer that much later."""
        self.mood.late(seconds)

    def resume(self) -> None:
        """Answer again, at once."""
        self.mood.resume()

    def requests(self) -> int:
        """How many requests came, repeats left out."""
        return self.inbox.total

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        return Topology(("RMS.RES.EX",), (Queue(QUEUE),), (Binding(QUEUE, "RMS.RES.EX", "RMS.RES.K"),))

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {ResourceRequest: self._resources}

    def _set(self, moid: str, answer: bytes) -> None:
        if moid:
            self._answers[moid] = answer
        else:
            self._default = answer

    async def _resources(self, request: ResourceRequest, delivery: Delivery) -> None:
        verdict = self.mood.next()
        if verdict is Verdict.SERVE:
            answer = self._answers.get(request.moid, self._default)
        elif verdict is Verdict.REJECT:
            answer = encode(ResourceNack(self.mood.errcode))
        else:
            return
        await self.reply(delivery, ANSWERS, answer, self.mood.delay_seconds)


def _granted(resources: Resources) -> bytes:
    """With its empty lists, which the struct would leave out."""
    lists = {kind: [{"ip": ip} for ip in getattr(resources, kind)] for kind in ("mcu", "vrs", "mps")}
    return msgspec.json.encode({"type": "GET_RES_ACK", "roommoid": resources.roommoid, **lists})
