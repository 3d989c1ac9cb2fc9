"""What the simulated peers hear, told in one line each, and noted in the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from css.demo.ledger import Ledger
from css.demo.screen import Screen, Tone
from css.messages.codec import wire_type
from css.messages.control import DelayNack, DurationNotice
from css.messages.create import CreateAck, CreateNack, McuCreateRequest, ReleaseNack, ReleaseNotice
from css.messages.mcu import McuRestoreRequest
from css.messages.upu import UpuModify
from css.peers.inbox import Inbox, Received
from css.peers.platform import PlatformPeers

ENDS = {"released": "has ended", "expired": "has ended: its time was up", "lost": "is LOST"}
"""Reasons of a release notice in words."""


class Story:
    """Listens to the peers of every platform."""

    def __init__(self, screen: Screen, ledger: Ledger) -> None:
        self._screen = screen
        self._ledger = ledger
        self._told: dict[str, Callable[[str, Received], None]] = {
            wire_type(CreateAck): self._runs,
            wire_type(CreateNack): self._refused,
            wire_type(ReleaseNack): self._not_released,
            wire_type(ReleaseNotice): self._ended,
            wire_type(DurationNotice): self._delayed,
            wire_type(DelayNack): self._not_delayed,
        }

    def follow(self, peers: PlatformPeers) -> None:
        """Tell of what these peers hear from now on."""
        self.follow_cm(peers.moid, peers.cm.inbox)
        peers.upu.inbox.listen(partial(self._locator_heard, peers.moid))
        for ip, host in peers.hosts.items():
            host.inbox.listen(partial(self._host_heard, peers.moid, ip))

    def follow_cm(self, moid: str, inbox: Inbox) -> None:
        """Tell of what a platform's CM hears from now on."""
        inbox.listen(partial(self._cm_heard, moid))

    def _host_heard(self, moid: str, ip: str, received: Received) -> None:
        if received.type == wire_type(McuCreateRequest):
            self._screen.event(moid, received.e164, f"is given to MCU {ip}", Tone.QUIET)
        elif received.type == wire_type(McuRestoreRequest):
            self._screen.event(moid, received.e164, f"is to be restored by MCU {ip}", Tone.QUIET)

    def _locator_heard(self, moid: str, received: Received) -> None:
        if received.type == wire_type(UpuModify):
            self._screen.event(moid, received.e164, f"is called {received.fields['confname']} now", Tone.GOOD)

    def _cm_heard(self, moid: str, received: Received) -> None:
        if received.type in self._told:
            self._told[received.type](moid, received)

    def _runs(self, moid: str, received: Received) -> None:
        fields = received.fields
        line = self._ledger.accepted(received.e164, moid, fields["confname"])
        took_ms = (received.at_seconds - line.asked_at) * 1000
        took = f", answered in {took_ms:.0f} ms" if line.asked_at else ", asked for by an earlier run"
        self._screen.event(moid, received.e164, f"runs on MCU {fields['ip']}{took}", Tone.GOOD)

    def _refused(self, moid: str, received: Received) -> None:
        self._ledger.rejected(received.e164)
        self._screen.event(moid, received.e164, f"is refused: {received.fields['errcode']}", Tone.BAD)

    def _not_released(self, moid: str, received: Received) -> None:
        self._screen.event(moid, received.e164, f"can't be released: {received.fields['errcode']}", Tone.BAD)

    def _delayed(self, moid: str, received: Received) -> None:
        fields = received.fields
        at = time.strftime("%H:%M", time.localtime(fields["endtime"]))
        self._screen.event(moid, received.e164, f"ends at {at}, after {fields['duration']} minutes in all", Tone.GOOD)

    def _not_delayed(self, moid: str, received: Received) -> None:
        self._screen.event(moid, received.e164, f"can't be delayed: {received.fields['errcode']}", Tone.BAD)

    def _ended(self, moid: str, received: Received) -> None:
        reason = received.fields["reason"]
        self._ledger.ended(received.e164, reason)
        self._screen.event(moid, received.e164, ENDS.get(reason, reason), Tone.ENDED)
