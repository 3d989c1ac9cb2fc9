"""`MemoryDatabase`: the contract, and its verbs."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from css.adapters.memory.sql import MemoryDatabase
from css.ports.sql import DomainRow, SqlError
from tests.contracts import database as contract
from tests.contracts.database import put, row


class MemoryDatabaseContract(contract.DatabaseContract):
    def setUp(self) -> None:
        self.memory = MemoryDatabase(Clock().seconds)
        self.database = self.other = self.memory

    async def add_domains(self, rows: Sequence[DomainRow]) -> None:
        self.memory.domain_rows.update({row.moid: row for row in rows})


class Verbs(SynchronousTestCase):
    def test_failing_database_does_nothing_until_it_recovers(self) -> None:
        database = MemoryDatabase(Clock().seconds)
        database.fail()
        self.failureResultOf(Deferred.fromCoroutine(database.apply([put("1", 1, 1)])), SqlError)
        self.failureResultOf(Deferred.fromCoroutine(database.prepare()), SqlError)
        self.failureResultOf(Deferred.fromCoroutine(database.domains()), SqlError)
        database.recover()
        self.assertEqual(database.rows, {})
        self.successResultOf(Deferred.fromCoroutine(database.apply([put("1", 1, 1)])))
        self.assertEqual(database.rows, {"1": row("1")})
