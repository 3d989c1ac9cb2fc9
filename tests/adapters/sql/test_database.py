"""`SqlDatabase` on SQLite and MariaDB: the contract, and what happens when the server is away or says no."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import create_engine, make_url
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from css.adapters.sql.database import SqlDatabase
from css.adapters.sql.engine import SqlSettings
from css.ports.sql import DomainRow, SqlError, SqlRefused
from tests.contracts import database as contract
from tests.contracts.database import delete, open_row, put, row
from tests.servers import servers

_ADD_DOMAIN = (
    "INSERT INTO ap_domain (moid,level,uplevelmoid,name,used,enableh265,enablehdmeeting) VALUES (%s,%s,%s,%s,%s,%s,%s)"
)


def execute(url: str, text: str, *values: Any) -> list[Any]:
    """Run one statement as somebody else would, past the adapter."""
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql", query={"charset": "utf8mb4"}))
    try:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(text, tuple(values))
            return list(result) if result.returns_rows else []
    finally:
        engine.dispose()


class _Case(TestCase):
    timeout = 60

    def connect(self, url: str, **options: Any) -> SqlDatabase:
        database = SqlDatabase(reactor, SqlSettings(url=url, **options))
        self.addCleanup(lambda: Deferred.fromCoroutine(database.close()))
        return database

    async def fails(self, coroutine: Any, kind: type[Exception]) -> Exception:
        return await self.assertFailure(Deferred.fromCoroutine(coroutine), kind)


class SqliteDatabaseContract(contract.DatabaseContract, _Case):
    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.path = os.path.abspath(self.mktemp())
        self.database, self.other = (self.connect(f"sqlite:///{self.path}") for _ in range(2))
        await self.database.prepare()
        await self.other.prepare()

    async def add_domains(self, rows: Sequence[DomainRow]) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.executemany(
                _ADD_DOMAIN.replace("%s", "?"),
                [tuple(getattr(found, name) for name in found.__struct_fields__) for found in rows],
            )
        connection.close()


class MariaDatabaseContract(contract.DatabaseContract, _Case):
    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.url = servers().mariadb().new_schema()
        self.database, self.other = (self.connect(self.url) for _ in range(2))
        prepared = [Deferred.fromCoroutine(database.prepare()) for database in (self.database, self.other)]
        await gatherResults(prepared, consumeErrors=True)

    async def add_domains(self, rows: Sequence[DomainRow]) -> None:
        for found in rows:
            execute(self.url, _ADD_DOMAIN, *(getattr(found, name) for name in found.__struct_fields__))


class BusySqlite(_Case):
    """Another process holds SQLite's write lock."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        path = os.path.abspath(self.mktemp())
        self.database = self.connect(f"sqlite:///{path}", timeout_seconds=0.6, max_waiting=3)
        await self.database.prepare()
        self.holder = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(self.holder.close)
        self.holder.execute("BEGIN IMMEDIATE")

    async def test_fails_in_time_and_works_again(self) -> None:
        await self.fails(self.database.apply([put("1", 1, 1)]), SqlError)
        self.holder.execute("ROLLBACK")
        await self.database.apply([put("1", 1, 1)])
        self.assertEqual(await open_row(self.database, "1"), row("1"))

    async def test_commands_that_wait_are_bounded(self) -> None:
        waiting = [Deferred.fromCoroutine(self.database.apply([put("1", 1, n)])) for n in range(3)]
        error = await self.fails(self.database.domains(), SqlError)
        self.assertIn("3 commands are waiting", str(error))
        self.holder.execute("ROLLBACK")
        await gatherResults(waiting)

    async def test_close_waits_for_what_is_under_way(self) -> None:
        applied = Deferred.fromCoroutine(self.database.apply([put("1", 1, 1)]))
        closed = Deferred.fromCoroutine(self.database.close())
        self.assertNoResult(closed)
        self.holder.execute("ROLLBACK")
        await closed
        self.assertTrue(applied.called)
        await applied
        self.assertEqual(self.holder.execute("SELECT e164 FROM confinfo").fetchall(), [("1",)])


class MariaTrouble(_Case):
    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.url = servers().mariadb().new_schema()
        self.database = self.connect(self.url, timeout_seconds=6)
        await self.database.prepare()

    async def test_connection_closed_by_the_server(self) -> None:
        await self.database.apply([put("1", 1, 1)])
        schema = make_url(self.url).database
        find = "SELECT id FROM information_schema.processlist WHERE db = %s AND id != CONNECTION_ID()"
        for (number,) in execute(self.url, find, schema):
            execute(self.url, f"KILL {int(number)}")
        await self.database.apply([put("2", 1, 1)])
        self.assertEqual(await open_row(self.database, "2"), row("2"))

    async def test_wrong_password_may_be_mended(self) -> None:
        wrong = self.connect(self.url, password="wrong")
        error = await self.fails(wrong.prepare(), SqlError)
        self.assertIn("Access denied", str(error))

    async def test_nobody_listens(self) -> None:
        away = self.connect("mysql://u:p@127.0.0.1:1/db", timeout_seconds=2)
        await self.fails(away.domains(), SqlError)

    async def test_row_lock_that_is_not_had(self) -> None:
        await self.database.apply([put("1", 1, 1)])
        engine = create_engine(make_url(self.url).set(drivername="mysql+pymysql"))
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT * FROM css_row_version WHERE e164 = '1' FOR UPDATE")
            error = await self.fails(self.database.apply([put("1", 1, 2, "二")]), SqlError)
            self.assertIn("Lock wait timeout", str(error))
        await self.database.apply([put("1", 1, 2, "二")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "二"))

    async def test_a_table_with_narrower_columns_refuses(self) -> None:
        execute(self.url, "ALTER TABLE confinfo MODIFY confname VARCHAR(4) NOT NULL")
        error = await self.fails(self.database.apply([put("1", 1, 1, "五个字会议")]), SqlRefused)
        self.assertIn("confname", str(error))
        await self.database.apply([put("1", 1, 1, "四字会议")])
        self.assertEqual(await open_row(self.database, "1"), row("1", "四字会议"))

    async def test_a_constraint_of_the_table_refuses(self) -> None:
        execute(self.url, "ALTER TABLE confinfo ADD CONSTRAINT no_ones CHECK (e164 <> '1')")
        await self.fails(self.database.apply([put("1", 1, 1)]), SqlRefused)
        await self.database.apply([put("2", 1, 1)])
        self.assertEqual(await open_row(self.database, "2"), row("2"))

    async def test_missing_table_may_be_mended(self) -> None:
        execute(self.url, "RENAME TABLE confinfo TO gone")
        await self.fails(self.database.apply([put("1", 1, 1)]), SqlError)
        execute(self.url, "RENAME TABLE gone TO confinfo")
        await self.database.apply([put("1", 1, 1)])
        self.assertEqual(await open_row(self.database, "1"), row("1"))

    async def test_deadlock_is_tried_again(self) -> None:
        """Another program locks the same rows the other way round, and has done more, so that ours is the victim."""
        await self.database.apply([put("1", 1, 1), put("2", 1, 1)])
        engine = create_engine(make_url(self.url).set(drivername="mysql+pymysql"))
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            filler = ",".join(f"('x{number}',0,0,0)" for number in range(50))
            connection.exec_driver_sql(f"INSERT INTO css_row_version (e164, epoch, version, changed) VALUES {filler}")
            connection.exec_driver_sql("SELECT * FROM css_row_version WHERE e164 = '2' FOR UPDATE")
            applied = Deferred.fromCoroutine(self.database.apply([put("1", 1, 2, "二"), put("2", 1, 2, "二")]))
            await deferLater(reactor, 0.3)
            before = self.deadlocks()
            await deferToThread(connection.exec_driver_sql, "SELECT * FROM css_row_version WHERE e164 = '1' FOR UPDATE")
            self.assertEqual(self.deadlocks(), before + 1)
            self.assertNoResult(applied)
        await applied
        self.assertEqual(await open_row(self.database, "2"), row("2", "二"))

    def deadlocks(self) -> int:
        return int(execute(self.url, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])

    async def test_instances_that_write_and_prune_at_once(self) -> None:
        other = self.connect(self.url)
        numbers = [f"{number:02}" for number in range(40)]
        work: list[Any] = [
            database.apply([put(e164, 1, version) if version % 3 else delete(e164, 1, version) for e164 in numbers])
            for version in range(20)
            for database in (self.database, other)
        ]
        work += [other.prune(0, 100) for _ in range(5)]
        await gatherResults([Deferred.fromCoroutine(one) for one in work], consumeErrors=True)
        self.assertEqual(await open_row(self.database, "00"), row("00"))

    async def test_domain_rows_of_others_with_nulls(self) -> None:
        execute(self.url, "DROP TABLE ap_domain")
        execute(
            self.url,
            "CREATE TABLE ap_domain (moid VARCHAR(36) PRIMARY KEY, level INT, uplevelmoid VARCHAR(36), name TEXT,"
            " used INT, enableh265 INT, enablehdmeeting INT, extra INT) DEFAULT CHARSET=utf8mb4",
        )
        execute(self.url, "INSERT INTO ap_domain (moid, level, name) VALUES ('u', 0, '用户域')")
        await self.database.prepare()
        self.assertEqual(await self.database.domains(), [DomainRow("u", 0, "", "用户域")])


class MariaRestart(_Case):
    """The server itself goes away and comes back."""

    timeout = 120

    async def test_stopped_paused_and_back(self) -> None:
        server = servers().private_mariadb()
        self.addCleanup(server.close)
        database = self.connect(server.new_schema(), timeout_seconds=3)
        await database.prepare()
        await database.apply([put("1", 1, 1)])
        server.pause()
        try:
            await self.fails(database.apply([put("1", 1, 2, "二")]), SqlError)
        finally:
            server.resume()
        await self.eventually(database, put("1", 1, 2, "二"))
        server.kill()
        await self.fails(database.apply([put("1", 1, 3, "三")]), SqlError)
        server.start()
        await self.eventually(database, put("1", 1, 3, "三"))
        self.assertEqual(await open_row(database, "1"), row("1", "三"))

    async def eventually(self, database: SqlDatabase, write: Any) -> None:
        for _ in range(40):
            try:
                await database.apply([write])
                return
            except SqlError:
                await deferLater(reactor, 0.25)
        self.fail("the database did not come back")
