"""The CMs' side of the demo: conferences are asked for and released, by themselves and by command."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import cycle
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from css.demo.layout import (
    CEILING,
    CONFERENCE_NAMES,
    DURATION_MINUTES,
    PACE_SECONDS,
    PLATFORMS,
    RELEASE_SHARE,
    Layout,
    serving,
)
from css.demo.ledger import Ledger, Line
from css.demo.screen import Screen, Tone
from css.peers.cm import CmPeer
from css.ports.bus import Unroutable


class Traffic:
    """Asks CSS as CMs do.

    @param cms: by platform.
    @param away: platforms that are abnormal now: the CM of another one asks for them.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        random: Random,
        cms: Mapping[str, CmPeer],
        ledger: Ledger,
        screen: Screen,
        away: Collection[str] = (),
    ) -> None:
        self._reactor = reactor
        self._random = random
        self._cms = cms
        self._ledger = ledger
        self._screen = screen
        self._away = away
        self._turns = cycle(PLATFORMS)
        self._loop = LoopingCall(self.step)
        self._loop.clock = reactor

    def start(self) -> None:
        """Let things happen by themselves from now on."""
        _ = self._loop.start(PACE_SECONDS)

    def stop(self) -> None:
        """Nothing more happens by itself."""
        if self._loop.running:
            self._loop.stop()

    def step(self) -> None:
        """One conference begins, or one ends."""
        running = list(self._ledger.running)
        full = len(running) + len(self._ledger.unanswered) >= CEILING
        if running and (full or self._random.random() < RELEASE_SHARE):
            self.release(running[0])
        elif not full:
            self.create()

    def create(self, confname: str = "") -> str:
        """Ask for a conference; platforms take turns. @return: its number."""
        platform: Layout = next(self._turns)
        moid, _ = self._random.choice(platform.domains)
        e164, name = self._free_number(), confname or self._random.choice(CONFERENCE_NAMES)
        self._ledger.asked(Line(e164, platform.moid, name, self._reactor.seconds()))
        self._screen.event(platform.moid, e164, f"is asked for by {moid}: {name}")
        cm = self._cms[serving(platform.moid, self._away)]
        self._watch(cm.create(e164, name, moid, duration=DURATION_MINUTES), platform.moid, e164)
        return e164

    def release(self, e164: str) -> None:
        """Ask for a conference's end; a number that nobody knows is asked about too."""
        line = self._ledger.running.get(e164) or self._ledger.unanswered.get(e164)
        home = line.home if line is not None else PLATFORMS[0].moid
        self._screen.event(home, e164, "is to be released", Tone.QUIET)
        self._watch(self._cms[serving(home, self._away)].release(e164), home, e164, ends=True)

    def _watch(self, answer: Deferred[dict[str, Any]], moid: str, e164: str, ends: bool = False) -> None:
        def answered(fields: dict[str, Any]) -> None:
            if ends and fields["type"].endswith("_ACK"):
                self._ledger.ended(e164)

        def unroutable(failure: Any) -> None:
            failure.trap(Unroutable)
            self._screen.event(moid, e164, "nobody takes this request: no CSS is there", Tone.BAD)

        _ = answer.addCallbacks(answered, unroutable)

    def _free_number(self) -> str:
        """With a leading zero, as real ones have."""
        while True:
            e164 = f"0{self._random.randrange(100_000, 1_000_000)}"
            if e164 not in self._ledger:
                return e164
