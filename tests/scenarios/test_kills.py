"""kill -9 of CSS at every point of a day's work: in the end nobody can tell that it happened (real servers)."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.scenarios.days import (
    HOSTS,
    USERS,
    Day,
    changes,
    controls,
    monitors,
    ordinary,
    prepare,
    silence,
    silent_controls,
)
from tests.scenarios.ground import ServerGround
from tests.scenarios.kills import Kills, live_through
from tests.scenarios.processes import Scene


def each_at(*points: str) -> list[Kills]:
    """A day for each of these points, on which an instance dies there."""
    return [Kills((point,)) for point in points]


class KillTests(TestCase):
    """Each test demands that disturbed days end as an undisturbed one does."""

    timeout = 600
    maxDiff = None

    def equal(self, day: Day, kills: list[Kills], **timers: float) -> Deferred[None]:
        """Demand that a day ends the same with each of the kills."""

        def compare(found: tuple[dict[str, Any], dict[str, dict[str, Any]]]) -> None:
            undisturbed, disturbed = found
            self.healthy(undisturbed)
            self.assertEqual(len(disturbed), len(kills))
            for name, state in disturbed.items():
                wrong = {part: state[part] for part, wanted in undisturbed.items() if state[part] != wanted}
                wanted = {part: undisturbed[part] for part in wrong}
                self.assertEqual(wrong, wanted, f"killed at {name}")

        return live_through(day, kills, timers).addCallback(compare)

    def healthy(self, state: dict[str, Any]) -> None:
        """Demand that nothing is left under way: two equal states could be equally wrong."""
        for part in ("placed twice or nowhere", "outbox", "faults", "queues"):
            self.assertFalse(state[part], part)
        self.assertEqual(state["pending requests"], 0)
        for part in ("records", "rows", "booked"):
            self.assertEqual(sorted(state[part]), sorted(state["running"]), part)

    def test_create(self) -> Deferred[None]:
        return self.equal(
            ordinary,
            each_at(
                "create.before_commit",
                "create.after_commit",
                "create.after_confirm",
                "CreateRequest.before_ack",
                "told:GET_RES_REQ",
            ),
        )

    def test_place(self) -> Deferred[None]:
        return self.equal(
            ordinary,
            each_at(
                "place.before_load",
                "place.after_commit",
                "place.after_confirm",
                "ResourceAck.before_ack",
                "told:MAU_MCU_CREATECONF_REQ",
            ),
        )

    def test_accept(self) -> Deferred[None]:
        return self.equal(
            ordinary,
            each_at(
                "accept.before_commit",
                "accept.after_commit",
                "accept.after_confirm",
                "McuCreateAck.before_ack",
                "told:MAU_CM_CREATECONF_ACK",
            ),
        )

    def test_refusals(self) -> Deferred[None]:
        return self.equal(
            ordinary,
            each_at(
                "refuse_resources.after_commit",
                "refuse.after_commit",
                "McuCreateNack.before_ack",
                "answer.after_commit",
                "answer.after_confirm",
            ),
        )

    def test_release(self) -> Deferred[None]:
        return self.equal(
            ordinary,
            each_at(
                "release.before_commit",
                "release.after_commit",
                "ReleaseRequest.before_ack",
                "told:MAU_MCU_RELEASECONF_CMD",
            ),
        )

    def test_changes(self) -> Deferred[None]:
        """Ends that are moved, a name, a password (seed 5)."""
        return self.equal(
            changes,
            each_at(
                "delay.before_commit",
                "delay.after_commit",
                "DelayRequest.before_ack",
                "McuDelayRequest.before_ack",
                "change.after_commit",
                "StateChangeNotice.before_ack",
            ),
        )

    def test_templates(self) -> Deferred[None]:
        """SQL and Redis have the same, at whatever point it dies (seed 6)."""
        points = ("before_intent", "after_intent", "after_sql", "before_commit", "after_commit")
        kills = [f"template.{point}{time}" for point in points for time in ("", ":4")]
        return self.equal(changes, each_at(*kills, "AddTemplateRequest.before_ack"))

    def test_what_follows_a_commit(self) -> Deferred[None]:
        return self.equal(
            ordinary,
            each_at(
                "rows.before_commit",
                "rows.after_commit",
                "outbox.before_commit",
                "loads.before_commit",
                "loads.after_commit",
            ),
        )

    def test_sweep(self) -> Deferred[None]:
        """What one instance left behind another one carries out, and dies of that, too."""
        return self.equal(ordinary, [Kills(("accept.after_commit", "sweep.before_publish", "sweep.after_confirm"))])

    def test_directory_and_licence(self) -> Deferred[None]:
        return self.equal(ordinary, each_at("LicenseNotice.before_ack", "DomainAddNotice.before_ack"))

    def test_booked_and_not_committed(self) -> Deferred[None]:
        """The place that was booked is dropped when its lease, twice the creating time-out, has run out."""
        days = each_at("place.before_commit", "refuse.before_commit")
        return self.equal(ordinary, days, request_timeout_seconds=6.0, creating_timeout_seconds=6.0)

    def test_silence(self) -> Deferred[None]:
        return self.equal(
            silence,
            each_at("overdue.before_commit", "overdue.after_commit", "overdue.after_confirm"),
            # A start must fit into it: one that dies as it tells of the first may have asked for the second.
            request_timeout_seconds=2.0,
            creating_timeout_seconds=2.0,
        )

    def test_control(self) -> Deferred[None]:
        """Of requests, of their answers, of what the MCU says unasked."""
        return self.equal(
            controls,
            each_at(
                "pass.before_commit",
                "pass.after_commit",
                "pass.after_confirm",
                "CmControl.before_ack",
                "CmControl.before_ack:4",
                "pass_back.before_commit",
                "pass_back.after_commit",
                "pass_back.after_confirm",
                "McuControl.before_ack",
                "McuControl.before_ack:4",
            ),
        )

    def test_monitors(self) -> Deferred[None]:
        """Started, heard of, stopped, expired: none lives on, and none is left in a record (seed 10)."""
        return self.equal(
            monitors,
            each_at(
                "monitor_start.before_commit",
                "monitor_start.after_commit",
                "monitor_start.after_confirm",
                "StartMonitorRequest.before_ack",
                "monitor_heard.after_commit",
                "MonitorHeartbeatNotice.before_ack",
                "monitor_stop.after_commit",
                "monitor_expiry.before_commit",
                "monitor_expiry.after_commit",
                "told:MAU_CMU_STOPMONITOR_CMD",
            ),
            monitor_timeout_seconds=4.0,
        )

    def test_silence_on_control(self) -> Deferred[None]:
        return self.equal(
            silent_controls,
            each_at("pass.after_commit", "pass_back.before_commit", "pass_back.after_commit"),
            request_timeout_seconds=2.0,
        )

    def test_one_of_two(self) -> Deferred[None]:
        points = ("create.after_commit", "place.after_commit", "accept.after_commit")
        return self.equal(ordinary, [Kills((point,), pair=True) for point in points])


class ProbeTests(TestCase):
    """No test above passes because its point was never reached, or because of how its processes are started."""

    timeout = 120

    async def test_the_process_is_killed_at_its_point(self) -> None:
        scene = Scene(ServerGround())
        try:
            await scene.open(HOSTS, USERS)
            prepare(scene)
            process = scene.run("place.after_commit:2", anew=True)
            await process.serves()
            await scene.ready(*USERS)
            first = await scene.peers.cm.create("001", "one", "u-good")
            self.assertEqual(first["type"], "MAU_CM_CREATECONF_ACK")
            self.assertTrue(process.running, "killed at the first time, not at the second")
            never = scene.peers.cm.create("002", "two", "u-good")
            self.assertEqual(await process.dies(), -signal.SIGKILL)
            self.assertNotIn("Received SIGTERM", process.log())
            self.assertFalse(never.called)
            dump = await scene.ground.dump("platform-a")
            self.assertIn("css/out/platform-a/ask/002", dump, "its last effect is still in the outbox")
        finally:
            await scene.close()
