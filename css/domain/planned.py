"""Reserved conferences, personal templates and virtual rooms, as the CM keeps them and the locator is told (seed 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

FAMILIES = {"reserve": 2, "template": 3, "vroom": 4}
"""The first part of a hash's key, and the type of conference that it means, as UPU knows it (seed 7.3)."""


class Planned(msgspec.Struct, frozen=True, gc=False):
    """A number that can be reached without a conference that runs. Of several of one number the lowest type counts."""

    e164: str
    conftype: int
    """2 reserved, 3 personal template, 4 virtual room."""
    confname: str
    moid: str
    """Source user domain."""

    @property
    def digest(self) -> str:
        """Tells whether it is the same as what was reported."""
        text = f"{self.conftype} {self.moid} {self.confname}"
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]


class Report(msgspec.Struct, frozen=True, gc=False):
    """One number of which the locator has to be told. Digests: empty means that it does not, or shall not, know it."""

    e164: str
    before: str
    after: str
    entry: Planned | None
    """None: it is gone."""


def differences(told: Mapping[str, str], planned: Mapping[str, Planned], numbers: list[str]) -> list[Report]:
    """What the locator must be told of some numbers.

    @param told: digests of what it was told last, by number. @param planned: what there is now.
    """
    found = []
    for e164 in dict.fromkeys(numbers):
        entry = planned.get(e164)
        before, after = told.get(e164, ""), entry.digest if entry is not None else ""
        if before != after:
            found.append(Report(e164, before, after, entry))
    return found
