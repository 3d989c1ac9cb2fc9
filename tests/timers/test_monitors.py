"""Who may judge monitors by their silence: those who have listened for a time-out (seed 10)."""

from __future__ import annotations

from css.ports.store import Commit, IConferenceStore
from css.timers.monitors import MonitorWatch
from tests.handlers.site import NOW, SiteCase

TIMEOUT_SECONDS = 12.0


class Watch(SiteCase):
    """A number in each store whose monitors are long due; its claim lasts five seconds."""

    def setUp(self) -> None:
        super().setUp()
        self.taken: list[str] = []
        site = self.site
        self.watch = MonitorWatch(
            site.clock, "pA", self.css.bus, site.stores, self.take, self.css.tally, TIMEOUT_SECONDS
        )
        for store, platform in ((site.store, "pA"), (site.other, "pA"), (site.store, "pC")):
            e164 = f"{len(self.taken)}{store.platform}{platform}"
            commit = Commit(e164=e164, touch_record=False, index_add={f"monitor/{platform}": NOW * 1000 - 1})
            self.css.run(store.commit(commit))

    async def take(self, store: IConferenceStore, e164: str) -> None:
        """Note who was taken."""
        self.taken.append(store.platform)

    def after(self, seconds: float) -> set[str]:
        """Whose numbers are taken in some seconds of rounds."""
        self.taken.clear()
        for _ in range(round(2 * seconds)):
            self.site.clock.advance(0.5)
            self.css.run(self.watch.tick())
        return set(self.taken)

    def test_after_a_start(self) -> None:
        """One time-out later; of each store, of this platform only."""
        self.assertEqual(self.after(TIMEOUT_SECONDS), set())
        self.assertEqual(self.after(1), {"pA", "pB"})
        self.assertEqual(len(self.taken), 2)

    def test_the_broker_was_away(self) -> None:
        """No heartbeat could come: one more time-out, of every store."""
        self.after(TIMEOUT_SECONDS + 1)
        self.site.broker.stop()
        self.assertEqual(self.after(20), set())
        self.site.broker.start()
        self.assertEqual(self.after(TIMEOUT_SECONDS), set())
        self.assertEqual(self.after(7), {"pA", "pB"})

    def test_a_moment_between_two_rounds(self) -> None:
        """Counts too."""
        self.after(TIMEOUT_SECONDS + 1)
        self.site.broker.stop()
        self.site.broker.start()
        self.site.clock.advance(0)
        self.assertEqual(self.after(TIMEOUT_SECONDS - 1), set())

    def test_a_store_was_away(self) -> None:
        """Of its conferences no heartbeat could be noted; of the others they could."""
        self.after(TIMEOUT_SECONDS + 1)
        self.site.other.fail()
        self.assertEqual(self.after(20), {"pA"})
        self.site.other.recover()
        self.assertEqual(self.after(TIMEOUT_SECONDS), {"pA"})
        self.assertEqual(self.after(7), {"pA", "pB"})

    def test_another_server_answers(self) -> None:
        """After a failover it may lack the newest heartbeats."""
        self.after(TIMEOUT_SECONDS + 1)
        self.site.store.server.links += 1
        self.assertEqual(self.after(TIMEOUT_SECONDS), {"pB"})

    def test_stood_still(self) -> None:
        """A frozen instance, or one that was off duty, has heard nothing meanwhile."""
        self.after(TIMEOUT_SECONDS + 1)
        self.site.clock.advance(5)
        self.assertEqual(self.after(TIMEOUT_SECONDS), set())
