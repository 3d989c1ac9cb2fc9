"""Choosing and booking the host of a placement (seed 1.1: the MCU with the fewest conferences)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec
from twisted.logger import Logger

from css.domain.conference import Conference, placement_token
from css.domain.decision import Decision
from css.domain.epochs import EpochSource
from css.domain.events import Placement
from css.domain.platforms import Platforms
from css.handlers.clocks import StoreClocks
from css.handlers.tracker import Tracker
from css.ports.store import IPlatformState, StoreError

PENALTY = 10
"""Conferences that a host which has just failed seems to carry more than it does."""
DOUBTFUL_PENALTY = 1
"""The same, of a silent host that has answered others meanwhile: its answer may be held up by a stalled instance."""


class _Wishes(msgspec.Struct):
    record: int = 0


class Placing:
    """Books hosts in the own platform's Redis, whatever the conference's source platform.

    @param silent_before_ms: gives the time (own store's clock) before which a process last seen counts as silent.
    @param booking_lease_ms: after which a booking is compared with its record.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        state: Callable[[], IPlatformState],
        clocks: StoreClocks,
        epochs: EpochSource,
        random: Random,
        tracker: Tracker,
        silent_before_ms: Callable[[], int],
        booking_lease_ms: int,
        penalty_seconds: int,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._state = state
        self._clocks = clocks
        self._epochs = epochs
        self._random = random
        self._tracker = tracker
        self._silent_before_ms = silent_before_ms
        self._booking_lease_ms = booking_lease_ms
        self._penalty_seconds = penalty_seconds
        self._answered_ms: dict[str, int] = {}

    def serves(self, source: str) -> bool:
        """Whether conferences of a source platform are placed here now. To be asked last before a commit."""
        return self._platforms().serves(source)

    async def book(self, c: Conference, hosts: Sequence[str], roommoid: str, now_ms: int) -> Placement | None:
        """Book the least loaded usable host for a fresh epoch; ties are broken at random.

        @param roommoid: room of hosts that never reported one.
        @return: None if no host is usable. Fails with `StoreError`.
        """
        if not hosts:
            return None
        epoch = self._epochs.next(now_ms, c.epoch)
        shuffled = sorted(hosts, key=lambda _: self._random.random())
        booking = await self._state().book(
            placement_token(c.source, c.e164, epoch),
            shuffled,
            roommoid,
            self._silent_before_ms(),
            self._booking_lease_ms,
            self._penalty_seconds * 1000,
        )
        return None if booking is None else Placement(booking.ip, booking.roommoid, epoch, self._own)

    def give_back(self, bookings: Sequence[tuple[str, str]]) -> None:
        """These (ip, token) bookings have come to nothing."""
        self._tracker.run(self._give_back(bookings), "giving places back")

    async def _give_back(self, bookings: Sequence[tuple[str, str]]) -> None:
        try:
            await self._state().unbook(bookings)
        except StoreError as error:
            self.log.info("{count} places are found later: {error}", count=len(bookings), error=str(error))

    def answered(self, ip: str) -> None:
        """A host has just started what it was asked for. What this instance knows of that is a hint only."""
        self._answered_ms[ip] = self._clocks.now_ms(self._own)

    def penalise(self, ip: str) -> None:
        """A host has just failed: it counts as more loaded, less and less."""
        self._tracker.run(self._penalise(ip, PENALTY), f"penalty of MCU {ip}")

    def penalise_silence(self, ip: str, wait_ms: int) -> None:
        """A host has not answered for so long."""
        is_doubtful = self._answered_ms.get(ip, 0) >= self._clocks.now_ms(self._own) - wait_ms
        self._tracker.run(self._penalise(ip, DOUBTFUL_PENALTY if is_doubtful else PENALTY), f"penalty of MCU {ip}")

    async def _penalise(self, ip: str, weight: int) -> None:
        try:
            await self._state().penalise(ip, weight, self._penalty_seconds)
        except StoreError as error:
            # The penalty only makes placement smarter; without it the host is merely tried again.
            self.log.info("MCU {ip} could not be penalised: {error}", ip=ip, error=str(error))

    def wants_recorder(self, c: Conference) -> bool:
        """Whether the CM asked for recording."""
        return _wishes.decode(c.create).record == 1


class StepBookings:
    """The places that one step books, try after try. Follow the step with `settle`, unless its outcome is unknown."""

    def __init__(self, placing: Placing) -> None:
        self._placing = placing
        self._taken: list[tuple[str, str]] = []

    async def book(self, c: Conference, hosts: Sequence[str], roommoid: str, now_ms: int) -> Placement | None:
        """See `Placing.book`."""
        placement = await self._placing.book(c, hosts, roommoid, now_ms)
        if placement is not None:
            self._taken.append((placement.ip, placement_token(c.source, c.e164, placement.epoch)))
        return placement

    def settle(self, decision: Decision | None) -> None:
        """Give back what the committed decision does not use: another instance was faster, or nothing is to be done."""
        record = decision.record if decision is not None else None
        used = record.placement if record is not None else ""
        left = [(ip, token) for ip, token in self._taken if token != used]
        if left:
            self._placing.give_back(left)


_wishes = msgspec.json.Decoder(_Wishes)
