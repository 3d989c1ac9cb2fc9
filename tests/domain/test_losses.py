"""What is lost with an MCU process, a room or a platform."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from css.domain.conference import Conference, State, indexes
from css.domain.events import McuLost, PlatformLost, Voided
from css.domain.losses import AbnormalPlatform, AbnormalProcess, AbnormalRoom, Loss, LostProcess
from tests.domain import samples

NOW = samples.NOW_MS


class Losses(SynchronousTestCase):
    """Which conferences are concerned, and where they are found."""

    def setUp(self) -> None:
        self.runs = samples.ongoing()
        self.pending = replace(self.runs, state=State.PENDING_RESTORE)
        self.process = LostProcess(self.runs.platformmoid, self.runs.ip, self.runs.pid)
        self.room = AbnormalRoom(self.runs.platformmoid, self.runs.roommoid)
        self.abnormal = AbnormalProcess(self.runs.platformmoid, self.runs.ip, self.runs.pid, "r")
        self.platform = AbnormalPlatform(self.runs.platformmoid)

    def of(self, loss: Loss, c: Conference) -> object:
        """The event."""
        return loss.event(c, NOW, lambda: 99, "x")

    def test_what_runs_there(self) -> None:
        """It is in the index of each, and the event says what happens."""
        c = self.runs
        lost = McuLost(now_ms=NOW, platform=c.platformmoid, ip=c.ip, pid=c.pid, recovery="x")
        voided = Voided(now_ms=NOW, epoch=99, recovery="x")
        gone = PlatformLost(now_ms=NOW, platform=c.platformmoid, epoch=99, recovery="x")
        expected: dict[Loss, object] = {self.process: lost, self.room: voided, self.abnormal: voided}
        expected[self.platform] = gone
        for loss, event in expected.items():
            self.assertEqual((self.of(loss, c), loss.index in indexes(c)), (event, True), loss)

    def test_elsewhere(self) -> None:
        """Another process, room or platform: nothing happens."""
        moved = (
            replace(self.runs, platformmoid="px"),
            replace(self.runs, pid="x", roommoid="rx", platformmoid="px"),
            replace(self.runs, ip="10.9.9.9", roommoid="rx", platformmoid="px"),
        )
        for c in moved:
            for loss in (self.room, self.abnormal, self.platform):
                self.assertIsNone(self.of(loss, c), (loss, c))
        for c in moved[1:]:
            self.assertIsNone(self.of(self.process, c), c)

    def test_what_waits(self) -> None:
        """A process or platform is lost once; a room's conferences are voided even so: their placement must go."""
        events = [self.of(loss, self.pending) for loss in (self.process, self.room, self.abnormal, self.platform)]
        self.assertEqual([type(each) for each in events], [type(None), Voided, Voided, type(None)])

    def test_legacy(self) -> None:
        """It waits for its lost MCU, and stays in an abnormal room; with its platform no index names it."""
        c = replace(self.runs, legacy=True)
        events = [self.of(loss, c) for loss in (self.process, self.room, self.abnormal)]
        self.assertEqual([type(each) for each in events], [McuLost, type(None), type(None)])
        self.assertNotIn(self.platform.index, indexes(c))

    def test_what_never_ran(self) -> None:
        """A create that is under way goes with its platform, as part of no recovery; a room's watch leaves it."""
        c = replace(samples.asking_mcu(), roommoid=self.runs.roommoid, platformmoid=self.runs.platformmoid)
        gone = self.of(self.platform, c)
        assert isinstance(gone, PlatformLost)
        self.assertEqual((gone.recovery, self.of(self.room, c), self.of(self.process, c)), ("", None, None))
