"""The port of those who only read which conferences run (seed 8): one source platform's Redis."""

from __future__ import annotations

import msgspec
from zope.interface import Attribute, Interface


class Running(msgspec.Struct, frozen=True, gc=False):
    """An ongoing conference; times in seconds since the epoch, `endtime` 0: none."""

    confE164: str  # noqa: N815  # encoded as it stands
    confname: str
    moid: str
    """User domain."""
    platformmoid: str
    """Where it really runs."""
    begintime: int
    endtime: int


class RunningPage(msgspec.Struct, frozen=True, gc=False):
    """A part of the ongoing conferences, by number."""

    conferences: list[Running]
    last: str
    """Go on after this number; it may be one that has just ended."""
    more: bool
    """Whether there is anything after it."""


class IRunningConferences(Interface):
    """The ongoing conferences whose source is one platform. Each method fails with `StoreError`."""

    available = Attribute("True while the link to its Redis is up.")

    async def prepare() -> None:
        """Look through all records for those that the index lacks: commits keep it, but a record may be older than it,
        or written by somebody else. Costs in proportion to what is stored, a little at a time; a page may lack what has
        not been looked for."""

    async def page(after: str, limit: int) -> RunningPage:
        """The next ones whose number is above `after` (empty: from the beginning), at most `limit`, by number.

        One that is ongoing throughout is in exactly one of the pages of a reader who always goes on after `last`. Costs
        in proportion to `limit`, whatever is stored.
        """
