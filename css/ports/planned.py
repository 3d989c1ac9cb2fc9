"""The ports of what the CM plans (seed 7): its hashes and their changes, and the book of what the locator was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from zope.interface import Attribute, Interface

from css.domain.planned import FAMILIES, Planned, Report
from css.ports.store import OutboxEntry

__all__ = [
    "CHANNEL",
    "FAMILIES",
    "Cleared",
    "Heard",
    "ILocatorBook",
    "IPlannedConferences",
    "Planned",
    "Report",
    "Told",
]

CHANNEL = "conf.change"
"""Where the CM publishes changes (contract, section 4)."""

Heard = Callable[[bytes], None]


class IPlannedConferences(Interface):
    """`reserve/…`, `template/…` and `vroom/…` in one source platform's Redis. Methods fail with `StoreError`."""

    listens = Attribute("How often listening has begun: what was published before may not have been heard.")
    hears = Attribute("Whether changes are heard now.")

    def listen(heard: Heard) -> None:
        """Have `heard(payload)` called with each change that is published, until `unlisten`, on a link of its own that
        comes back by itself. Messages are lost while it is away."""

    def unlisten() -> Awaitable[None]:
        """Hear nothing any more. Never fails."""

    async def read(numbers: Sequence[str]) -> list[Planned]:
        """What is planned of these numbers, those without anything left out; so is a hash without its two fields."""

    async def page(cursor: str) -> tuple[list[str], str]:
        """Numbers of the hashes, paged; begin with an empty cursor, end when the returned one is empty.

        One that is there throughout is seen at least once. A page may be empty: all keys are gone through.
        """


class Told(msgspec.Struct, frozen=True):
    """A report is in the book, and waits in the outbox under the empty number."""

    mark: str
    waits: bool
    """Earlier ones have not been carried out yet: they go first."""


Cleared = Sequence[tuple[str, str, str]]
"""As `Commit.cleared`."""


class ILocatorBook(Interface):
    """In the own Redis: what this platform's locator was told of each source platform's plans, as digests by number.

    What is told is written and put in the outbox in one step, so that of several instances one tells it, once, in the
    order of the book; the entry's mark is given by the book. Methods fail with `StoreError`.
    """

    async def told(source: str, numbers: Sequence[str]) -> dict[str, str]:
        """Digests of these numbers; those that it was not told of are left out."""

    async def page(source: str, cursor: str, limit: int) -> tuple[list[str], str]:
        """Numbers in the book, paged as `IPlannedConferences.page`."""

    async def tell(source: str, reports: Sequence[Report], entry: OutboxEntry, cleared: Cleared = ()) -> Told | None:
        """Note reports, all or none. @return: None: one of them is not as the book has it (any more)."""

    async def add_moids(source: str, moids: Sequence[str]) -> None:
        """These user domains are to be withdrawn with the source platform, too; those of reports are so anyway."""

    async def moids(source: str) -> set[str]:
        """User domains that are to be withdrawn with a source platform; none: nothing of it was told."""

    async def withdraw(source: str, moids: Sequence[str], entry: OutboxEntry, cleared: Cleared = ()) -> Told | None:
        """Forget a source platform, which the entry tells. @return: None: its user domains are not just these."""

    async def forget(source: str, cleared_ms: int) -> bool:
        """The locator was cleared at a time, milliseconds of the own store's clock: it knows nothing of a source.

        @return: False: the book has forgotten for that, or a later time, before, and is left as it is.
        """
