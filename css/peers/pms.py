"""A simulated PMS: states of platforms and rooms, and where their servers are."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.pms import PlatformConfigRequest, PlatformStateRequest
from css.peers.mood import Mood, Verdict
from css.peers.peer import Peer, Route
from css.ports.bus import Delivery, IBus, Queue, Topology

EXCHANGE: Final = "monitor.notify.ex"
PLATFORM_BROADCAST: Final = (EXCHANGE, "monitor.plamform.k")
ROOM_BROADCAST: Final = (EXCHANGE, "monitor.server_room.k")
ANSWERS: Final = ("", "MAU.RPCPLATINFO.Q")


class PmsPeer(Peer):
    """The PMS of one platform.

    @ivar states: `normal` or `abnormal` by platform; a platform that is not named is normal.
    @ivar main: platforms that this one backs up.
    @ivar backup: platforms that back this one up.
    @ivar abnormal_rooms: rooms by their moids; told in replies unless it is None.
    @ivar configs: by platform, the body of `PLATFORM_CONFIG_NOTIFY` (`mq`, for the own one `redis` and `mysql`).
    """

    def __init__(
        self,
        bus: IBus,
        reactor: IReactorTime,
        random: Random,
        moid: str,
        main: Sequence[str] = (),
        backup: Sequence[str] = (),
        configs: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(bus, reactor, random, f"pms-{moid}")
        self.moid = moid
        self.main = list(main)
        self.backup = list(backup)
        self.states: dict[str, str] = {}
        self.abnormal_rooms: set[str] | None = set()
        self.configs = dict(configs or {})
        self.mood = Mood()
        self._speaking = DeferredLock()

    def set_state(self, moid: str, state: str) -> None:
        """A platform's state in replies from now on, without telling anybody."""
        self.states[moid] = state

    def broadcast_platform(self, moid: str, state: str, **more: Any) -> None:
        """A platform's state has changed: note it, and tell every CSS. `more`: further fields, such as `seq`."""
        self.set_state(moid, state)
        self._broadcast(PLATFORM_BROADCAST, {"type": "PLATFORM_STATE_NOTIFY", "moid": moid, "state": state, **more})

    def broadcast_room(self, roommoid: str, state: str, **more: Any) -> None:
        """A room's state has changed: note it, and tell every CSS."""
        if self.abnormal_rooms is not None:
            (self.abnormal_rooms.add if state == "abnormal" else self.abnormal_rooms.discard)(roommoid)
        fields = {"type": "SERVER_ROOM_STATE_NOTIFY", "roommoid": roommoid, "state": state, **more}
        self._broadcast(ROOM_BROADCAST, fields)

    def silent(self) -> None:
        """Answer nobody; broadcasts go on."""
        self.mood.silent()

    def late(self, seconds: float) -> None:
        """Answer that much later."""
        self.mood.late(seconds)

    def resume(self) -> None:
        """Answer again, at once."""
        self.mood.resume()

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        return Topology((EXCHANGE,), (Queue(f"monitor.req.q:{self.moid}"),))

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {PlatformStateRequest: self._state, PlatformConfigRequest: self._config}

    def state_of(self, moid: str) -> str:
        """`normal` or `abnormal`."""
        return self.states.get(moid, "normal")

    async def _state(self, request: PlatformStateRequest, delivery: Delivery) -> None:
        fields: dict[str, Any] = {
            "type": "PLATFORM_STATE_NOTIFY",
            "moid": request.moid,
            "state": self.state_of(request.moid),
            "main": self._listed(self.main),
            "backup": self._listed(self.backup),
        }
        if self.abnormal_rooms is not None:
            fields["rooms"] = [{"moid": room, "state": "abnormal"} for room in sorted(self.abnormal_rooms)]
        await self._answer(delivery, fields)

    async def _config(self, request: PlatformConfigRequest, delivery: Delivery) -> None:
        config = self.configs.get(request.moid)
        if config is not None:
            await self._answer(delivery, {"type": "PLATFORM_CONFIG_NOTIFY", "moid": request.moid, **config})

    async def _answer(self, delivery: Delivery, fields: dict[str, Any]) -> None:
        if self.mood.next() is Verdict.SERVE:
            await self.reply(delivery, ANSWERS, msgspec.json.encode(fields), self.mood.delay_seconds)

    def _listed(self, moids: Sequence[str]) -> list[dict[str, str]]:
        return [{"moid": moid, "state": self.state_of(moid)} for moid in moids]

    def _broadcast(self, place: tuple[str, str], fields: dict[str, Any]) -> None:
        """After what was said before it: without `seq` nothing else tells CSS which of two states is the newer one."""
        body = msgspec.json.encode(fields)
        self.track(self._speaking.run(lambda: Deferred.fromCoroutine(self.send(place, body))))
