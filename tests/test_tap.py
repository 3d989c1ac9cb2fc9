"""The command line of `twistd css`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.application.service import MultiService
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from css.service import CssService
from css.tap import Options, makeService

CONFIG = '[platform]\nmoid = "platform-a"\n[amqp]\nurl = "amqp://127.0.0.1/vhost"\n'


class CommandLineTests(SynchronousTestCase):
    """Options to a service."""

    def service(self, *options: str) -> CssService:
        """What `twistd css` with these options would run; it is not started."""
        path = Path(self.mktemp())
        path.write_text(CONFIG)
        parsed = Options()
        parsed.parseOptions([*options, "--config", str(path)])
        return cast("CssService", makeService(parsed))

    def test_service(self) -> None:
        self.assertFalse(self.service().work.steps.says_why)

    def test_steps_are_logged_if_asked_for(self) -> None:
        self.assertTrue(self.service("--steps").work.steps.says_why)

    def with_web(self, endpoint: str) -> Options:
        """The options of an instance that has a web."""
        path = Path(self.mktemp())
        path.write_text(CONFIG + f'[web]\nendpoint = "{endpoint}"\n')
        options = Options()
        options.parseOptions(["--config", str(path)])
        return options

    def test_web(self) -> None:
        """The instance and its web run together."""
        both = list(cast("MultiService", makeService(self.with_web("tcp:0:interface=127.0.0.1"))))
        self.assertEqual(len(both), 2)
        self.assertEqual(len([each for each in both if isinstance(each, CssService)]), 1)

    def test_web_where_nobody_can_listen(self) -> None:
        """An endpoint that Twisted does not know is refused in words."""
        error = self.assertRaises(SystemExit, makeService, self.with_web("nonsense:1"))
        self.assertIn("[web] endpoint = nonsense:1", str(error))

    def test_no_configuration(self) -> None:
        error = self.assertRaises(usage.UsageError, Options().parseOptions, [])
        self.assertIn("--config FILE is missing", str(error))

    def test_bad_configuration(self) -> None:
        path = Path(self.mktemp())
        path.write_text('[platform]\nmoid = ""\n')
        error = self.assertRaises(usage.UsageError, Options().parseOptions, ["--config", str(path)])
        self.assertIn("moid", str(error))

    def test_embedded_broker(self) -> None:
        """What only the demo has is refused like any other wrong value: in words, without a traceback."""
        path = Path(self.mktemp())
        path.write_text('[platform]\nmoid = "a"\n[amqp]\nurl = "memory:"\n')
        error = self.assertRaises(usage.UsageError, Options().parseOptions, ["--config", str(path)])
        self.assertIn('[amqp] url is "memory:"', str(error))
