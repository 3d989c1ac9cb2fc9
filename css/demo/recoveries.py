"""Recoveries as they happen, told from the ledgers of the platforms."""

from __future__ import annotations

from collections.abc import Mapping

from css.demo.screen import Screen, Tone
from css.ports.ledger import ILedger, LedgerStep, Recovery

NEWEST = 10
MOST_STEPS = 2_000


class Recoveries:
    """Call `tick` now and then: it tells what has happened since. Each method fails with `StoreError`.

    @param ledgers: by platform.
    """

    def __init__(self, ledgers: Mapping[str, ILedger], screen: Screen) -> None:
        self._ledgers = ledgers
        self._screen = screen
        self._told: dict[str, set[tuple[str, str]]] = {}
        """By recovery under way: the steps that were told."""
        self._over: dict[str, int] = {}
        """By recovery: the end that was told, milliseconds."""

    async def begin(self) -> None:
        """What is over by now belongs to an earlier run."""
        for ledger in self._ledgers.values():
            self._over |= {each.name: each.ended_ms for each in await ledger.recent(NEWEST) if each.ended_ms}

    async def tick(self) -> None:
        """Tell what is new, in order."""
        for moid, ledger in self._ledgers.items():
            for recovery in reversed(await ledger.recent(NEWEST)):
                if self._over.get(recovery.name) != recovery.ended_ms:
                    await self._tell(moid, ledger, recovery)

    async def _tell(self, moid: str, ledger: ILedger, recovery: Recovery) -> None:
        if recovery.kind == "operator":
            self._screen.event(moid, "", f"operator {recovery.detected}: {recovery.subject}")
        else:
            self._tell_steps(moid, recovery, await ledger.steps(recovery.name, MOST_STEPS))
        if recovery.ended_ms:
            self._over[recovery.name] = recovery.ended_ms

    def _tell_steps(self, moid: str, recovery: Recovery, steps: list[LedgerStep]) -> None:
        if not steps:
            return  # entered by an instance that found all of it taken by another one
        if recovery.name not in self._told:
            self._told[recovery.name] = set()
            self._screen.event(moid, "", f"recovery begins: {recovery.detected}", Tone.BAD)
        told = self._told[recovery.name]
        for step in steps:
            if (step.e164, step.mark) not in told:
                told.add((step.e164, step.mark))
                tone = Tone.GOOD if step.text.startswith("restored") else Tone.QUIET
                self._screen.event(moid, step.e164, step.text, tone)
        if recovery.ended_ms:
            self._screen.event(moid, "", _summary(recovery), Tone.GOOD)


def _summary(recovery: Recovery) -> str:
    seconds = (recovery.ended_ms - recovery.begun_ms) / 1000
    count = f"{recovery.settled} of {recovery.planned} conferences are restored or have ended"
    return f"recovery of {recovery.kind} {recovery.subject} is over after {seconds:.1f} s: {count}"
