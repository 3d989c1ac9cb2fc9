"""Epochs: numbers that name one placement of a conference, never used twice (contract section 1)."""

from __future__ import annotations

INSTANCE_SLOTS = 1024
MAX_EPOCH = 2**53 - 1


def over_by(epoch: int, now_ms: int) -> int:
    """The epoch up to which a conference that ends now is over: its own, and those of placements that are newer and
    that a failover has lost.

    @param now_ms: the store's clock, milliseconds since the epoch.
    """
    return max(epoch, now_ms * INSTANCE_SLOTS)


class EpochSource:
    """Issues epochs for one instance: milliseconds x 1024 + the instance's slot, and always above its last one.

    The slot (0 to 1023) is leased in the own Redis, so two instances never issue the same epoch, not even when a
    failover has lost the newest writes.
    """

    def __init__(self, slot: int) -> None:
        if not 0 <= slot < INSTANCE_SLOTS:
            raise ValueError(f"slot {slot} is not within 0..{INSTANCE_SLOTS - 1}")
        self._slot = slot
        self._last = 0

    def move_to(self, slot: int) -> None:
        """Go on in another slot, after the lease of the first was lost."""
        if not 0 <= slot < INSTANCE_SLOTS:
            raise ValueError(f"slot {slot} is not within 0..{INSTANCE_SLOTS - 1}")
        self._slot = slot

    def next(self, now_ms: int, above: int = 0) -> int:
        """The next epoch: above `above` (a record's or a tombstone's), above all that this instance issued.

        @param now_ms: the store's clock, milliseconds since the epoch.
        """
        floor = max(now_ms * INSTANCE_SLOTS, above + 1, self._last + 1)
        base = floor - floor % INSTANCE_SLOTS
        epoch = base + self._slot
        if epoch < floor:
            epoch += INSTANCE_SLOTS
        self._last = epoch
        return epoch
