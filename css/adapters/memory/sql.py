"""A database in memory with the contract of the real one, and verbs to make it fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from css.adapters.rows import check_template, newest_writes
from css.ports.sql import ConfinfoRow, DomainRow, IConferenceDatabase, RowWrite, SqlError, TemplateRow, TemplateWrite


@implementer(IConferenceDatabase)
class MemoryDatabase:
    """Verbs for tests and simulations: `fail()`, `recover()`, and the tables themselves, to look at and to fill.

    @param seconds: the database's clock, e.g. `clock.seconds`.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._sides: dict[str, str] = {}
        self._failing = False
        self._hanging: Deferred[None] | None = None
        self._closed = False
        self._template_versions: dict[str, tuple[int, float]] = {}
        self._versions: dict[str, tuple[int, int, float]] = {}
        self.rows: dict[str, ConfinfoRow] = {}
        self.templates: dict[str, TemplateRow] = {}
        self.domain_rows: dict[str, DomainRow] = {}

    def fail(self) -> None:
        """From now on every method fails with `SqlError`, having done nothing."""
        self._failing = True

    def recover(self) -> None:
        """Undo `fail` and `hang`."""
        self._failing = False
        hanging, self._hanging = self._hanging, None
        if hanging is not None:
            hanging.callback(None)

    def hang(self) -> None:
        """From now on `prepare` waits, until `recover`; one waits at a time."""
        self._hanging = Deferred()

    async def prepare(self) -> None:
        if self._hanging is not None:
            await self._hanging
        self._answer()

    async def apply(self, writes: Sequence[RowWrite]) -> None:
        newest = newest_writes(writes)
        self._answer()
        for write in newest:
            epoch, version, _ = self._versions.get(write.e164, (-1, -1, 0))
            if (write.epoch, write.version) <= (epoch, version):
                continue
            self._versions[write.e164] = (write.epoch, write.version, self._seconds())
            if write.side:
                self._sides[write.e164] = write.side
            else:
                self._sides.pop(write.e164, None)
            if write.row is None:
                self.rows.pop(write.e164, None)
            else:
                self.rows[write.e164] = write.row

    async def prune(self, older_than_seconds: int, limit: int) -> int:
        self._answer()
        cutoff = self._seconds() - older_than_seconds
        oldest = sorted(self._versions.items(), key=lambda item: item[1][2])
        stale = [e164 for e164, (_, _, changed) in oldest if changed <= cutoff and e164 not in self.rows]
        for e164 in stale[:limit]:
            del self._versions[e164]
            self._sides.pop(e164, None)
        gone = [e164 for e164, (_, changed) in self._template_versions.items() if changed <= cutoff]
        gone = [e164 for e164 in gone if e164 not in self.templates][:limit]
        for e164 in gone:
            del self._template_versions[e164]
        return max(len(stale[:limit]), len(gone))

    async def domains(self) -> list[DomainRow]:
        self._answer()
        return list(self.domain_rows.values())

    async def domain(self, moid: str) -> DomainRow | None:
        self._answer()
        return self.domain_rows.get(moid)

    async def confinfos(self, numbers: Sequence[str]) -> dict[str, ConfinfoRow]:
        self._answer()
        return {e164: self.rows[e164] for e164 in numbers if e164 in self.rows}

    async def confinfo_page(self, srcplatformmoid: str, after: str, limit: int) -> list[ConfinfoRow]:
        self._answer()
        found = (row for e164, row in sorted(self.rows.items()) if e164 > after)
        return [row for row in found if row.srcplatformmoid == srcplatformmoid][:limit]

    async def sides(self, numbers: Sequence[str]) -> dict[str, str]:
        self._answer()
        return {e164: self._sides[e164] for e164 in numbers if e164 in self._sides}

    async def template(self, e164: str) -> TemplateRow | None:
        self._answer()
        return self.templates.get(e164)

    async def template_version(self, e164: str) -> int:
        self._answer()
        return self._template_versions.get(e164, (0, 0.0))[0]

    async def templates_page(self, platformmoid: str, after: str, limit: int) -> list[TemplateRow]:
        self._answer()
        found = (row for e164, row in sorted(self.templates.items()) if e164 > after)
        return [row for row in found if row.platformmoid == platformmoid][:limit]

    async def apply_template(self, write: TemplateWrite) -> str:
        check_template(write)
        self._answer()
        if write.version <= self._template_versions.get(write.e164, (0, 0.0))[0]:
            return ""
        there = self.templates.get(write.e164)
        if there is not None and write.over is not None and there.platformmoid not in write.over:
            return there.platformmoid
        self._template_versions[write.e164] = (write.version, self._seconds())
        if write.row is None:
            self.templates.pop(write.e164, None)
        else:
            self.templates[write.e164] = write.row
        return ""

    async def close(self) -> None:
        self._closed = True

    def _answer(self) -> None:
        if self._closed:
            raise SqlError("the database is closed")
        if self._failing:
            raise SqlError("made to fail")
