"""Conferences that an MCU lists and no store has a record of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from css.ports.sql import ConfinfoRow, RowWrite
from css.ports.store import Commit, Tombstone
from tests.contracts.database import open_row
from tests.handlers.site import NOW, SiteCase, done

EPOCH = NOW * 1000 * 1024
HOST = "10.0.0.1"


def stranger(e164: str = "99", **more: Any) -> dict[str, Any]:
    """How it is listed."""
    return {"confE164": e164, "createtime": NOW - 60, "epoch": EPOCH} | more


class StrangerCase(SiteCase):
    """A host that lists what nobody knows."""

    def released(self) -> list[str]:
        """Numbers that the process was told to end."""
        return [body["confE164"] for body in self.site.bodies(f"cmu.conf.q:{HOST}:11")]

    def row(self, e164: str = "99", **more: Any) -> None:
        """An open row in SQL."""
        fields = {"confname": "会", "password": "p", "moid": "uA", "srcplatformmoid": "pA", "platformmoid": "pA"}
        row = ConfinfoRow(e164=e164, ip=HOST, begintime=NOW - 60, endtime=NOW + 3_540, **(fields | more))
        assert self.site.database is not None
        done(self.site.database.apply([RowWrite(e164, EPOCH, 1, row)]))

    def ended(self, epoch: int = EPOCH, e164: str = "99") -> None:  # type: ignore[override]
        """What an ended conference leaves."""
        fields = {"epoch": str(epoch), "reason": "released", "time": str(NOW)}
        done(self.site.store.commit(Commit(e164=e164, set_fields={"first_epoch": "1"})))
        tombstone = Tombstone(fields, 86_400)
        done(self.site.store.commit(Commit(e164=e164, expected=("1", 1), delete_record=True, tombstone=tombstone)))


class Released(StrangerCase):
    """What is certainly over."""

    def test_after_patience(self) -> None:
        """Listed without a record for the MCU time-out."""
        self.lists(HOST, stranger())
        self.site.pass_seconds(14)
        self.lists(HOST, stranger())
        self.assertEqual(self.released(), [])
        self.site.pass_seconds(1.5)
        self.lists(HOST, stranger())
        self.assertEqual(self.released(), ["99"])

    def test_patience_is_counted_from_the_last_time_it_appeared(self) -> None:
        """One that was gone in between begins anew."""
        self.lists(HOST, stranger())
        self.site.pass_seconds(10)
        self.lists(HOST)
        self.lists(HOST, stranger())
        self.site.pass_seconds(10)
        self.lists(HOST, stranger())
        self.assertEqual(self.released(), [])
        self.site.pass_seconds(5.5)
        self.lists(HOST, stranger())
        self.assertEqual(self.released(), ["99"])

    def test_at_once_if_it_ended(self) -> None:
        """Its epoch is the ended one's, or older."""
        self.ended()
        self.lists(HOST, stranger(), stranger("98"))
        self.assertEqual(self.released(), ["99"])

    def test_newer_than_what_ended(self) -> None:
        """That is another conference: patience."""
        self.ended(EPOCH - 1)
        self.lists(HOST, stranger())
        self.assertEqual(self.released(), [])
        self.site.pass_seconds(15.5)
        self.lists(HOST, stranger())
        self.assertEqual(self.released(), ["99"])

    def test_sql_is_asked_for_many_at_a_time(self) -> None:
        """An emptied Redis makes strangers of all conferences: each list would ask for each of them."""
        assert self.site.database is not None
        asked: list[int] = []
        confinfos = self.site.database.confinfos

        async def count(numbers: Sequence[str]) -> dict[str, ConfinfoRow]:
            asked.append(len(numbers))
            return await confinfos(numbers)

        self.patch(self.site.database, "confinfos", count)
        self.row("7")
        self.lists(HOST, *(stranger(str(n)) for n in range(1_100)))
        self.assertEqual((asked, self.state_of("7")), ([500, 500, 100], "ongoing"))

    def test_many_at_once(self) -> None:
        """More than ten, and more than a tenth of what is known: an alert, and none is released."""
        entries = [stranger(str(n)) for n in range(11)]
        for _ in (1, 2):
            self.lists(HOST, *entries)
            self.site.pass_seconds(16)
        self.assertEqual((self.released(), self.css.tally["strangers_alerts"]), ([], 2))
        self.lists(HOST, *entries[:10])
        self.assertEqual(len(self.released()), 10)

    def known(self, numbers: range) -> None:
        """So many conferences run on this platform, half of them of another source."""
        for n in numbers:
            store = (self.site.store, self.site.other)[n % 2]
            fields = {"first_epoch": "1", "epoch": "1", "platformmoid": "pA"}
            done(store.commit(Commit(e164=f"k{n}", set_fields=fields, index_add={"platform/pA": n})))

    def test_many_of_many_more(self) -> None:
        """A tenth of all that are known is counted over every store, not over what one process lists."""
        entries = [stranger(str(n)) for n in range(12)]
        self.known(range(119))
        self.lists(HOST, *entries)
        self.site.pass_seconds(16)
        self.lists(HOST, *entries)
        self.assertEqual(self.released(), [])
        self.known(range(119, 120))
        self.lists(HOST, *entries)
        self.assertEqual(len(self.released()), 12)

    def test_what_ended_does_not_count(self) -> None:
        """However many of those: they are released, and only the others are a reason for an alert."""
        over = [stranger(str(n)) for n in range(11)]
        for entry in over:
            self.ended(e164=entry["confE164"])
        unknown = [stranger(str(n)) for n in range(20, 31)]
        self.lists(HOST, *over, *unknown[:10])
        self.assertEqual((len(self.released()), self.css.tally["strangers_alerts"]), (11, 0))
        self.lists(HOST, *over, *unknown)
        self.assertEqual((len(self.released()), self.css.tally["strangers_alerts"]), (22, 1))

    def test_what_ended_while_a_store_is_missing(self) -> None:
        """None is released unless every own and possible store has answered, those that are not there included."""
        self.ended()
        other = self.site.stores.pop("pB")
        for _ in (1, 2):
            self.lists(HOST, stranger(), stranger("98"))
            self.site.pass_seconds(16)
        self.assertEqual(self.released(), [])
        self.site.stores["pB"] = other
        self.lists(HOST, stranger(), stranger("98"))
        self.assertEqual(sorted(self.released()), ["98", "99"])


class Rebuilt(StrangerCase):
    """An open row gives the record back."""

    def test_record(self) -> None:
        """With its data, its licence, its load and its end; SQL's end time counts."""
        self.row()
        self.lists(HOST, stranger())
        record = self.site.record("99")
        self.assertEqual((record["state"], record["ip"], record["pid"]), ("ongoing", HOST, "11"))
        self.assertEqual((record["epoch"], record["endtime"]), (str(EPOCH), str(NOW + 3_540)))
        dump = self.site.store.dump()
        self.assertEqual(dump["conf/99"]["confname"], "会")
        self.assertEqual(dump["css/set/licence/pA/small"], {f"99:{EPOCH}"})
        self.css.tick()
        self.assertEqual(self.loads(), {HOST: 1})
        self.site.pass_seconds(20)
        self.lists(HOST, stranger())
        self.assertEqual((self.released(), self.css.tally["records_rebuilt"]), ([], 1))

    def test_its_row_goes_in_the_end(self) -> None:
        """Though the record counts its versions anew, what it writes is newer than what the lost one wrote."""
        request = self.run_one("99")
        self.css.tick()
        for key in [key for key in self.site.store.dump() if key.endswith("/99") or "licence" in key]:
            self.site.store.server.keyspace.delete(key)
        database = self.site.database
        assert database is not None
        self.assertIsNotNone(done(open_row(database, "99")))
        before = {letter.message_id for letter in self.site.letters("UPU.CONF.Q")}
        self.lists(request["ip"], self.entry(request))
        self.assertEqual((self.state_of("99"), self.css.tally["records_rebuilt"]), ("ongoing", 1))
        self.ended_by_mcu(request)
        self.css.tick()
        self.assertIsNone(done(open_row(database, "99")))
        after = [letter.message_id for letter in self.site.letters("UPU.CONF.Q")]
        self.assertEqual(len(set(after)), len(after))
        self.assertTrue(before < set(after))

    def ended_by_mcu(self, request: dict[str, Any]) -> None:
        """Its MCU says that it is over."""
        body = {"type": "MCU_MAU_RELEASECONF_NTF", "pid": "11"} | {k: request[k] for k in ("confE164", "ip", "epoch")}
        self.css.take(body, "MAU.MCU.Q")

    def test_without_an_epoch(self) -> None:
        """A fresh one."""
        self.row()
        self.lists(HOST, stranger(epoch=None))
        self.assertGreaterEqual(int(self.site.record("99")["epoch"]), EPOCH)

    def test_ended_stays_ended(self) -> None:
        """Its row is only about to be deleted: no record, and a release, with an epoch and without."""
        self.row()
        self.ended()
        self.lists(HOST, stranger())
        self.assertEqual((self.site.record("99"), self.released()), ({}, ["99"]))
        self.lists(HOST, stranger(epoch=None))
        self.assertEqual(self.site.record("99"), {})

    def test_sql_is_away(self) -> None:
        """Nobody knows: neither rebuilt nor released."""
        assert self.site.database is not None
        self.site.database.fail()
        for _ in (1, 2):
            self.lists(HOST, stranger())
            self.site.pass_seconds(16)
        self.assertEqual((self.site.record("99"), self.released()), ({}, []))

    def test_row_of_a_platform_without_a_store(self) -> None:
        """Its record can't be looked for: neither rebuilt nor released, however long it is listed."""
        self.row(srcplatformmoid="pC")
        for _ in (1, 2, 3):
            self.lists(HOST, stranger())
            self.site.pass_seconds(16)
        self.assertEqual((self.released(), self.css.tally["records_rebuilt"]), ([], 0))
