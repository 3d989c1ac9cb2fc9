"""All simulated peers of one platform, assembled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from css.peers.bmc import BmcPeer
from css.peers.cm import CmPeer
from css.peers.cmu import CmuHost
from css.peers.inbox import Listener
from css.peers.peer import Fault, Peer
from css.peers.pms import PmsPeer
from css.peers.receivers import MsPeer, NmsPeer
from css.peers.rms import Resources, RmsPeer
from css.peers.upu import UpuPeer
from css.ports.bus import IBus


class PlatformPeers:
    """One of each, and MCU hosts; all on the platform's broker. RMS grants every domain all hosts.

    @param hosts: addresses of MCU hosts.
    @param rooms: of each host, by address; without it all are in `<moid>-room`. RMS tells the first.
    @param configs: what the PMS tells of each platform's servers; see `PmsPeer.configs`.
    @param main: platforms that this one backs up. @param backup: platforms that back it up.
    """

    def __init__(
        self,
        bus: IBus,
        reactor: IReactorTime,
        random: Random,
        moid: str,
        *,
        hosts: Sequence[str],
        rooms: Mapping[str, str] | None = None,
        licence_key: bytes,
        configs: dict[str, dict[str, Any]],
        main: Sequence[str] = (),
        backup: Sequence[str] = (),
    ) -> None:
        self.moid = moid
        self.roommoid = next(iter((rooms or {}).values()), f"{moid}-room")
        self.cm = CmPeer(bus, reactor, random, f"cm-{moid}")
        self.rms = RmsPeer(bus, reactor, random, f"rms-{moid}")
        self.pms = PmsPeer(bus, reactor, random, moid, main, backup, configs)
        self.bmc = BmcPeer(bus, reactor, random, licence_key, f"bmc-{moid}")
        self.upu = UpuPeer(bus, reactor, random, f"upu-{moid}")
        self.ms = MsPeer(bus, reactor, random, f"ms-{moid}")
        self.nms = NmsPeer(bus, reactor, random, f"nms-{moid}")
        room_of = rooms or {}
        self.hosts = {ip: CmuHost(bus, reactor, random, ip, room_of.get(ip, self.roommoid)) for ip in hosts}
        self.rms.answer("", Resources(self.roommoid, hosts))

    def all(self) -> list[Peer]:
        """Every peer, processes of MCU hosts included."""
        processes = (process for host in self.hosts.values() for process in host.processes.values())
        return [*self._parts(), *processes]

    def start(self) -> None:
        """Start them all."""
        for peer in self._parts():
            peer.start()

    def stop(self) -> Deferred[None]:
        """@return: fires when all have stopped."""
        return gatherResults([peer.stop() for peer in self._parts()]).addCallback(lambda _: None)

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with each message that any of them receives, but for processes started later."""
        for peer in self.all():
            peer.inbox.listen(listener)

    def faults(self) -> list[Fault]:
        """Every breach of the contract that any of them has seen."""
        return [fault for peer in self.all() for fault in peer.faults]

    def _parts(self) -> list[Peer]:
        return [self.cm, self.rms, self.pms, self.bmc, self.upu, self.ms, self.nms, *self.hosts.values()]
