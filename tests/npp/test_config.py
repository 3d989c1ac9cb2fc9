"""The configuration and the command line of `twistd npp`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from css.config import ConfigError
from css.npp.config import load, parse
from css.npp.service import NppService
from css.npp.tap import Options, makeService
from tests.sources import ROOT

GOOD = """
[platform]
moid = "A"
[npp]
discovery_file = "where"
[web]
endpoint = "tcp:0:interface=127.0.0.1"
"""


class Configuration(SynchronousTestCase):
    """What is read, and what is refused."""

    def refused(self, text: str) -> str:
        """What the error says."""
        return str(self.assertRaises(ConfigError, parse, text, "/etc/npp.toml"))

    def test_the_least(self) -> None:
        """Paths are relative to the file; the discovery file may come later."""
        settings = parse(GOOD, "/etc/css/npp.toml")
        self.assertEqual(settings.npp.discovery_file, "/etc/css/where")
        self.assertEqual((settings.platform.moid, settings.web.endpoint), ("A", "tcp:0:interface=127.0.0.1"))

    def test_missing_sections(self) -> None:
        """Each is named."""
        sections = {text.split("]")[0]: f"[{text}" for text in GOOD.split("[")[1:]}
        self.assertEqual(list(sections), ["platform", "npp", "web"])
        for section, text in sections.items():
            self.assertIn(f"[{section}] is missing", self.refused(GOOD.replace(text, "")))
        text = GOOD.replace('discovery_file = "where"', "")
        self.assertIn("[npp] discovery_file is missing", self.refused(text))

    def test_sections_of_css(self) -> None:
        """May stand beside ours, with files that only CSS can read; what is misspelt there is found all the same."""
        shared = GOOD + '[amqp]\nurl = "amqp://h/v"\n[license]\nkey_file = "/nobody/may/read"\n[timers]\n'
        self.assertEqual(parse(shared, "x").platform.moid, "A")
        self.assertIn("state_pol", self.refused(shared + "state_pol = 1.0"))
        self.assertIn("[amqp] prefetch", self.refused(shared.replace("[license]", "prefetch = 0\n[license]")))

    def test_redis(self) -> None:
        """Checked as CSS checks it."""
        self.assertIn("[redis] user needs a password", self.refused(GOOD + '[redis]\nuser = "npp"'))
        self.assertIn("password_file", self.refused(GOOD + '[redis]\npassword_file = "nowhere"'))

    def test_unknown_section(self) -> None:
        """Refused."""
        self.assertIn("nppp", self.refused(GOOD + "[nppp]\nx = 1"))

    def test_sample(self) -> None:
        """`etc/npp.toml` is accepted as it is."""
        self.assertEqual(load(str(ROOT / "etc" / "npp.toml")).npp.discovery_file, str(ROOT / "etc" / "discovery"))


class CommandLine(SynchronousTestCase):
    """Options to a service."""

    def options(self, text: str) -> Options:
        """Parsed from a file with this text."""
        path = Path(self.mktemp())
        path.write_text(text)
        options = Options()
        options.parseOptions(["--config", str(path)])
        return options

    def test_service(self) -> None:
        """It is not started."""
        service = cast("NppService", makeService(self.options(GOOD)))
        self.assertEqual(service.name, "npp")

    def test_no_configuration(self) -> None:
        """Said in words."""
        self.assertIn("--config FILE", str(self.assertRaises(usage.UsageError, Options().parseOptions, [])))

    def test_bad_configuration(self) -> None:
        """Said in words."""
        self.assertIn("[web]", str(self.assertRaises(usage.UsageError, self.options, GOOD.split("[web]")[0])))

    def test_bad_endpoint(self) -> None:
        """Said in words."""
        options = self.options(GOOD.replace("tcp:0:interface=127.0.0.1", "nothing:1"))
        self.assertIn("[web] endpoint", str(self.assertRaises(usage.UsageError, makeService, options)))
