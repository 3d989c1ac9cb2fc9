"""Changes of running conferences on demand: another name, a later end, control (seed 2.3.3, 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from css.demo.layout import PLATFORMS, serving
from css.demo.ledger import Ledger
from css.demo.screen import Screen, Tone
from css.peers.platform import PlatformPeers
from css.ports.bus import Unroutable


class Changes:
    """Does what the commands say. Each raises `ValueError`, with words for the user, if it can't be done.

    @param peers: by platform.
    @param away: platforms that are abnormal now: the CM of another one asks for them.
    """

    def __init__(
        self, peers: Mapping[str, PlatformPeers], ledger: Ledger, screen: Screen, away: Collection[str] = ()
    ) -> None:
        self._peers = peers
        self._ledger = ledger
        self._screen = screen
        self._away = away

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
        home, moid = self._asked_by(e164)
        self._screen.event(home, e164, f"is to last {int(minutes)} minutes longer", Tone.QUIET)
        self._watch(self._peers[moid].cm.delay(e164, int(minutes)), home, e164)

    def control(self, text: str) -> None:
        """`<number> <what>`: its CM asks the MCU that runs it for something that CSS only passes on."""
        e164, _, what = text.partition(" ")
        what = what.strip().upper()
        if not (e164.isascii() and e164.isdigit() and what.isascii() and what.isalpha()):
            raise ValueError("give a number and what its MCU is to do, as in: control 0123456 mute")
        home, moid = self._asked_by(e164)
        self._screen.event(home, e164, f"the CM of {moid} asks its MCU: {what}", Tone.QUIET)

        def answered(fields: dict[str, Any]) -> None:
            refused = fields["type"].endswith("_NACK")
            why = f": {fields.get('errcode', '')}" if refused else ""
            self._screen.event(home, e164, f"is answered {fields['type']}{why}", Tone.BAD if refused else Tone.GOOD)

        self._watch(self._peers[moid].cm.control(f"CM_CMU_{what}_REQ", e164).addCallback(answered), home, e164)

    def _asked_by(self, e164: str) -> tuple[str, str]:
        """Where a conference is at home, and whose CM asks for it now."""
        line = self._ledger.running.get(e164)
        home = line.home if line is not None else PLATFORMS[0].moid
        return home, serving(home, self._away)

    def _watch(self, answer: Deferred[Any], home: str, e164: str) -> None:
        def unroutable(failure: Any) -> None:
            failure.trap(Unroutable)
            self._screen.event(home, e164, "nobody takes this request: no CSS is there", Tone.BAD)

        _ = answer.addErrback(unroutable)
