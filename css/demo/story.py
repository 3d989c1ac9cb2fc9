"""What the simulated peers hear, told in one line each, and noted in the ledger."""

from __future__ import annotations

from functools import partial

from css.demo.ledger import Ledger, Line
from css.demo.screen import Screen, Tone
from css.peers.inbox import Received
from css.peers.platform import PlatformPeers

ENDS = {"released": "has ended", "expired": "has ended: its time was up", "lost": "is LOST"}
"""Reasons of `MAU_CM_RELEASECONF_NTF` in words."""


class Story:
    """Listens to the peers of every platform."""

    def __init__(self, screen: Screen, ledger: Ledger) -> None:
        self._screen = screen
        self._ledger = ledger

    def follow(self, peers: PlatformPeers) -> None:
        """Tell of what these peers hear from now on."""
        peers.cm.inbox.listen(partial(self._cm_heard, peers.moid))
        for ip, host in peers.hosts.items():
            host.inbox.listen(partial(self._host_heard, peers.moid, ip))

    def _host_heard(self, moid: str, ip: str, received: Received) -> None:
        if received.type == "MAU_MCU_CREATECONF_REQ":
            self._screen.event(moid, received.e164, f"is given to MCU {ip}", Tone.QUIET)

    def _cm_heard(self, moid: str, received: Received) -> None:
        fields = received.fields
        match received.type:
            case "MAU_CM_CREATECONF_ACK":
                self._runs(moid, received)
            case "MAU_CM_CREATECONF_NACK":
                self._ledger.rejected(received.e164)
                self._screen.event(moid, received.e164, f"is refused: {fields['errcode']}", Tone.BAD)
            case "MAU_CM_RELEASECONF_NACK":
                self._screen.event(moid, received.e164, f"can't be released: {fields['errcode']}", Tone.BAD)
            case "MAU_CM_RELEASECONF_NTF":
                reason = fields["reason"]
                self._ledger.ended(received.e164, reason)
                self._screen.event(moid, received.e164, ENDS.get(reason, reason), Tone.ENDED)

    def _runs(self, moid: str, received: Received) -> None:
        fields = received.fields
        line: Line = self._ledger.accepted(received.e164, moid, fields["confname"])
        took_ms = (received.at_seconds - line.asked_at) * 1000
        took = f", answered in {took_ms:.0f} ms" if line.asked_at else ", asked for by an earlier run"
        self._screen.event(moid, received.e164, f"runs on MCU {fields['ip']}{took}", Tone.GOOD)
