"""Rules for single files, which neither ruff nor mypy knows. Each has its planted violation."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.sources import Source, dotted, sources

MOST_LINES = 500
MOST_FUNCTION_LINES = 45
"""From `def` to the end: what fits a screen. Of `css`; tests have tables in them."""
LOG_LEVELS = frozenset({"debug", "info", "warn", "error", "critical", "failure"})
LOGGER_NAMES = frozenset({"log", "_log", "logger", "_logger", "LOG"})

MESSAGE_TYPE = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)*_(REQ|ACK|NACK|NTF|CMD|NOTIFY)")
ERRCODES = frozenset({"RMS_NACK"})
"""What looks like a message's name and is an `errcode`, which the domain speaks of."""
ADDRESS = re.compile(r"[A-Za-z]+(\.[A-Za-z_]+)+\.([QqKk]|EX|ex|key)(:.*)?")
"""Queues, exchanges and routing keys, with what follows a queue's colon."""
ADDRESS_BOOK = "css/handlers/addresses.py"


def long_files(every: list[Source]) -> list[str]:
    """Files that are too long to be read in one go."""
    counted = [(source.path, source.text.count("\n")) for source in every]
    return [f"{path}: {lines} lines, more than {MOST_LINES}" for path, lines in counted if lines > MOST_LINES]


def long_functions(every: list[Source]) -> list[str]:
    """Functions of which nobody sees the beginning and the end together."""
    return [
        source.at(node, f"{node.name} has {lines} lines, more than {MOST_FUNCTION_LINES}")
        for source in every
        for node in source.nodes
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MOST_FUNCTION_LINES
    ]


def async_starts(every: list[Source]) -> list[str]:
    """`async def startService`: Twisted drops the coroutine, and the service silently never starts."""
    return [
        source.at(node, f"{node.name} may not be async: it would never run")
        for source in every
        for node in source.nodes
        if isinstance(node, ast.AsyncFunctionDef) and node.name in ("startService", "privilegedStartService")
    ]


def async_tests(every: list[Source]) -> list[str]:
    """`async def test_…` that a SynchronousTestCase has or inherits: it passes without running."""
    classes = {f"{source.module}.{node.name}": (source, node) for source in every for node in _classes(source)}

    def line(name: str, seen: frozenset[str]) -> Iterator[str]:
        """A class and its ancestors, by dotted names."""
        yield name
        if name in classes and name not in seen:
            source, node = classes[name]
            names = source.imports
            for base in node.bases:
                first, _, rest = dotted(base).partition(".")
                meant = names.get(first, f"{source.module}.{first}")
                yield from line(f"{meant}.{rest}" if rest else meant, seen | {name})

    found = set()
    for name in classes:
        ancestry = list(line(name, frozenset()))
        if any(ancestor.endswith(".SynchronousTestCase") for ancestor in ancestry):
            for source, owner in (classes[each] for each in ancestry if each in classes):
                for node in owner.body:
                    if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test"):
                        found.add(source.at(node, f"{node.name} would pass without running in {name}"))
    return sorted(found)


def inline_callbacks(every: list[Source]) -> list[str]:
    """`inlineCallbacks`, where `async def` is the one way to write a coroutine."""
    names = {"inlineCallbacks"}
    return [
        source.at(node, "async def takes the place of inlineCallbacks")
        for source in every
        for node in source.nodes
        if (isinstance(node, ast.alias) and node.name in names)
        or (isinstance(node, ast.Attribute) and node.attr in names)
    ]


def formatted_logs(every: list[Source]) -> list[str]:
    """Log calls whose format was filled in before: its fields are lost, and braces in a value break it."""
    return [
        source.at(node, "give the log fields, not a finished text")
        for source in every
        for node in source.nodes
        if isinstance(node, ast.Call) and _is_log_call(node) and any(_is_finished(text) for text in node.args)
    ]


def wire_names(every: list[Source]) -> list[str]:
    """Names of messages outside `css/messages`, and of queues, exchanges and keys outside that and the address book.

    Peers stand for other systems: what they call things is their side of the contract, held against CSS's by every test
    in which they meet.
    """
    found = []
    for source in every:
        if source.path.startswith(("css/messages/", "css/peers/")):
            continue
        for node, text in _strings(source):
            is_address = ADDRESS.fullmatch(text) and source.path != ADDRESS_BOOK
            if is_address or (MESSAGE_TYPE.fullmatch(text) and text not in ERRCODES):
                found.append(source.at(node, f"{text} is a wire name: it belongs in css/messages"))
    return found


def _classes(source: Source) -> Iterator[ast.ClassDef]:
    return (node for node in source.nodes if isinstance(node, ast.ClassDef))


def _strings(source: Source) -> Iterator[tuple[ast.Constant, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node, node.value


def _is_log_call(call: ast.Call) -> bool:
    target, _, level = dotted(call.func).rpartition(".")
    return level in LOG_LEVELS and target.rpartition(".")[2] in LOGGER_NAMES


def _is_finished(text: ast.expr) -> bool:
    """An f-string, `"…".format(…)`, `"…" % …` or `"…" + …`."""
    if isinstance(text, ast.Call):
        return isinstance(text.func, ast.Attribute) and text.func.attr == "format"
    return isinstance(text, ast.JoinedStr) or (isinstance(text, ast.BinOp) and not isinstance(text.op, ast.BitOr))


class SourceTests(SynchronousTestCase):
    """The project keeps to the rules."""

    def setUp(self) -> None:
        self.css = sources("css")
        self.all = [*self.css, *sources("tests", "benchmarks", "twisted", "tools")]

    def test_all_files_are_read(self) -> None:
        """The rules see what is there: a rule over no file holds always."""
        paths = {source.path for source in self.all}
        self.assertLessEqual({"css/ports/store.py", "tests/test_source.py", "twisted/plugins/css_plugin.py"}, paths)

    def test_long_files(self) -> None:
        """No file is too long."""
        self.assertEqual([], long_files(self.all))

    def test_long_functions(self) -> None:
        """No function is too long."""
        self.assertEqual([], long_functions(self.css))

    def test_async_starts(self) -> None:
        """No service has a start that never runs."""
        self.assertEqual([], async_starts(self.all))

    def test_async_tests(self) -> None:
        """No test passes without running."""
        self.assertEqual([], async_tests(self.all))

    def test_inline_callbacks(self) -> None:
        """Coroutines are `async def`."""
        self.assertEqual([], inline_callbacks(self.all))

    def test_formatted_logs(self) -> None:
        """Logs have fields."""
        self.assertEqual([], formatted_logs(self.all))

    def test_wire_names(self) -> None:
        """Wire names are in `css/messages` only."""
        self.assertEqual([], wire_names(self.css))


class PlantedTests(SynchronousTestCase):
    """The rules catch what they are there for, and nothing else."""

    def check(self, rule: Callable[[list[Source]], list[str]], bad: list[str], good: list[str]) -> None:
        """Each bad text gives one violation, each good one none."""
        self.assertTrue(bad and good, "a rule is shown by what it catches and by what it lets pass")
        for text in bad:
            self.assertEqual(1, len(rule([Source("css/handlers/a.py", text)])), text)
        for text in good:
            self.assertEqual([], rule([Source("css/handlers/a.py", text)]), text)

    def test_long_files(self) -> None:
        """One line too many is caught."""
        self.check(long_files, ["x = 1\n" * (MOST_LINES + 1)], ["x = 1\n" * MOST_LINES])

    def test_long_functions(self) -> None:
        """One line too many is caught, also of a method and of a function in a function."""
        for head in (
            "def f():\n",
            "class C:\n    async def f(self):\n",
            "class C:\n    def f(self):\n        def g():\n",
        ):
            depth = " " * 4 * head.count("\n")
            body, room = f"{depth}x = 1\n", MOST_FUNCTION_LINES - head.count("def")
            self.check(
                long_functions, [head + body * (MOST_FUNCTION_LINES + 1 - head.count("def"))], [head + body * room]
            )

    def test_async_starts(self) -> None:
        """An async start is caught, an async stop (which Twisted awaits) is fine."""
        self.check(
            async_starts,
            [
                "class S(Service):\n    async def startService(self): ...",
                "class S(Service):\n    async def privilegedStartService(self): ...",
            ],
            ["class S(Service):\n    def startService(self): ...", "class S:\n    async def stopService(self): ..."],
        )

    def test_async_tests(self) -> None:
        """Caught in the class, through a base of ours, and through a mixin; fine in Twisted's TestCase."""
        test = "    async def test_it(self): ...\n"
        self.check(
            async_tests,
            [
                f"class A(SynchronousTestCase):\n{test}",
                f"class A(unittest.SynchronousTestCase):\n{test}",
                f"class Base(SynchronousTestCase): ...\nclass A(Base):\n{test}",
                f"class Mixin:\n{test}class A(Mixin, SynchronousTestCase): ...",
            ],
            [
                f"class A(TestCase):\n{test}",
                "class A(SynchronousTestCase):\n    def test_it(self): ...\n    async def helper(self): ...",
                f"class Mixin:\n{test}class A(Mixin, TestCase): ...",
            ],
        )

    def test_async_tests_of_another_file(self) -> None:
        """A contract in another file is seen too."""
        contract = Source("tests/contracts/a.py", "class Contract:\n    async def test_it(self): ...")
        says = ["tests/contracts/a.py:2: test_it would pass without running in tests.test_a.A"]
        for text in [
            "from tests.contracts.a import Contract\nclass A(Contract, SynchronousTestCase): ...",
            "from tests.contracts import a as c\nclass A(c.Contract, SynchronousTestCase): ...",
            "import tests.contracts.a\nclass A(tests.contracts.a.Contract, SynchronousTestCase): ...",
        ]:
            self.assertEqual(says, async_tests([contract, Source("tests/test_a.py", text)]), text)

    def test_async_tests_of_a_namesake(self) -> None:
        """A class of the same name in another file is another class."""
        texts = ["class Case(SynchronousTestCase): ...", "class Case(TestCase):\n    async def test_it(self): ..."]
        self.assertEqual([], async_tests([Source(f"tests/test_{n}.py", text) for n, text in enumerate(texts)]))

    def test_inline_callbacks(self) -> None:
        """Imported or reached by attribute."""
        self.check(
            inline_callbacks,
            [
                "from twisted.internet.defer import inlineCallbacks",
                "@defer.inlineCallbacks\ndef f(): ...",
            ],
            ["from twisted.internet.defer import Deferred", '"""Not inlineCallbacks."""'],
        )

    def test_formatted_logs(self) -> None:
        """Each way to finish the text before is caught; fields are not."""
        self.check(
            formatted_logs,
            [
                'log.info(f"{e164} created")',
                'self._log.warn("{} created".format(e164))',
                'self.log.error("%s created" % e164)',
                '_log.failure("created " + e164)',
            ],
            ['self._log.info("{e164} created", e164=f"0{n}")', 'print(f"{e164} created")', 'self.math.log(f"{x}")'],
        )

    def test_wire_names(self) -> None:
        """Types, queues, exchanges and keys are caught; other words, and texts about them, are not."""
        self.check(
            wire_names,
            [
                'x = "CM_MAU_CREATECONF_REQ"',
                'x = "GET_RES_NACK"',
                'x = "MAU.PARK.Q"',
                'x = "mau.cmcmu.ex"',
                'x = "cm.cmmcu.key"',
                'x = f"cmu.conf.q:{ip}"',
                'x = f"MAU.RPCPLATINFO.Q:{instance}"',
            ],
            [
                'x = "NO_RESOURCE"',
                'x = "RMS_NACK"',
                'x = "x-css-epoch"',
                'x = "css.tap"',
                'def f():\n    """After GET_RES_ACK, see MAU.PARK.Q."""',
            ],
        )

    def test_wire_names_at_home(self) -> None:
        """In the catalogue both are at home, in the address book only addresses are."""
        kind, address = 'x = "CM_MAU_CREATECONF_REQ"', 'x = "MAU.CM.Q"'
        for path, text, expected in [
            ("css/messages/create.py", kind, 0),
            ("css/messages/create.py", address, 0),
            ("css/peers/cm.py", kind, 0),
            (ADDRESS_BOOK, address, 0),
            (ADDRESS_BOOK, kind, 1),
        ]:
            self.assertEqual(expected, len(wire_names([Source(path, text)])), f"{path} {text}")
