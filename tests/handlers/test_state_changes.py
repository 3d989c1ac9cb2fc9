"""New names and passwords of running conferences, as their MCUs tell them (seed 5.1, 5.2)."""

from __future__ import annotations

from typing import Any

from css.handlers import addresses as to
from css.ports.bus import TryLater
from tests.handlers.site import LOCATOR, RMS, SiteCase


class StateChanges(SiteCase):
    """Names and passwords (seed 5.1, 5.2)."""

    def say(self, request: dict[str, Any], message_id: str = "change", **more: Any) -> None:
        """Process 11 of a host says what is new."""
        body = {"type": "MCU_MAU_CONFSTATECHANGE_NTF", "confE164": "0755001", "ip": request["ip"], "pid": "11"}
        self.css.take(body | more, to.MCU_QUEUE, message_id=message_id)

    def known(self) -> tuple[str, str, str, str]:
        """Name and password, in `conf/` and in the row."""
        self.css.tick()
        conf = self.site.store.dump()["conf/0755001"]
        assert self.site.database is not None
        row = self.site.database.rows["0755001"]
        return conf["confname"], conf["password"], row.confname, row.password

    def test_name_then_password(self) -> None:
        """`conf/` and the row follow; the record has no name; the locator is told the new name."""
        request = self.run_one(password="1")
        self.say(request, "a", confname="晚会")
        self.assertEqual(self.known(), ("晚会", "1", "晚会", "1"))
        self.say(request, "b", password="2")
        self.assertEqual(self.known(), ("晚会", "2", "晚会", "2"))
        self.assertNotIn("confname", self.site.record("0755001"))
        added, changed = self.site.bodies(LOCATOR)
        self.assertEqual(changed, added | {"type": "UPU_MOD_CONF_REQ", "confname": "晚会"})

    def test_a_restored_one_has_them(self) -> None:
        """The next MCU is asked with them, not with those of the create."""
        request = self.run_one(password="1")
        self.say(request, confname="晚会", password="2")
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": request["ip"], "pid": "11"}, to.MCU_QUEUE)
        self.css.run(self.css.mcu_watch.tick())
        self.css.run(self.css.restores.tick())
        again = self.give(self.site.letters(RMS)[-1].correlation_id)
        self.assertEqual((again["type"], again["confname"]), ("MAU_CMU_RESTORECONF_REQ", "晚会"))
        self.assertEqual(again["password"], "2")

    def test_twice_with_another_one_between(self) -> None:
        """What comes again does not bring the earlier name back."""
        request = self.run_one()
        self.say(request, "a", confname="一")
        self.say(request, "b", confname="二")
        self.say(request, "a", confname="一")
        self.assertEqual(self.known()[0], "二")
        self.assertEqual(self.site.record("0755001")["version"], "5")

    def test_without_message_ids(self) -> None:
        """Nothing tells two of them apart: each counts."""
        request = self.run_one()
        for name in ("一", "二", "一"):
            self.say(request, "", confname=name)
        self.assertEqual(self.known()[0], "一")

    def test_nobody_knows_while_a_store_is_away(self) -> None:
        """Tried once more, as no list repairs a name; then dropped, so that it can't fill the queue."""
        self.site.other.fail()
        body = {"type": "MCU_MAU_CONFSTATECHANGE_NTF", "confE164": "9", "ip": "10.0.0.1", "pid": "11", "password": ""}
        self.failureResultOf(self.css.begin(body, to.MCU_QUEUE), TryLater)
        self.css.take(body, to.MCU_QUEUE, redelivered=True)

    def test_of_another_process(self) -> None:
        """Only the process that runs it knows."""
        request = self.run_one()
        self.say(request, pid="12", confname="晚会")
        self.assertEqual(self.known()[0], "晨会")

    def test_of_nothing(self) -> None:
        """Ignored; but while a store is silent it may be there, and is tried again later."""
        self.say({"ip": "10.0.0.1"}, confname="晚会")
        self.site.other.fail()
        body = {"type": "MCU_MAU_CONFSTATECHANGE_NTF", "confE164": "1", "ip": "10.0.0.1", "pid": "11", "confname": "x"}
        self.failureResultOf(self.css.begin(body, to.MCU_QUEUE), TryLater)

    def test_sql_is_away(self) -> None:
        """The row follows when it is back."""
        request = self.run_one()
        self.css.tick()
        assert self.site.database is not None
        self.site.database.fail()
        self.say(request, confname="晚会")
        self.css.tick()
        self.site.database.recover()
        self.site.pass_seconds(11, 1)
        self.css.run(self.css.sweep.tick())
        self.assertEqual(self.known()[2], "晚会")
