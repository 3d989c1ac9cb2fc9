"""Trouble on demand: MCUs that die and come back, rooms and platforms that fail and are mended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from css.demo.screen import Screen, Tone
from css.handlers.tracker import Tracker
from css.peers.cmu import CmuHost
from css.peers.platform import PlatformPeers

BACK_SECONDS = 8.0
"""How long an MCU that was killed stays away."""


class Trouble:
    """Does what the commands say. Each raises `ValueError`, with words for the user, if it can't be done.

    @param peers: by platform.
    @param tracker: waits for what it begins.
    @param away: platforms that are abnormal now; this keeps it.
    """

    def __init__(
        self,
        reactor: Any,
        peers: Mapping[str, PlatformPeers],
        screen: Screen,
        tracker: Tracker,
        away: set[str] | None = None,
    ) -> None:
        self._reactor = reactor
        self._peers = peers
        self._screen = screen
        self._tracker = tracker
        self._away: set[str] = set() if away is None else away
        self._coming: list[IDelayedCall] = []

    def kill_mcu(self, text: str) -> None:
        """`<ip> [<pid>]`: the process, or all of the host, dies with its conferences. The link layer tells CSS.

        It comes back by itself, empty, as a process of another number.
        """
        ip, _, pid = text.partition(" ")
        moid, host = self._host(ip)
        pids = [pid.strip()] if pid.strip() else list(host.processes)
        if not pids or any(each not in host.processes for each in pids):
            alive = ", ".join(host.processes) or "none: it is dead already"
            raise ValueError(f"processes of {ip} that can be killed: {alive}")
        count = sum(len(host.processes[each].conferences) for each in pids)
        self._screen.event(moid, "", f"MCU {ip} process {', '.join(pids)} dies with {count} conferences", Tone.BAD)
        following = str(max(int(each) for each in host.processes) + 1)
        whole = len(pids) == len(host.processes)
        self._tracker.run(_kill(host, pids, whole), f"the death of {ip}")
        back = partial(self._come_back, moid, host, following, whole)
        self._coming.append(self._reactor.callLater(BACK_SECONDS, back))

    def _come_back(self, moid: str, host: CmuHost, pid: str, whole: bool) -> None:
        if whole:
            host.restart([pid])
        else:
            host.start_process(pid)
        self._screen.event(moid, "", f"MCU {host.ip} is back, empty, as process {pid}", Tone.GOOD)

    def room_down(self, room: str) -> None:
        """The PMS tells that a room is abnormal."""
        self._tell_room(room, "abnormal", Tone.BAD)

    def room_up(self, room: str) -> None:
        """The PMS tells that it is normal again."""
        self._tell_room(room, "normal", Tone.GOOD)

    def platform_down(self, text: str) -> None:
        """The PMS tells that a platform is abnormal: its backup takes it over."""
        moid = self._platform(text)
        if self._away - {moid}:
            raise ValueError(f"{', '.join(self._away)} is down already: a platform must be left")
        self._away.add(moid)
        self._tell_platform(moid, "abnormal", Tone.BAD)

    def platform_up(self, text: str) -> None:
        """The PMS tells that it is normal again: what runs on its backup stays there until it ends."""
        moid = self._platform(text)
        self._away.discard(moid)
        self._tell_platform(moid, "normal", Tone.GOOD)

    def stop(self) -> None:
        """Nobody comes back any more."""
        for call in self._coming:
            if call.active():
                call.cancel()
        self._coming.clear()

    def _tell_room(self, room: str, state: str, tone: Tone) -> None:
        rooms = {host.roommoid: moid for moid, peers in self._peers.items() for host in peers.hosts.values()}
        if room not in rooms:
            raise ValueError(f"give one of the rooms: {', '.join(rooms)}")
        moid = rooms[room]
        self._screen.event(moid, "", f"the PMS says that {room} is {state}", tone)
        self._peers[moid].pms.broadcast_room(room, state)

    def _platform(self, text: str) -> str:
        return platform_named(text, self._peers)

    def _tell_platform(self, moid: str, state: str, tone: Tone) -> None:
        self._screen.event(moid, "", f"the PMS says that {moid} is {state}", tone)
        for peers in self._peers.values():
            peers.pms.broadcast_platform(moid, state)

    def _host(self, ip: str) -> tuple[str, CmuHost]:
        hosts = {ip: (moid, host) for moid, peers in self._peers.items() for ip, host in peers.hosts.items()}
        if ip not in hosts:
            raise ValueError(f"give the address of an MCU host: {', '.join(hosts)}")
        return hosts[ip]


def platform_named(text: str, moids: Collection[str]) -> str:
    """The platform that is meant by its moid or the end of it, as in `a`. @raise ValueError: none is."""
    found = [moid for moid in moids if text and moid.lower().endswith(text.lower())]
    if len(found) != 1:
        raise ValueError(f"give one of the platforms: {', '.join(moids)}")
    return found[0]


async def _kill(host: CmuHost, pids: list[str], whole: bool) -> None:
    for pid in pids:
        await host.processes[pid].disconnect()
    dead: list[Deferred[None]] = [host.crash()] if whole else [host.crash_process(pid) for pid in pids]
    for each in dead:
        await each
