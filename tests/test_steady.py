"""A clock that is set, and the timers that must not mind."""

from __future__ import annotations

from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from css.steady import keep_steady, steady_seconds


class SteadyTests(SynchronousTestCase):
    """`steady_seconds` and `keep_steady`."""

    def test_steady_seconds(self) -> None:
        """It begins with what the clock says, and then follows the even time alone."""
        wall, monotonic = 1_700_000_000.0, 50.0
        seconds = steady_seconds(lambda: wall, lambda: monotonic)
        self.assertEqual(seconds(), 1_700_000_000.0)
        wall -= 3600
        monotonic += 2
        self.assertEqual(seconds(), 1_700_000_002.0)

    def test_reactor_keeps_its_timers(self) -> None:
        """A clock that is set back by an hour does not put a timer off by an hour."""
        wall, monotonic = 1_700_000_000.0, 50.0
        reactor = SelectReactor()
        keep_steady(reactor, lambda: wall, lambda: monotonic)
        call = reactor.callLater(1.0, lambda: None)
        wall -= 3600
        monotonic += 0.75
        self.assertEqual(reactor.timeout(), 0.25)
        call.cancel()
        reactor.removeAll()
