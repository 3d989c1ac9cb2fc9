"""What tests of the start with the PMS share."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.handlers.pms_world import OWN, PmsWorld

STATE, CONFIG = "PLATFORM_STATE_REQ", "PLATFORM_CONFIG_REQ"


class StartupCase(SynchronousTestCase):
    """An instance that has not started yet, and its PMS."""

    def setUp(self) -> None:
        self.world = PmsWorld()
        self.pms = self.world.pms
        self.startup = self.world.startup
        self.addCleanup(self.end)

    def end(self) -> None:
        """Stop; nothing may be under way then."""
        self.world.stop()
        self.assertEqual(self.world.tracker.in_flight, 0)

    def state_questions(self) -> int:
        """How often the PMS was asked for the state."""
        return self.pms.asked.count((STATE, OWN))

    def rooms(self) -> set[str]:
        """Abnormal ones, as they are kept."""
        assert self.world.links.state is not None
        found: set[str] = self.successResultOf(Deferred.fromCoroutine(self.world.links.state.abnormal_rooms()))
        return found
