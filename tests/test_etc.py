"""The sample configuration in `etc/` keeps up with the code."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from css.config import Secret, Settings, parse
from tests.sources import ROOT

SAMPLE = ROOT / "etc" / "css.toml"
NOT_KEYS = {"license.keys"}
"""Fields of the settings that are filled in by the parser."""

_KEY = re.compile(r"#? ?(?P<key>[a-z_0-9]+) = \S")
_TABLE = re.compile(r"#? ?\[(?P<table>[a-z.]+)\]")


def structs(annotation: Any) -> list[type[msgspec.Struct]]:
    """The struct in an annotation like `NppSection | None`, as a list of none or one."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]


def settings_keys(struct: type[msgspec.Struct] = Settings, prefix: str = "") -> Iterator[str]:
    """Every key of the settings, dotted."""
    for field in msgspec.structs.fields(struct):
        inner = structs(field.type)
        if inner:
            yield from settings_keys(inner[0], f"{prefix}{field.name}.")
        elif f"{prefix}{field.name}" not in NOT_KEYS:
            yield f"{prefix}{field.name}"


def sample_keys(text: str) -> list[str]:
    """Every key of a sample file, dotted, those that are commented out included."""
    keys, table = [], ""
    for line in text.splitlines():
        if heading := _TABLE.match(line):
            table = heading["table"]
        elif key := _KEY.match(line):
            keys.append(f"{table}.{key['key']}")
    return keys


class SampleConfiguration(SynchronousTestCase):
    """`etc/css.toml`"""

    def setUp(self) -> None:
        self.text = SAMPLE.read_text(encoding="utf-8")

    def test_is_accepted(self) -> None:
        """CSS would start with it as it is."""
        self.assertEqual("platform-a", parse(self.text, str(SAMPLE)).platform.moid)

    def test_shows_every_key_once(self) -> None:
        """Each key that the code knows is shown, and none that it does not know."""
        self.assertEqual(sorted(settings_keys()), sorted(sample_keys(self.text)))

    def test_shows_defaults(self) -> None:
        """A value in it is the default, but for what each site has to say itself."""
        shown = tomllib.loads(self.text)
        needed = {"platform": {"moid": "x"}, "amqp": {"url": shown["amqp"]["url"]}, "web": shown["web"]}
        defaults = msgspec.to_builtins(msgspec.convert(needed, Settings, dec_hook=_secret), enc_hook=Secret.reveal)
        for table in ("license", "timers", "restore"):
            self.assertEqual({key: defaults[table][key] for key in shown[table]}, shown[table], f"[{table}]")
        self.assertGreater(len(shown["timers"]), 10)

    def test_finds_keys(self) -> None:
        """The reader of the sample sees keys and commented keys, and no prose."""
        text = "# A word = none\n[a]\nx = 1 # y = 2\n# z = 3\n# [a.b]\n# q = [1]\n"
        self.assertEqual(["a.x", "a.z", "a.b.q"], sample_keys(text))


class SampleSupervisor(SynchronousTestCase):
    """`etc/supervisord.conf`"""

    def test_starts_css_with_the_sample(self) -> None:
        """Several instances of the plugin's service, with names of their own and a configuration that exists."""
        path = ROOT / "etc" / "supervisord.conf"
        file = configparser.RawConfigParser(inline_comment_prefixes=(";",))
        file.read(path, encoding="utf-8")
        program = file["program:css"]
        self.assertGreater(int(program["numprocs"]), 1)
        self.assertIn("%(process_num)", program["process_name"])
        command, _, configuration = program["command"].replace("%(here)s", str(path.parent)).partition(" --config ")
        self.assertEqual([".venv/bin/twistd", "-n --pidfile= css"], _below_root(command))
        self.assertEqual(SAMPLE, Path(configuration))


def _secret(_kind: type, value: Any) -> Secret:
    return Secret(value)


def _below_root(command: str) -> list[str]:
    program, _, arguments = command.partition(" ")
    return [str(Path(program).parent.parent.resolve().relative_to(ROOT) / "bin" / Path(program).name), arguments]
