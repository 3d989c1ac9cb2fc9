"""Migration, and tables that others made."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, create_engine, inspect
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.sql.schema import MIGRATIONS, prepare_schema
from css.ports.sql import SqlRefused

_CONFINFO = (
    "CREATE TABLE confinfo (e164 VARCHAR(32) {}, confname TEXT, password TEXT, moid TEXT, srcplatformmoid TEXT,"
    " platformmoid TEXT, ip TEXT, begintime INTEGER, endtime INTEGER{})"
)


def add_note(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE confinfo ADD COLUMN note TEXT")


class SchemaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = create_engine("sqlite://")
        self.addCleanup(self.engine.dispose)

    def prepare(self, *more: Any) -> None:
        with self.engine.begin() as connection:
            prepare_schema(connection, (*MIGRATIONS, *more))

    def execute(self, text: str) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(text)
            return [tuple(row) for row in result] if result.returns_rows else []

    def columns(self, table: str) -> list[str]:
        return [column["name"] for column in inspect(self.engine).get_columns(table)]

    def test_creates_the_tables_of_the_protocol(self) -> None:
        self.prepare()
        self.assertEqual(
            self.columns("confinfo"),
            ["e164", "confname", "password", "moid", "srcplatformmoid", "platformmoid", "ip", "begintime", "endtime"],
        )
        self.assertEqual(self.columns("ttemplateinfo"), ["e164", "moid", "platformmoid", "name", "content"])
        self.assertEqual(
            self.columns("ap_domain"),
            ["moid", "level", "uplevelmoid", "name", "used", "enableh265", "enablehdmeeting"],
        )
        self.assertEqual(self.columns("css_row_version"), ["e164", "epoch", "version", "changed", "side"])
        self.assertEqual(self.columns("css_template_version"), ["e164", "version", "changed"])
        self.assertEqual(self.execute("SELECT version FROM css_schema ORDER BY version"), [(1,), (2,), (3,)])

    def test_each_migration_runs_once_and_keeps_the_rows(self) -> None:
        self.prepare()
        self.execute("INSERT INTO confinfo VALUES ('01', '周会', '', 'u', 'p', 'p', '10.0.0.1', 1, 0)")
        self.prepare(add_note)
        self.prepare(add_note)
        self.assertEqual(self.execute("SELECT e164, confname, note FROM confinfo"), [("01", "周会", None)])
        self.assertEqual(self.execute("SELECT version FROM css_schema ORDER BY version"), [(1,), (2,), (3,), (4,)])

    def test_version_1_gets_the_side_column(self) -> None:
        """Twice, as where the first time was cut off before its version was noted; what is there stays."""
        old = (
            "CREATE TABLE css_row_version (e164 VARCHAR(32) PRIMARY KEY, epoch BIGINT, version BIGINT, changed BIGINT)"
        )
        self.execute(old)
        self.execute("INSERT INTO css_row_version VALUES ('01', 7, 3, 9)")
        self.prepare()
        self.execute("DELETE FROM css_schema WHERE version >= 2")
        self.prepare()
        self.assertEqual(self.execute("SELECT * FROM css_row_version"), [("01", 7, 3, 9, None)])

    def test_a_later_version_is_used_as_it_is(self) -> None:
        self.prepare(add_note)
        self.prepare()
        self.assertIn("note", self.columns("confinfo"))

    def test_a_failed_migration_leaves_the_version(self) -> None:
        def broken(connection: Connection) -> None:
            raise RuntimeError("power cut")

        self.prepare()
        self.assertRaises(RuntimeError, self.prepare, broken)
        self.prepare(add_note)
        self.assertEqual(self.execute("SELECT version FROM css_schema ORDER BY version"), [(1,), (2,), (3,), (4,)])

    def test_tables_of_others_are_left_alone(self) -> None:
        self.execute(_CONFINFO.format("", ", gateway TEXT, UNIQUE (e164)"))
        self.prepare()
        self.assertIn("gateway", self.columns("confinfo"))

    def test_a_missing_column_is_named(self) -> None:
        self.execute("CREATE TABLE ap_domain (moid VARCHAR(36) PRIMARY KEY, level INTEGER, name TEXT, used INTEGER)")
        error = self.assertRaises(SqlRefused, self.prepare)
        self.assertIn("ap_domain lacks the column(s) uplevelmoid, enableh265, enablehdmeeting", str(error))

    def test_a_missing_key_is_named(self) -> None:
        self.execute(_CONFINFO.format("", ""))
        error = self.assertRaises(SqlRefused, self.prepare)
        self.assertIn("confinfo needs a primary key", str(error))
