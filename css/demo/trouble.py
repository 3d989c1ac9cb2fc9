"""Trouble on demand: MCUs that die and come back, rooms that fail and are mended."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    def __init__(self, reactor: Any, peers: Mapping[str, PlatformPeers], screen: Screen, tracker: Tracker) -> None:
        self._reactor = reactor
        self._peers = peers
        self._screen = screen
        self._tracker = tracker
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

    def _host(self, ip: str) -> tuple[str, CmuHost]:
        hosts = {ip: (moid, host) for moid, peers in self._peers.items() for ip, host in peers.hosts.items()}
        if ip not in hosts:
            raise ValueError(f"give the address of an MCU host: {', '.join(hosts)}")
        return hosts[ip]


async def _kill(host: CmuHost, pids: list[str], whole: bool) -> None:
    for pid in pids:
        await host.processes[pid].disconnect()
    dead: list[Deferred[None]] = [host.crash()] if whole else [host.crash_process(pid) for pid in pids]
    for each in dead:
        await each
