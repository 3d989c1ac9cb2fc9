"""Whether the own platform is on duty, and what of its conferences is in doubt after it was not (seed 2.3.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from css.domain.conference import Conference
from css.domain.duty import doubted_below, is_doubted
from css.domain.epochs import EpochSource
from css.domain.events import Voided
from css.domain.ledger import recovery_name
from css.domain.platforms import Platforms
from css.handlers.clocks import StoreClocks
from css.ports.ledger import ILedger, Recovery
from css.ports.store import IPlatformState, StoreError


async def _nothing() -> None:
    """A round off duty."""


class Duty:
    """Off duty is the own platform while the PMS calls it abnormal: no record of a conference is written then.

    When it is normal again, what its MCUs were told to end meanwhile must not be taken for ended by them: for
    `grace_ms` all placements that are older than that moment are in doubt. The moment is kept in the own Redis, so an
    instance that is started, or was killed, in the middle of it knows it, too.
    """

    log = Logger()

    def __init__(
        self,
        own: str,
        platforms: Callable[[], Platforms],
        state: Callable[[], IPlatformState],
        clocks: StoreClocks,
        grace_ms: int,
    ) -> None:
        self._own = own
        self._platforms = platforms
        self._state = state
        self._clocks = clocks
        self._grace_ms = grace_ms
        self._suspensions = 0
        self._settled = 0
        """Of so many suspensions the own Redis knows that they are over."""
        self._told: bool | None = None
        """What the own Redis was told last: on duty, or not; None: nothing that still holds."""
        self._resumed_ms = 0
        self._listeners: list[Callable[[], None]] = []

    @property
    def on(self) -> bool:
        """Whether the platform is normal."""
        return not self._platforms().own_abnormal

    @property
    def resumed_ms(self) -> int:
        """When the platform last became normal again, milliseconds of the own store's clock; 0: it always was."""
        return self._resumed_ms

    @property
    def settled(self) -> bool:
        """Whether the platform is normal, and `resumed_ms` is known to be true."""
        return self.on and bool(self._told)

    def on_suspended(self, listener: Callable[[], None]) -> None:
        """Have `listener()` called each time that the platform is abnormal."""
        self._listeners.append(listener)

    def suspended(self) -> None:
        """The platform is abnormal. To be called at once: it may be normal again before the next `tick`."""
        self._suspensions += 1
        if self._told:
            self._told = None
        for listener in self._listeners:
            listener()

    def while_on(self, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        """The same round of work, which does nothing while the platform is off duty."""

        def guarded() -> Awaitable[object]:
            return work() if self.on else _nothing()

        return guarded

    async def tick(self) -> None:
        """Tell the own Redis what has changed. Fails with `StoreError`; it is then told by the next one."""
        on = self.on
        if self._told is on:
            return
        if not on:
            await self._state().note_duty(False)
            self._told = False
            return
        suspensions = self._suspensions
        if self._told is None and suspensions > self._settled:
            # It may not have been possible while the platform was abnormal.
            await self._state().note_duty(False)
        resumed_ms = await self._state().note_duty(True)
        if suspensions == self._suspensions:
            self._resumed_ms, self._settled, self._told = resumed_ms, suspensions, True

    def doubted_below(self, platform: str) -> int:
        """Placements here of conferences of a store with an epoch below this may have been ended by this platform
        itself; 0: none is in doubt.

        @raise StoreError: it is not known yet, since the own Redis could not be asked.
        """
        if not self._told:
            raise StoreError("it is not known yet since when the platform is on duty")
        since_ms = self._clocks.now_ms(self._own) - self._resumed_ms
        return doubted_below(self._resumed_ms, since_ms, self._grace_ms, self._clocks.now_ms(platform))


class Doubts:
    """Makes losses of ends that the platform itself may have brought about while it was abnormal."""

    def __init__(self, own: str, duty: Duty, ledger: Callable[[], ILedger], epochs: EpochSource) -> None:
        self._own = own
        self._duty = duty
        self._ledger = ledger
        self._epochs = epochs

    async def loss(self, c: Conference, now_ms: int) -> Voided | None:
        """What happens to a conference that an MCU here says, or shows, to be over; None: it is over.

        Fails with `StoreError`.
        """
        if not is_doubted(c, self._own, self._duty.doubted_below(c.source)):
            return None
        begun_ms = self._duty.resumed_ms
        name = recovery_name("platform", self._own, begun_ms, self._own)
        detected = "the platform is normal again: what its MCUs no longer run"
        await self._ledger().open(Recovery(name, "platform", self._own, detected, begun_ms))
        return Voided(now_ms=now_ms, epoch=self._epochs.next(now_ms, c.epoch), recovery=name)
