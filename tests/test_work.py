"""An instance's work, as a whole."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from css.config import parse
from css.core import lease_ms_of
from css.probe import no_probe
from css.service import real_service
from css.work import END_SECONDS

CONFIG = '[platform]\nmoid = "platform-a"\n[amqp]\nurl = "amqp://127.0.0.1/vhost"\n'


class EndTests(SynchronousTestCase):
    """The orderly end."""

    def test_before_it_began(self) -> None:
        """An instance that never served leaves nothing to others, and does not say so."""
        service = real_service(Clock(), parse(CONFIG, "css.toml"), no_probe)
        with capturedLogs() as events:
            self.successResultOf(Deferred.fromCoroutine(service.work.end()))
        self.assertEqual([event for event in events if event["log_level"] >= LogLevel.warn], [])

    def test_it_takes_no_longer_than_it_may(self) -> None:
        """What is still under way then is left as by a kill; the tickers are stopped all the same."""
        clock = Clock()
        service = real_service(clock, parse(CONFIG, "css.toml"), no_probe)
        work = service.work
        work.tickers[0].start()
        work._core.tracker.run(_for_ever(), "a list of sixty thousand strangers")
        with capturedLogs() as events:
            ending = Deferred.fromCoroutine(work.end())
            clock.advance(END_SECONDS - 1)
            self.assertNoResult(ending)
            clock.advance(1)
            self.successResultOf(ending)
        (said,) = (event for event in events if event["log_level"] >= LogLevel.warn)
        self.assertIn("30.0 s after the stop is left to others", formatEvent(said))
        self.assertEqual([call for call in clock.getDelayedCalls() if call.active()], [])


async def _for_ever() -> None:
    await Deferred()


class LeaseTests(SynchronousTestCase):
    """How long what could not be sent is left alone before it is tried again."""

    def lease_ms(self, timers: str) -> int:
        return lease_ms_of(parse(f"{CONFIG}[timers]\n{timers}\n", "css.toml").timers)

    def test_as_configured(self) -> None:
        self.assertEqual(self.lease_ms("outbox_lease_seconds = 4"), 4_000)

    def test_what_reaches_no_queue_is_parked_in_time(self) -> None:
        """It is parked at the end of a lease: one of ten seconds would make three seconds ten."""
        self.assertEqual(self.lease_ms("unroutable_seconds = 3"), 3_000)

    def test_time_for_a_step_is_left(self) -> None:
        self.assertEqual(self.lease_ms("unroutable_seconds = 0.1"), 1_000)
        self.assertEqual(self.lease_ms("unroutable_seconds = 0.1\noutbox_lease_seconds = 0.5"), 500)
