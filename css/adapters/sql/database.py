"""The SQL database behind `IConferenceDatabase`: MariaDB or MySQL through PyMySQL, SQLite when embedded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from twisted.logger import Logger
from zope.interface import implementer

from css.adapters.rows import check_template, newest_writes
from css.adapters.sql import tables
from css.adapters.sql.engine import SqlSettings, make_engine
from css.adapters.sql.schema import prepare_schema
from css.adapters.sql.statements import statements_for
from css.adapters.sql.worker import Worker
from css.ports.sql import (
    ConfinfoRow,
    DomainRow,
    IConferenceDatabase,
    RowWrite,
    SqlError,
    SqlRefused,
    TemplateRow,
    TemplateWrite,
)

T = TypeVar("T")

_DOMAIN = tuple(tables.ap_domain.columns)
_DEADLOCK = 1213
_ATTEMPTS = 5
_REFUSED_CODES = frozenset({1153, 3819, 4025})
"""Packet too large; a CHECK constraint of MySQL, of MariaDB. The driver files them under its operational errors.

What an operator can mend (rights, a missing table, a full disk, read-only) counts as `SqlError`: the row must wait."""


@implementer(IConferenceDatabase)
class SqlDatabase:
    """One database server, used from threads; any number of instances may write at the same time.

    @param reactor: provides `IReactorTime` and `IReactorFromThreads`.
    """

    _log = Logger()

    def __init__(self, reactor: Any, settings: SqlSettings) -> None:
        self._settings = settings
        self._engine = make_engine(settings)
        self._statements = statements_for(self._engine.dialect.name)
        # SQLite has one writer at a time: more threads would only wait for each other.
        threads = 1 if self._engine.dialect.name == "sqlite" else settings.threads
        self._worker = Worker(reactor, threads, settings.timeout_seconds, settings.max_waiting)

    def __repr__(self) -> str:
        return f"SqlDatabase({self._settings!r})"

    async def prepare(self) -> None:
        await self._transaction(prepare_schema)

    async def apply(self, writes: Sequence[RowWrite]) -> None:
        newest = newest_writes(writes)
        if newest:
            await self._transaction(lambda connection: self._apply(connection, newest))

    def _apply(self, connection: Connection, writes: Sequence[RowWrite]) -> None:
        known = self._statements.claim_versions(connection, [write.e164 for write in writes])
        due = [write for write in writes if (write.epoch, write.version) > known[write.e164]]
        self._statements.put_versions(connection, due)
        self._statements.put_confinfo(connection, [write.row for write in due if write.row is not None])
        self._statements.delete_confinfo(connection, [write.e164 for write in due if write.row is None])

    async def prune(self, older_than_seconds: int, limit: int) -> int:
        return await self._transaction(
            lambda connection: self._statements.prune_versions(connection, older_than_seconds, limit)
        )

    async def domains(self) -> list[DomainRow]:
        return await self._transaction(lambda connection: _read_domains(connection, select(*_DOMAIN)))

    async def domain(self, moid: str) -> DomainRow | None:
        query = select(*_DOMAIN).where(tables.ap_domain.c.moid == moid)
        found = await self._transaction(lambda connection: _read_domains(connection, query))
        return found[0] if found else None

    async def confinfos(self, numbers: Sequence[str]) -> dict[str, ConfinfoRow]:
        table = tables.confinfo
        query = select(*table.columns).where(table.c.e164.in_(numbers))
        found = await self._transaction(lambda connection: connection.execute(query).all())
        rows = (ConfinfoRow(*values) for values in found)
        return {row.e164: row for row in rows}

    async def confinfo_page(self, srcplatformmoid: str, after: str, limit: int) -> list[ConfinfoRow]:
        table = tables.confinfo
        query = (
            select(*table.columns)
            .where(table.c.srcplatformmoid == srcplatformmoid, table.c.e164 > after)
            .order_by(table.c.e164)
            .limit(limit)
        )
        return await self._transaction(lambda connection: [ConfinfoRow(*row) for row in connection.execute(query)])

    async def sides(self, numbers: Sequence[str]) -> dict[str, str]:
        table = tables.css_row_version
        query = select(table.c.e164, table.c.side).where(table.c.e164.in_(numbers), table.c.side.is_not(None))
        return await self._transaction(lambda connection: {row[0]: row[1] for row in connection.execute(query)})

    async def template(self, e164: str) -> TemplateRow | None:
        table = tables.ttemplateinfo
        query = select(*table.columns).where(table.c.e164 == e164)
        found = await self._transaction(lambda connection: connection.execute(query).all())
        return TemplateRow(*found[0]) if found else None

    async def template_version(self, e164: str) -> int:
        table = tables.css_template_version
        query = select(table.c.version).where(table.c.e164 == e164)
        return int(await self._transaction(lambda connection: connection.scalar(query)) or 0)

    async def templates_page(self, platformmoid: str, after: str, limit: int) -> list[TemplateRow]:
        table = tables.ttemplateinfo
        mine = table.c.platformmoid == platformmoid
        query = select(*table.columns).where(mine, table.c.e164 > after).order_by(table.c.e164).limit(limit)
        return await self._transaction(lambda connection: [TemplateRow(*row) for row in connection.execute(query)])

    async def apply_template(self, write: TemplateWrite) -> str:
        check_template(write)
        return await self._transaction(lambda connection: self._apply_template(connection, write))

    def _apply_template(self, connection: Connection, write: TemplateWrite) -> str:
        if write.version <= self._statements.claim_template(connection, write.e164):
            return ""
        owner = self._statements.template_owner(connection, write.e164)
        if owner and write.over is not None and owner not in write.over:
            return owner
        self._statements.put_template(connection, write)
        return ""

    async def close(self) -> None:
        await self._worker.close()
        self._engine.dispose()

    async def _transaction(self, work: Callable[[Connection], T]) -> T:
        return await self._worker.run(lambda: self._attempt(work))

    def _attempt(self, work: Callable[[Connection], T]) -> T:
        """Run in a thread. Every piece of work may be repeated, so a deadlock, or a connection that had died in the
        pool, is not worth troubling the caller with."""
        give_up = time.monotonic() + self._settings.timeout_seconds / 2
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                again = error.connection_invalidated or _code(error) == _DEADLOCK
                if not again or attempt == _ATTEMPTS or time.monotonic() >= give_up:
                    raise _translated(error) from error
                self._log.debug("database: trying again after {reason}", reason=str(error.orig))
            except SQLAlchemyError as error:
                raise SqlError(str(error)) from error
        raise AssertionError("unreachable")


def _read_domains(connection: Connection, query: Select[Any]) -> list[DomainRow]:
    """Rows of others may have NULLs; they mean the default."""
    names = [column.name for column in _DOMAIN]
    return [
        DomainRow(**{name: value for name, value in zip(names, row, strict=True) if value is not None})
        for row in connection.execute(query)
    ]


def _code(error: DBAPIError) -> int:
    arguments = error.orig.args if error.orig is not None else ()
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _translated(error: DBAPIError) -> SqlError | SqlRefused:
    refused = isinstance(error, DataError | IntegrityError) or _code(error) in _REFUSED_CODES
    return (SqlRefused if refused else SqlError)(str(error.orig))
