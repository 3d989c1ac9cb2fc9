"""The statements that write, many rows at a time, in the words of each database.

Raw text with one place a value: building the same with SQLAlchemy's constructs costs more than the statement.
Values are always bound, never part of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from css.ports.sql import RowWrite, TemplateWrite

ROWS_A_STATEMENT = 500

_CONFINFO = ("e164", "confname", "password", "moid", "srcplatformmoid", "platformmoid", "ip", "begintime", "endtime")
_TEMPLATE = ("e164", "moid", "platformmoid", "name", "content")
_VERSION = ("e164", "epoch", "version")

_NEVER = -1
"""Epoch and version of a number that nothing was applied to yet; below every real one."""


class Statements(msgspec.Struct, frozen=True):
    """How one kind of database says it."""

    place: str
    """A bound value."""
    now: str
    """The database's clock, whole seconds."""
    on_conflict: str
    new_value: str
    """A format: the value that the conflicting insert had for a column."""
    nothing: str
    """What follows an insert that shall leave an existing row alone, but lock it."""
    document: str
    """A bound value that is a long text full of quotes; see `_document`."""
    hexed: bool
    """Whether such a text is bound as hex digits."""

    def claim_versions(self, connection: Connection, numbers: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Lock the order of these numbers until the transaction ends.

        The insert locks: a number without a row could not be locked by reading.

        @return: (epoch, version) applied last, by number.
        """
        known = dict.fromkeys(numbers, (_NEVER, _NEVER))
        for part in _parts(numbers):
            group = f"({self.place},{_NEVER},{_NEVER},{self.now})"
            groups = ",".join([group] * len(part))
            self._run(
                connection,
                f"INSERT INTO css_row_version (e164,epoch,version,changed) VALUES {groups} {self.nothing}",
                part,
            )
            # Of a new conference, the most frequent case, there is nothing to be read.
            text = (
                "SELECT e164, epoch, version FROM css_row_version"
                f" WHERE e164 IN ({self._places(len(part))}) AND epoch <> {_NEVER}"
            )
            for e164, epoch, version in self._run(connection, text, part):
                known[e164] = (int(epoch), int(version))
        return known

    def put_versions(self, connection: Connection, writes: Sequence[RowWrite]) -> None:
        """Remember these writes as the last ones applied."""
        group = f"({self._places(3)},{self.document},{self.now})"
        text = "INSERT INTO css_row_version (e164,epoch,version,side,changed) VALUES {} " + self._replace(
            ("epoch", "version", "side", "changed")
        )
        for part in _parts(writes):
            values = [value for w in part for value in (w.e164, w.epoch, w.version, self._document(w.side))]
            self._run(connection, text.format(",".join([group] * len(part))), values)

    def put_confinfo(self, connection: Connection, rows: Sequence[msgspec.Struct]) -> None:
        """Insert or replace open rows."""
        self._put(connection, "confinfo", _CONFINFO, rows)

    def claim_template(self, connection: Connection, e164: str) -> int:
        """Lock the order of a public template until the transaction ends. @return: version applied last."""
        insert = f"INSERT INTO css_template_version (e164,version,changed) VALUES ({self.place},0,{self.now})"
        self._run(connection, f"{insert} {self.nothing}", (e164,))
        text = f"SELECT version FROM css_template_version WHERE e164 = {self.place}"
        return int(self._run(connection, text, (e164,)).scalar_one())

    def template_owner(self, connection: Connection, e164: str) -> str:
        """Moid of the platform that has a public template; empty: there is none."""
        text = f"SELECT platformmoid FROM ttemplateinfo WHERE e164 = {self.place}"
        return str(self._run(connection, text, (e164,)).scalar() or "")

    def put_template(self, connection: Connection, write: TemplateWrite) -> None:
        """Insert, replace or delete a public template, and remember that this was the last write."""
        values = f"{self._places(2)},{self.now}"
        text = f"INSERT INTO css_template_version (e164,version,changed) VALUES ({values}) "
        self._run(connection, text + self._replace(("version", "changed")), (write.e164, write.version))
        if write.row is not None:
            self._put(connection, "ttemplateinfo", _TEMPLATE, [write.row])
        else:
            self._run(connection, f"DELETE FROM ttemplateinfo WHERE e164 = {self.place}", (write.e164,))

    def delete_confinfo(self, connection: Connection, numbers: Sequence[str]) -> None:
        """Delete open rows; missing ones are fine."""
        for part in _parts(numbers):
            self._run(connection, f"DELETE FROM confinfo WHERE e164 IN ({self._places(len(part))})", part)

    def prune_versions(self, connection: Connection, older_than_seconds: int, limit: int) -> int:
        """Delete the order of numbers without an open row; the delete looks again for one written meanwhile."""
        kinds = (("css_row_version", "confinfo"), ("css_template_version", "ttemplateinfo"))
        return max(self._prune(connection, *kind, older_than_seconds, limit) for kind in kinds)

    def _prune(self, connection: Connection, order: str, table: str, older_than_seconds: int, limit: int) -> int:
        stale = (
            f"changed <= {self.now} - {self.place}"
            f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.e164 = {order}.e164)"
        )
        find = f"SELECT e164 FROM {order} WHERE {stale} ORDER BY changed LIMIT {self.place}"
        numbers = [row[0] for row in self._run(connection, find, (older_than_seconds, limit))]
        pruned = 0
        for part in _parts(sorted(numbers)):
            delete = f"DELETE FROM {order} WHERE e164 IN ({self._places(len(part))}) AND {stale}"
            pruned += self._run(connection, delete, (*part, older_than_seconds)).rowcount
        return pruned

    def _put(
        self, connection: Connection, table: str, columns: tuple[str, ...], rows: Sequence[msgspec.Struct]
    ) -> None:
        group = f"({self._places(len(columns))})"
        replace = self._replace(columns[1:])
        for part in _parts(rows):
            groups = ",".join([group] * len(part))
            values = [getattr(row, column) for row in part for column in columns]
            self._run(connection, f"INSERT INTO {table} ({','.join(columns)}) VALUES {groups} {replace}", values)

    def _replace(self, columns: Sequence[str]) -> str:
        return self.on_conflict + ",".join(f"{column}={self.new_value.format(column)}" for column in columns)

    def _document(self, text: str) -> str | None:
        """A long text as it is bound. To escape its quotes would cost the driver as much as all else of the row."""
        if not text:
            return None
        return text.encode().hex() if self.hexed else text

    def _places(self, count: int) -> str:
        return ",".join([self.place] * count)

    @staticmethod
    def _run(connection: Connection, text: str, values: Sequence[Any]) -> Any:
        return connection.exec_driver_sql(text, tuple(values))


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + ROWS_A_STATEMENT] for start in range(0, len(items), ROWS_A_STATEMENT)]


MYSQL = Statements(
    place="%s",
    now="UNIX_TIMESTAMP()",
    on_conflict="ON DUPLICATE KEY UPDATE ",
    new_value="VALUES({})",
    nothing="ON DUPLICATE KEY UPDATE e164=VALUES(e164)",
    document="CONVERT(UNHEX(%s) USING utf8mb4)",
    hexed=True,
)

SQLITE = Statements(
    place="?",
    now="CAST(strftime('%s','now') AS INTEGER)",
    on_conflict="ON CONFLICT (e164) DO UPDATE SET ",
    new_value="excluded.{}",
    nothing="ON CONFLICT (e164) DO NOTHING",
    document="?",
    hexed=False,
)


def statements_for(dialect: str) -> Statements:
    """@param dialect: SQLAlchemy's name of the database."""
    return SQLITE if dialect == "sqlite" else MYSQL
