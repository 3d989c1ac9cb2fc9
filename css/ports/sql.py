"""The SQL port: `confinfo`, `ttemplateinfo`, `ap_domain`, one logical database for all platforms."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from zope.interface import Interface


class SqlError(Exception):
    """The database is away, or did not answer in time: the outcome is unknown, and trying again is safe."""


class SqlRefused(Exception):
    """The database answered and refused: trying again would not help (a constraint, a value too long …)."""


TEXT_LIMITS = {
    "e164": 32,
    "confname": 256,
    "password": 128,
    "moid": 128,
    "srcplatformmoid": 128,
    "platformmoid": 128,
    "uplevelmoid": 128,
    "ip": 64,
    "name": 256,
    "content": 1024 * 1024,
    "side": 1024 * 1024,
}
"""Longest text, in characters, that any implementation takes per column; a longer one is `SqlRefused`. A table that
others made may take less."""


class ConfinfoRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `confinfo`: a conference from its first `ongoing` to its end. Times: seconds since the epoch."""

    e164: str
    confname: str
    password: str
    moid: str
    srcplatformmoid: str
    platformmoid: str
    ip: str
    begintime: int
    endtime: int


class RowWrite(msgspec.Struct, frozen=True, gc=False):
    """A write of one conference's row. It applies only if (`epoch`, `version`) exceeds that of the last one applied."""

    e164: str
    epoch: int
    version: int
    row: ConfinfoRow | None = None
    """None: delete the row."""
    side: str = ""
    """What CSS needs to rebuild the record should its Redis lose it: JSON text of the record's fields. Kept beside the
    row, for CSS alone."""


class TemplateRow(msgspec.Struct, frozen=True):
    """One row of `ttemplateinfo`; `content` is JSON text."""

    e164: str
    moid: str
    platformmoid: str
    name: str
    content: str


class TemplateWrite(msgspec.Struct, frozen=True):
    """A write of one public template. It applies only if `version` exceeds that of the last one applied."""

    e164: str
    version: int
    row: TemplateRow | None = None
    """None: delete it."""
    over: tuple[str, ...] | None = None
    """Moids of the platforms whose template it may replace or delete; None: whosesoever."""


class DomainRow(msgspec.Struct, frozen=True):
    """One row of `ap_domain`; `level`: 0 user, 1 platform, 2 service; flags 0 or 1."""

    moid: str
    level: int
    uplevelmoid: str = ""
    name: str = ""
    used: int = 1
    enableh265: int = 0
    enablehdmeeting: int = 0


class IConferenceDatabase(Interface):
    """The SQL database. Methods fail with `SqlError` (try again) or `SqlRefused` (do not)."""

    async def prepare() -> None:
        """Connect; create missing tables and bring older ones of ours to the present version."""

    async def apply(writes: Sequence[RowWrite]) -> None:
        """Apply writes in order, in one transaction; each exactly once in effect however often it is given.

        `SqlRefused` refuses the whole batch: nothing of it is applied; give the writes one by one to find the bad one.
        """

    async def prune(older_than_seconds: int, limit: int) -> int:
        """Forget the order (`epoch`, `version`) of at most `limit` conferences, and of as many public templates, that
        have no row any more and were last written longer ago than that, by the database's clock.

        @return: how many of the one kind were forgotten, of which more were; call again while it is `limit`.
        """

    async def domains() -> list[DomainRow]:
        """All of `ap_domain`."""

    async def domain(moid: str) -> DomainRow | None:
        """One row of `ap_domain`."""

    async def confinfos(numbers: Sequence[str]) -> dict[str, ConfinfoRow]:
        """The open rows of these numbers; one that has none is missing."""

    async def confinfo_page(srcplatformmoid: str, after: str, limit: int) -> list[ConfinfoRow]:
        """Open rows of one source platform with `e164` > `after`, ordered by it, at most `limit`."""

    async def sides(numbers: Sequence[str]) -> dict[str, str]:
        """The side text last written for each of these numbers; one that has none is missing."""

    async def template(e164: str) -> TemplateRow | None:
        """One public template."""

    async def template_version(e164: str) -> int:
        """@return: version of the last write of a public template that was applied, also of one that deleted it; 0 if
        there was none, or it was forgotten."""

    async def templates_page(platformmoid: str, after: str, limit: int) -> list[TemplateRow]:
        """Public templates of one platform with `e164` > `after`, ordered by it, at most `limit`."""

    async def apply_template(write: TemplateWrite) -> str:
        """Insert, replace or delete a public template, exactly once in effect however often it is given.

        @return: empty: it is done, now or before; else nothing is, since the template is this platform's, which is not
            among `over`.
        """

    async def close() -> None:
        """Give connections back; commands under way are finished first."""
