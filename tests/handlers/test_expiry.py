"""A conference's end time, over its whole life: notices, end, what is left (seed 9.3)."""

from __future__ import annotations

from tests.handlers.site import BILLING, CM_NOTICES, SiteCase


class Expiry(SiteCase):
    """Minutes go by; deadlines and restores are looked at every second."""

    def minutes(self, count: float) -> None:
        """Time goes by."""
        for _ in range(round(count * 60)):
            self.site.clock.advance(1)
            self.css.run(self.css.due.tick())
            self.css.run(self.css.restores.tick())

    def told(self, kind: str) -> list[int]:
        """Minutes of each notice that the CM, or the MCU, got."""
        ip = self.request["ip"]
        queue = CM_NOTICES if kind == "MAU_CM_CONFTIMEOUT_NTF" else f"cmu.conf.q:{ip}:11"
        return [body["minutes"] for body in self.site.bodies(queue) if body["type"] == kind]

    def test_notices_and_end(self) -> None:
        """5 minutes, 1 minute, released on its MCU, reported, billed; nothing of it stays."""
        self.request = self.run_one(duration=10)
        self.minutes(4.9)
        self.assertEqual(self.told("MAU_CM_CONFTIMEOUT_NTF"), [])
        self.minutes(0.2)
        self.assertEqual((self.told("MAU_CM_CONFTIMEOUT_NTF"), self.told("MAU_CMU_CONFTIMEOUT_NTF")), ([5], [5]))
        self.minutes(4.8)
        self.assertEqual((self.told("MAU_CM_CONFTIMEOUT_NTF"), self.state_of()), ([5, 1], "ongoing"))
        self.minutes(0.2)
        self.assertEqual(self.state_of(), "")
        self.assertEqual(self.site.bodies(CM_NOTICES)[-1]["reason"], "expired")
        self.assertEqual([bill["reason"] for bill in self.site.bodies(BILLING)], ["expired"])
        command = self.site.bodies(f"cmu.conf.q:{self.request['ip']}:11")[-1]
        self.assertEqual((command["type"], command["epoch"]), ("MAU_MCU_RELEASECONF_CMD", self.request["epoch"]))
        self.css.tick()
        self.assertEqual(self.loads(), {})

    def test_while_it_can_not_be_restored(self) -> None:
        """RMS has nothing until the end: cleaned up then, once, without a notice."""
        self.request = self.run_one(duration=2)
        self.css.take({"type": "MCU_MAU_DISCONNECT_NTF", "ip": self.request["ip"], "pid": "11"}, "MAU.MCU.Q")
        self.css.run(self.css.mcu_watch.tick())
        self.minutes(1.9)
        self.assertEqual(self.state_of(), "pending_restore")
        self.minutes(0.3)
        self.assertEqual((self.state_of(), self.told("MAU_CM_CONFTIMEOUT_NTF")), ("", []))
        self.assertEqual([bill["reason"] for bill in self.site.bodies(BILLING)], ["expired"])
        self.assertEqual([key for key in self.site.store.dump() if key.startswith("css/index/")], [])

    def test_until_released(self) -> None:
        """Without a duration nothing ends it."""
        self.request = self.run_one(duration=0)
        self.minutes(30)
        self.assertEqual((self.state_of(), self.told("MAU_CM_CONFTIMEOUT_NTF")), ("ongoing", []))
