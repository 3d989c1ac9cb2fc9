"""kill -9 of the CSS that forwards (seed 2.3.3): the MCU of the other platform is asked once, the CM answered once."""

from __future__ import annotations

import itertools
import signal

from tests.scenarios.case import within
from tests.scenarios.ground import KEY, settings_text
from tests.scenarios.pair import OnTwoNodes, PairScenario
from tests.scenarios.processes import TIMERS, CssProcess
from tests.servers.process import new_folder

E164 = "0660175"
POINTS = ("forward.before_publish", "forward.after_confirm", "CmControl.before_ack")


class ForwardKills(PairScenario, OnTwoNodes):
    """B's CSS is in this process; A's are processes of their own, which die."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.folder = new_folder("forward")
        self.numbers = itertools.count(1)

    def run_a(self, kill_at: str = "") -> CssProcess:
        """Start an instance of A. @param kill_at: where it is to kill itself."""
        key_file = self.folder / "licence.keys"
        key_file.write_bytes(KEY + b"\n")
        more = f'[license]\nkey_file = "{key_file}"\n[sql]\nurl = "{self.ground.sql_url}"\n'
        config = self.folder / "css.toml"
        config.write_text(settings_text("A", "css-a", self.ground.amqp_url("A"), more, **TIMERS))
        process = CssProcess(self.folder, f"css-a.{next(self.numbers)}", config, kill_at)
        self.addCleanup(process.close)
        return process

    async def test_killed_while_it_forwards(self) -> None:
        self.stage.instance("B", "css-b", **self.timers)
        await self.stage.served("B")
        bmc, pms, cm = self.peers("B").bmc, self.peers("B").pms, self.cm_of("A")
        pms.broadcast_platform("A", "abnormal")
        for moid, level, above in (("A", 1, ""), ("u-a", 0, "A")):
            bmc.send_domain("add", moid, level=level, uplevelmoid=above, used=1)
        await self.eventually(lambda: self.services_of("B")[0].knows_domains("A", "u-a"), True)
        created = await within(self.cm_of("B").create(E164, "跨平台", "u-a"))
        self.assertEqual(created["type"], "MAU_CM_CREATECONF_ACK", created)
        pms.broadcast_platform("A", "normal")
        mcu = self.peers("B").hosts[created["ip"]].process_of(E164)
        requests = []
        for point in POINTS:
            process = self.run_a(point)
            await process.serves()
            requests.append(cm.request("CM_CMU_MUTE_REQ", ("mau.cmcmu.ex", "mau.cmcmu.k"), confE164=E164, at=point))
            self.assertEqual(await process.dies(), -signal.SIGKILL, point)
        survivor = self.run_a()
        for request, point in zip(requests, POINTS, strict=True):
            answer = await within(request.answer, 60)
            self.assertEqual(answer["type"], "CMU_CM_MUTE_ACK", point)
        await survivor.serves()
        await survivor.stop()
        for request, point in zip(requests, POINTS, strict=True):
            self.assertEqual([each.type for each in request.answers], ["CMU_CM_MUTE_ACK"], point)
        # What comes again, all at once, need not come in the order in which it was asked.
        self.assertCountEqual([each.fields["at"] for each in mcu.inbox.all("CM_CMU_MUTE_REQ")], POINTS)
        self.assertEqual(mcu.inbox.repeats, 0)
