"""A simulated UPU: on which platform a number can be reached."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from css.messages.base import Message
from css.messages.upu import UpuAdd, UpuClear, UpuDelete, UpuDeleteDomain, UpuModify
from css.peers.peer import Peer, Route
from css.ports.bus import Binding, Delivery, IBus, Queue, Topology

QUEUE: Final = "UPU.CONF.Q"


class UpuEntry(msgspec.Struct, frozen=True):
    """Where a number can be reached, and what it is."""

    confname: str
    conftype: int
    moid: str
    platformmoid: str


class UpuPeer(Peer):
    """Builds its table as the messages say. A repeat must not bring back what has been deleted since."""

    handles_repeats = False

    def __init__(self, bus: IBus, reactor: IReactorTime, random: Random, name: str = "upu") -> None:
        super().__init__(bus, reactor, random, name)
        self._table: dict[tuple[str, int], UpuEntry] = {}

    def table(self) -> dict[tuple[str, int], UpuEntry]:
        """By number and `running` (0 or 1)."""
        return dict(self._table)

    def running_conferences(self) -> dict[str, str]:
        """The actual platform of each running conference, by number."""
        return {e164: entry.platformmoid for (e164, running), entry in self._table.items() if running}

    def topology(self) -> Topology:
        """See `Peer.topology`."""
        return Topology(("UPU.CONF.EX",), (Queue(QUEUE),), (Binding(QUEUE, "UPU.CONF.EX", "UPU.CONF.K"),))

    def routes(self) -> dict[type[Message], Route]:
        """See `Peer.routes`."""
        return {
            UpuAdd: self._put,
            UpuModify: self._put,
            UpuDelete: self._delete,
            UpuDeleteDomain: self._delete_domain,
            UpuClear: self._clear,
        }

    async def _put(self, entry: UpuAdd | UpuModify, _: Delivery) -> None:
        self._table[entry.confE164, entry.running] = UpuEntry(
            entry.confname, entry.conftype, entry.moid, entry.platformmoid
        )

    async def _delete(self, entry: UpuDelete, _: Delivery) -> None:
        self._table.pop((entry.confE164, entry.running), None)

    async def _delete_domain(self, domain: UpuDeleteDomain, _: Delivery) -> None:
        self._keep(lambda running, entry: bool(running) or entry.moid != domain.moid)

    async def _clear(self, clear: UpuClear, _: Delivery) -> None:
        self._keep(lambda running, entry: entry.platformmoid != clear.platformmoid)

    def _keep(self, wanted: Callable[[int, UpuEntry], bool]) -> None:
        self._table = {key: entry for key, entry in self._table.items() if wanted(key[1], entry)}
