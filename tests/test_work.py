"""An instance's work, as a whole."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from css.config import parse
from css.probe import no_probe
from css.service import real_service

CONFIG = '[platform]\nmoid = "platform-a"\n[amqp]\nurl = "amqp://127.0.0.1/vhost"\n'


class EndTests(SynchronousTestCase):
    """The orderly end."""

    def test_before_it_began(self) -> None:
        """An instance that never served leaves nothing to others, and does not say so."""
        service = real_service(Clock(), parse(CONFIG, "css.toml"), no_probe)
        with capturedLogs() as events:
            self.successResultOf(Deferred.fromCoroutine(service.work.end()))
        self.assertEqual([event for event in events if event["log_level"] >= LogLevel.warn], [])
