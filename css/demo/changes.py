"""Changes of running conferences on demand: another name, a later end (seed 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from css.demo.layout import PLATFORMS
from css.demo.ledger import Ledger
from css.demo.screen import Screen, Tone
from css.peers.platform import PlatformPeers
from css.ports.bus import Unroutable


class Changes:
    """Does what the commands say. Each raises `ValueError`, with words for the user, if it can't be done.

    @param peers: by platform.
    """

    def __init__(self, peers: Mapping[str, PlatformPeers], ledger: Ledger, screen: Screen) -> None:
        self._peers = peers
        self._ledger = ledger
        self._screen = screen

    def rename(self, text: str) -> None:
        """`<number> <name>`: the MCU that runs it asks the CM, which agrees."""
        e164, _, name = text.partition(" ")
        if not name.strip():
            raise ValueError("give a number and a name, as in: rename 0123456 晨会")
        for moid, peers in self._peers.items():
            for host in peers.hosts.values():
                if e164 in host.conferences:
                    self._screen.event(moid, e164, f"its MCU {host.ip} asks for the name {name.strip()}", Tone.QUIET)
                    host.process_of(e164).ask_for_name(e164, name.strip())
                    return
        raise ValueError(f"no MCU runs {e164}")

    def delay(self, text: str) -> None:
        """`<number> <minutes>`: its CM moves its end."""
        e164, _, minutes = text.partition(" ")
        if not (e164.isascii() and e164.isdigit() and minutes.strip().isdecimal() and int(minutes) > 0):
            raise ValueError("give a number and minutes, as in: delay 0123456 30")
        line = self._ledger.running.get(e164)
        home = line.home if line is not None else PLATFORMS[0].moid
        self._screen.event(home, e164, f"is to last {int(minutes)} minutes longer", Tone.QUIET)
        answer: Deferred[dict[str, Any]] = self._peers[home].cm.delay(e164, int(minutes))

        def unroutable(failure: Any) -> None:
            failure.trap(Unroutable)
            self._screen.event(home, e164, "nobody takes this request: no CSS is there", Tone.BAD)

        _ = answer.addErrback(unroutable)
