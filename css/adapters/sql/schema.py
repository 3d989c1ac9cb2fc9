"""Creates what is missing and brings older tables of ours up to date; any number of instances may do so at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, inspect, select
from twisted.logger import Logger

from css.adapters.sql import tables
from css.ports.sql import SqlError, SqlRefused

Migration = Callable[[Connection], None]

_log = Logger()
_LOCK_SECONDS = 10


def create_all_tables(connection: Connection) -> None:
    """Version 1: the public tables that are missing, and the order of row writes."""
    for table in (*tables.PUBLIC_TABLES, tables.css_row_version):
        table.create(connection, checkfirst=True)


def add_side(connection: Connection) -> None:
    """Version 2: what is needed to rebuild a record. Instances of version 1 leave it empty."""
    inspector: Any = inspect(connection)
    if "side" not in {column["name"] for column in inspector.get_columns("css_row_version")}:
        kind = tables.css_row_version.c.side.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE css_row_version ADD COLUMN side {kind} NULL")


def add_template_versions(connection: Connection) -> None:
    """Version 3: the order of writes of public templates. Instances of version 2 write none."""
    tables.css_template_version.create(connection, checkfirst=True)


MIGRATIONS: tuple[Migration, ...] = (create_all_tables, add_side, add_template_versions)
"""Step n brings version n - 1 to n. A step must suit instances of the version before, which run on during an upgrade,
and must bear being run again: MySQL commits after each table."""


def prepare_schema(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Run the migrations that are missing, one instance at a time, and check the tables that others made.

    A database of a later version is used as it is.

    @raise SqlRefused: a table that others made lacks a column, or a key, that CSS needs.
    @raise SqlError: another instance is at it for too long.
    """
    _lock(connection)
    try:
        tables.css_schema.create(connection, checkfirst=True)
        done = connection.scalar(select(func.max(tables.css_schema.c.version))) or 0
        for number, migration in enumerate(migrations[done:], start=done + 1):
            migration(connection)
            connection.execute(tables.css_schema.insert().values(version=number))
            _log.info("database schema brought to version {version}", version=number)
        if done > len(migrations):
            _log.warn("database schema has version {version}, newer than {known}", version=done, known=len(migrations))
        _check_tables(connection)
        if connection.dialect.name != "sqlite":
            # The next one to get the lock must see what was done under it.
            connection.exec_driver_sql("COMMIT")
    finally:
        _unlock(connection)


def _lock(connection: Connection) -> None:
    """SQLite: the transaction is the lock. MySQL: its own ones end at each CREATE TABLE, so a named one."""
    if connection.dialect.name == "sqlite":
        return
    if connection.exec_driver_sql("SELECT GET_LOCK('css_schema', %s)", (_LOCK_SECONDS,)).scalar() != 1:
        raise SqlError("another instance has been preparing the database for too long")


def _unlock(connection: Connection) -> None:
    if connection.dialect.name != "sqlite" and not connection.invalidated:
        connection.exec_driver_sql("SELECT RELEASE_LOCK('css_schema')")


def _check_tables(connection: Connection) -> None:
    inspector: Any = inspect(connection)
    for table in tables.PUBLIC_TABLES:
        present = {column["name"].lower() for column in inspector.get_columns(table.name)}
        missing = [column.name for column in table.columns if column.name not in present]
        if missing:
            raise SqlRefused(f"table {table.name} lacks the column(s) {', '.join(missing)}: add them, or rename it")
    for table in tables.WRITTEN_TABLES:
        if not _has_unique_number(inspector, table):
            raise SqlRefused(f"table {table.name} needs a primary key or a unique index on e164: add one")


def _has_unique_number(inspector: Any, table: Table) -> bool:
    keys = [inspector.get_pk_constraint(table.name)["constrained_columns"]]
    keys += [index["column_names"] for index in inspector.get_indexes(table.name) if index["unique"]]
    keys += [constraint["column_names"] for constraint in inspector.get_unique_constraints(table.name)]
    return any([str(name).lower() for name in key] == ["e164"] for key in keys)
