"""The recovery ledger: what was detected, what was planned, what became of each conference."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from zope.interface import Interface

MOST_ENTRIES = 500
"""Older recoveries are forgotten."""
ONE_LOSS_MS = 60_000
"""What is entered of one kind and subject within this time, while the first is under way, is one recovery."""
MOST_STEPS = 20_000
"""Of one recovery; later ones are only counted."""


class Recovery(msgspec.Struct, frozen=True):
    """One recovery. Times: milliseconds of the store's clock; `ended_ms` 0: still under way."""

    name: str
    kind: str
    """`mcu` or `room`; `operator`: no recovery, but what a person did, ended as it began."""
    subject: str
    """Address and process of the MCU, or moid of the room; what the person did."""
    detected: str
    """How it was noticed, a sentence; who did it, and why."""
    begun_ms: int
    ended_ms: int = 0
    planned: int = 0
    """How many conferences are, or were, to be restored."""
    settled: int = 0
    """How many of them have been restored, or have ended."""

    def came_to_nothing(self, now_ms: int) -> bool:
        """Whether no conference has joined it: whoever entered it died before its first step, and the loss, if it was
        still there, was noticed anew."""
        return not self.planned and not self.ended_ms and now_ms - self.begun_ms > ONE_LOSS_MS


class LedgerStep(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened to one conference in a recovery. The same step noted twice counts once."""

    recovery: str
    e164: str
    mark: str
    """`<epoch>.<version>` of the record's step."""
    time_ms: int
    text: str
    planned: bool = False
    """The conference joins the recovery."""
    settled: bool = False
    """It leaves it: restored, or ended."""


class ILedger(Interface):
    """Kept in the own platform's Redis. Methods fail with `StoreError`."""

    async def open(recovery: Recovery) -> str:
        """Enter a recovery; one of the same name stays as it is.

        @return: its name, or that of one of the same kind and subject that was entered less than `ONE_LOSS_MS` ago and
        is under way: several instances that notice one loss make one entry.
        """

    async def note(steps: Sequence[LedgerStep]) -> None:
        """Note steps. A recovery ends when all that joined it have left it."""

    async def recent(limit: int) -> list[Recovery]:
        """The newest recoveries, the newest first."""

    async def steps(recovery: str, limit: int) -> list[LedgerStep]:
        """The steps of one recovery in the order of time, at most `limit`."""
