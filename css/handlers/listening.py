"""What an instance has heard of one source platform's plans, and when it must compare all of them (seed 7).

A comparison goes through the names of all keys of that platform's Redis, so it is made only after something may have
been missed. What an instance missed before it began to listen others have heard, if they listened without a gap: each
says so in the own Redis, and one that starts beside them compares nothing.
"""

from __future__ import annotations

from css.handlers.turns import MARGIN_MS, Turns
from css.ports.planned import IPlannedConferences

COMPARE_SECONDS = 600.0
"""How often all are compared without any reason."""
NOTICE_MS = 1_500
"""In how much time all instances have noticed that their link was lost and came back."""
PATIENCE_MS = 3_000
"""How long the first comparison waits for the link on which changes are heard: with it, it must be made once more."""
NOTE_MS = 2_000
"""How often an instance says that it listens."""
LAG_MS = 1_000
"""How long a change may take from its publication to an instance that listens."""
GONE_MS = 6_000
"""An instance that has not said so for this long listens no more."""


class Place:
    """How far a comparison has come.

    @param wanted_ms: since when it was wanted.
    """

    def __init__(self, wanted_ms: int) -> None:
        self.wanted_ms = wanted_ms
        self.cursor = ""
        self.in_book = False
        """What there is has been gone through; what was told is."""
        self.is_end = False

    def move(self, cursor: str) -> None:
        """A page is done. @param cursor: of the next one; empty: there is none."""
        self.cursor = cursor
        if not cursor:
            self.in_book, self.is_end = True, self.in_book


class Listening:
    """One source platform that is served here. Times are milliseconds of the own store's clock.

    @param ready_ms: the first comparison is not made before this.
    @param may_rely: whether what other instances have heard may stand for the first comparison.
    """

    def __init__(self, source: str, planned: IPlannedConferences, ready_ms: int, may_rely: bool) -> None:
        self.planned = planned
        self.wanted_ms = 0
        """Since when all are to be compared; 0: they need not be."""
        self.place: Place | None = None
        """Of the comparison that this instance makes."""
        self.heard: set[str] = set()
        self.again: set[str] = set()
        self.is_reading = False
        self._source = source
        self._ready_ms = ready_ms
        self._may_rely = may_rely
        self._compared_ms = 0
        self._seen: tuple[int, int] | None = None
        self._hears = False
        self._began_ms = 0
        self._noted_ms = 0

    @property
    def turn(self) -> str:
        """The name of the comparison, which one instance makes for all."""
        return f"planned/{self._source}"

    def want(self, now_ms: int) -> None:
        """Something was missed by this instance: all are to be compared."""
        self.wanted_ms, self._may_rely = now_ms, False

    def look(self, listens: int, hears: bool, cleared_ms: int, now_ms: int) -> None:
        """Whether something may have been missed: at the beginning, after each link, and once in a while anyway."""
        seen, self._hears = (listens, cleared_ms), hears
        if self._seen is None:
            self._began_ms = now_ms
        elif seen[1] != self._seen[1]:
            self._may_rely = False
        if seen != self._seen:
            self._seen = seen
            self.wanted_ms = max(now_ms, cleared_ms)
        elif not self.wanted_ms and now_ms - self._compared_ms > COMPARE_SECONDS * 1000:
            self.wanted_ms = now_ms

    def is_time(self, now_ms: int) -> bool:
        """Whether to compare now. At once the first time, later when all instances have noticed: one is enough."""
        if not self.wanted_ms:
            return False
        if self._compared_ms:
            return now_ms >= self.wanted_ms + NOTICE_MS
        return now_ms >= self._ready_ms and (self._hears or now_ms >= self._began_ms + PATIENCE_MS)

    def compared(self, wanted_ms: int, now_ms: int) -> None:
        """All that was wanted by then has been compared, by whomever."""
        if self.wanted_ms == wanted_ms:
            self.wanted_ms, self._compared_ms = 0, now_ms

    async def is_covered(self, turns: Turns, cleared_ms: int, now_ms: int) -> bool:
        """Whether others stand for the first comparison, or may turn out to: then it waits. Fails with `StoreError`.

        They do if they still listened after this instance had begun to, and all was compared since the last clearing.
        """
        if self._compared_ms or not self._may_rely or not await turns.is_done(self.turn, cleared_ms):
            return False
        noted_ms = await turns.noted(self._name)
        if noted_ms > self.wanted_ms + MARGIN_MS:
            self.compared(self.wanted_ms, now_ms)
            return True
        return now_ms - noted_ms <= GONE_MS

    async def note(self, turns: Turns, began_ms: int) -> None:
        """Say now and then that nothing has been missed. Fails with `StoreError`.

        @param began_ms: when the round began; what was heard before that has been told.
        """
        if self._hears and self.is_settled and began_ms - self._noted_ms >= NOTE_MS:
            await turns.note(self._name, began_ms - LAG_MS)
            self._noted_ms = began_ms

    @property
    def is_settled(self) -> bool:
        """Whether all has been compared, and all that was heard has been told."""
        return self._compared_ms > 0 and not (self.wanted_ms or self.heard or self.is_reading)

    @property
    def _name(self) -> str:
        return f"heard/{self._source}"
