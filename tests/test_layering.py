"""Who may import whom: the table "Layers" of the architecture, held by reading every module of `css`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.sources import Source, dotted, imported_from, sources

EVERYTHING = frozenset({"*"})

LAYERS: Mapping[str, frozenset[str]] = {
    "domain": frozenset(),
    "messages": frozenset({"domain"}),
    "ports": frozenset({"domain", "messages"}),
    "handlers": frozenset({"domain", "messages", "ports"}),
    "timers": frozenset({"domain", "ports", "handlers"}),
    "adapters": frozenset({"ports"}),
    "peers": frozenset({"messages", "ports"}),
    "simulation": EVERYTHING,
    "web": frozenset({"ports", "handlers"}),
    "ctl": EVERYTHING,
    "demo": EVERYTHING,
    "npp": EVERYTHING,
    "assembly": EVERYTHING,
}
"""Part of `css` -> the other parts that it may import. Every part imports itself, but for adapters: see `part_of`.

`assembly` is every single module directly in `css/` (config, service, tap …): nobody below may import those.
"""

LAYER_PACKAGES = frozenset(f"css.{layer}" for layer in LAYERS)

OUTSIDE: Mapping[str, frozenset[str]] = {
    "domain": frozenset({"msgspec"}),
    "messages": frozenset({"msgspec"}),
    "ports": frozenset({"msgspec", "twisted", "zope"}),
}
"""Parts that may import of the outside world only this, beside the standard library."""

CONFINED: Mapping[str, str] = {"txamqp": "css.adapters.amqp", "txredisapi": "css.adapters.redis"}
"""Libraries that one package only may import."""

GLOBAL_REACTOR = "twisted.internet.reactor"
ITS_USERS = ("css.service", "css.tap", "css.demo", "css.npp.tap")


def part_of(module: str, modules: frozenset[str]) -> str:
    """The part of `css` that a module belongs to; `adapters.redis` counts as one, apart from `adapters.amqp`.

    Modules that lie directly in `css/adapters/` are shared by the adapters: part `adapters`. `css` itself, which holds
    the version, is part "".
    """
    names = module.split(".")
    depth = 3 if names[1:2] == ["adapters"] else 2
    package = ".".join(names[:depth])
    is_package = len(names) > depth or package in LAYER_PACKAGES or any(o.startswith(f"{package}.") for o in modules)
    if len(names) < depth:
        return ".".join(names[1:])
    if is_package:
        return ".".join(names[1:depth])
    return "assembly" if depth == 2 else "adapters"


def imports(source: Source, modules: frozenset[str]) -> Iterator[tuple[ast.AST, str]]:
    """Every name that a module imports, dotted and absolute: the module, where there is one, else what is in it."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = imported_from(source, node)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield node, name if name in modules or base not in modules else base


def may_import(part: str, other: str) -> bool:
    """Whether one part of `css` may import another; the part "" is `css` itself, which holds the version."""
    layer = part.partition(".")[0]
    allowed = LAYERS[layer]
    return other in ("", part) or allowed is EVERYTHING or other in allowed or (layer == other == "adapters")


def layer_violations(every: list[Source]) -> list[str]:
    """Imports inside `css` that the table does not allow, and parts of `css` that it does not know."""
    modules = frozenset(source.module for source in every)
    found = []
    for source in every:
        part = part_of(source.module, modules)
        if part and part.partition(".")[0] not in LAYERS:
            found.append(f"{source.path}: css/{part} is not in the table of layers")
            continue
        for node, name in imports(source, modules):
            if name.split(".")[0] == "css" and part and not may_import(part, part_of(name, modules)):
                found.append(source.at(node, f"{part} may not import {name}"))
    return found


def outside_violations(every: list[Source]) -> list[str]:
    """Libraries imported where they may not be."""
    modules = frozenset(source.module for source in every)
    found = []
    for source in every:
        allowed = OUTSIDE.get(part_of(source.module, modules))
        for node, name in imports(source, modules):
            library = name.split(".")[0]
            if library in CONFINED and not f"{source.module}.".startswith(f"{CONFINED[library]}."):
                found.append(source.at(node, f"only {CONFINED[library]} may import {library}"))
            own = library == "css" or library in sys.stdlib_module_names
            if allowed is not None and not own and library not in allowed:
                found.append(source.at(node, f"{source.module} may not import {library}"))
    return found


def reactor_violations(every: list[Source]) -> list[str]:
    """Uses of the global reactor elsewhere than where the service is put together."""
    modules = frozenset(source.module for source in every)
    found = []
    for source in every:
        if f"{source.module}.".startswith(tuple(f"{user}." for user in ITS_USERS)):
            continue
        named = [(node, name) for node, name in imports(source, modules) if name == GLOBAL_REACTOR]
        reached = [(node, dotted(node)) for node in source.nodes if isinstance(node, ast.Attribute)]
        uses = [*named, *((node, name) for node, name in reached if name.endswith("internet.reactor"))]
        found += [source.at(node, "the reactor is an argument, never the global one") for node, _ in uses]
    return found


class LayeringTests(SynchronousTestCase):
    """The project keeps to the table."""

    def setUp(self) -> None:
        self.sources = sources("css")

    def test_all_modules_are_read(self) -> None:
        """The rules see what is there: a rule over no file holds always."""
        self.assertIn("css.ports.store", {source.module for source in self.sources})

    def test_layers(self) -> None:
        """Parts of `css` import each other only as the table allows."""
        self.assertEqual([], layer_violations(self.sources))

    def test_outside(self) -> None:
        """The domain knows no Twisted; txamqp and txredisapi have one importer each."""
        self.assertEqual([], outside_violations(self.sources))

    def test_reactor(self) -> None:
        """The global reactor is taken only where the service is put together."""
        self.assertEqual([], reactor_violations(self.sources))


class PlantedTests(SynchronousTestCase):
    """The rules catch what they are there for, and nothing else."""

    EXISTING = (
        Source("css/__init__.py", ""),
        Source("css/domain/sync.py", ""),
        Source("css/messages/codec.py", ""),
        Source("css/ports/__init__.py", ""),
        Source("css/ports/store.py", ""),
        Source("css/adapters/backoff.py", ""),
        Source("css/adapters/redis/__init__.py", ""),
        Source("css/adapters/redis/store.py", ""),
        Source("css/adapters/amqp/bus.py", ""),
        Source("css/handlers/create.py", ""),
        Source("css/service.py", ""),
    )

    def planted(self, path: str, text: str) -> list[Source]:
        """The existing files, and one more."""
        return [*self.EXISTING, Source(path, text)]

    def test_layer_caught(self) -> None:
        """Each way of importing upwards is caught, with file and line."""
        for path, text in [
            ("css/domain/a.py", "from css.ports import store"),
            ("css/domain/a.py", "from css.ports.store import IConferenceStore"),
            ("css/domain/a.py", "import css.ports.store"),
            ("css/domain/a.py", "from ..ports import store"),
            ("css/domain/a.py", "from .. import ports"),
            ("css/domain/__init__.py", "from ..ports import store"),
            ("css/domain/a.py", "def f():\n    from css.ports import store"),
            ("css/handlers/a.py", "from css.adapters.redis.store import RedisStore"),
            ("css/adapters/redis/a.py", "from css.adapters.amqp import bus"),
            ("css/adapters/redis/a.py", "from css.domain import sync"),
            ("css/adapters/backoff2.py", "from css.adapters.redis import store"),
            ("css/peers/a.py", "from css.service import make"),
            ("css/domain/a.py", "from css.config import Settings"),
        ]:
            found = layer_violations(self.planted(path, text))
            self.assertEqual([f"{path}:{text.count(chr(10)) + 1}"], [v.split(": ")[0] for v in found], text)

    def test_layer_allowed(self) -> None:
        """What the table allows passes."""
        for path, text in [
            ("css/messages/a.py", "from css.domain import sync"),
            ("css/handlers/a.py", "from css.domain.sync import plan\nfrom . import create"),
            ("css/adapters/redis/a.py", "from .store import RedisStore\nfrom css.adapters.backoff import Backoff"),
            ("css/service.py", "from css.adapters.redis.store import RedisStore"),
            ("css/domain/a.py", "from css import __version__"),
            ("css/probe.py", "from css.service import make\nfrom css.timers import sweep"),
        ]:
            self.assertEqual([], layer_violations(self.planted(path, text)), text)

    def test_unknown_part_caught(self) -> None:
        """A part that the table does not know has to be put in it first."""
        self.assertEqual(
            ["css/utilities/text.py: css/utilities is not in the table of layers"],
            layer_violations(self.planted("css/utilities/text.py", "")),
        )

    def test_outside_caught(self) -> None:
        """A library in the wrong place is caught."""
        for path, text in [
            ("css/domain/a.py", "from twisted.internet.defer import Deferred"),
            ("css/messages/a.py", "import zope.interface"),
            ("css/adapters/redis/a.py", "import txamqp.client"),
            ("css/adapters/redistribution.py", "from txredisapi import Connection"),
            ("css/service.py", "import txredisapi"),
        ]:
            self.assertEqual(1, len(outside_violations(self.planted(path, text))), text)

    def test_outside_allowed(self) -> None:
        """Where it belongs it passes."""
        for path, text in [
            ("css/domain/a.py", "import msgspec\nimport dataclasses\nfrom css.domain import sync"),
            ("css/adapters/amqp/a.py", "import txamqp.client"),
            ("css/adapters/redis/__init__.py", "import txredisapi"),
        ]:
            self.assertEqual([], outside_violations(self.planted(path, text)), text)

    def test_reactor_caught(self) -> None:
        """Each way of getting at the global reactor is caught, also in a function."""
        for text in [
            "from twisted.internet import reactor",
            "from twisted.internet import defer, reactor as r",
            "import twisted.internet.reactor",
            "def f():\n    from twisted.internet import reactor",
            "from twisted import internet\ninternet.reactor.callLater(1, print)",
        ]:
            self.assertEqual(1, len(reactor_violations(self.planted("css/handlers/a.py", text))), text)

    def test_reactor_allowed(self) -> None:
        """The service's assembly may, and everybody may name the interfaces."""
        self.assertEqual([], reactor_violations(self.planted("css/tap.py", "from twisted.internet import reactor")))
        text = "from twisted.internet.interfaces import IReactorTime\nself.reactor.callLater(1, print)"
        self.assertEqual([], reactor_violations(self.planted("css/handlers/a.py", text)))
