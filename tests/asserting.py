"""Which tests demand something, and which run: for the test that notices one that can't fail when it is written.

Read from the syntax trees. An assertion counts only where it is certain to be reached: not in a branch, not in a loop
over what may be empty.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from tests.sources import Source, dotted

WAITS: Mapping[str, str] = {
    "tests.contracts.bus_case.until": "raises at its time-out",
    "tests.scenarios.ground.until": "raises at its time-out",
    "tests.scenarios.case.Scenario.eventually": "compares at its time-out",
    "tests.scenarios.test_forking.ForkedTests.wait_until": "asserts in each round that there is time left",
    "tests.adapters.redis.test_sentinel.SentinelTests.until_written": "asserts in each round that there is time left",
}
"""What waits until something is so and fails a test if it never is: its assertion is in a loop, yet it counts. Reasons.

A wait that only the test's own time-out ends is not among them: it says nothing of what did not come.
"""

PREPARES: Mapping[str, str] = {
    "tests.scenarios.case.Scenario.begin": "that a platform serves is where a scenario starts",
}
"""What fails unless the scene is set: no test is there to show that. Reasons."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
LEAVES = (ast.Name, ast.Constant, ast.alias, ast.expr_context, ast.operator, ast.ClassDef)
AS_MANY = frozenset({"enumerate", "list", "permutations", "product", "reversed", "sorted", "tuple", "zip"})
"""Functions that give something if each of their arguments does."""
VIEWS = frozenset({"items", "keys", "split", "splitlines", "values"})
"""Methods that give something where their object holds something."""


class Body:
    """What a function calls whenever it runs to its end."""

    def __init__(self, function: Function) -> None:
        self.calls: list[ast.expr] = []
        self._inner: dict[str, Function] = {}
        self._filled: set[str] = set()
        """Variables that are made a literal with something in it."""
        for statement in function.body:
            self._visit(statement)

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, FUNCTIONS):
            self._inner[node.name] = node
            return
        self._note(node)
        for name in () if isinstance(node, LEAVES) else node._fields:
            value = getattr(node, name)
            if isinstance(value, (ast.AST, list)) and not self._perhaps(node, name):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self._visit(child)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call):
            self.calls.append(node.func)
        elif isinstance(node, ast.Name) and node.id in self._inner:
            # What is defined inside and named is taken to be called.
            for statement in self._inner.pop(node.id).body:
                self._visit(statement)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and self._is_filled(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            self._filled.update(filter(None, map(dotted, targets)))

    def _perhaps(self, node: ast.AST, name: str) -> bool:
        """Whether this part of a node may be passed over."""
        if isinstance(node, (ast.For, ast.AsyncFor)):
            return name == "body" and not self._has_items(node.iter)
        if isinstance(node, COMPREHENSIONS):
            return name != "generators" and not all(self._has_items(each.iter) for each in node.generators)
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            return name != "test"
        return isinstance(node, ast.Try) and name == "handlers"

    def _is_filled(self, node: ast.expr | None) -> bool:
        """Whether it is a literal that holds something, if only what a loop over another one gives."""
        if isinstance(node, ast.ListComp):
            return all(self._is_filled(each.iter) and not each.ifs for each in node.generators)
        if isinstance(node, ast.Dict):
            return bool(node.keys)
        return isinstance(node, (ast.Tuple, ast.List, ast.Set)) and bool(node.elts)

    def _has_items(self, node: ast.expr) -> bool:
        """Whether it is plain to see that a loop over this has a round: a literal, or a constant by its name."""
        if isinstance(node, ast.Constant):
            return bool(node.value)
        if isinstance(node, ast.Call):
            of = node.func
            if isinstance(of, ast.Attribute) and of.attr in VIEWS:
                return self._has_items(of.value)
            return called(of) == "range" or (called(of) in AS_MANY and all(self._has_items(each) for each in node.args))
        name = called(node)
        return name in self._filled or name.lstrip("_")[:1].isupper() or self._is_filled(node)


class Project:
    """Classes and functions of all sources, and which of them demand something."""

    def __init__(
        self,
        every: list[Source],
        waits: Collection[str] = frozenset(WAITS),
        prepares: Collection[str] = frozenset(PREPARES),
    ) -> None:
        self.classes: dict[str, tuple[Source, ast.ClassDef]] = {}
        self.functions: dict[str, tuple[Source, Function]] = {}
        """Methods too; by dotted names."""
        self._imported = {source.module: source.imports for source in every}
        self._settled = {**dict.fromkeys(waits, True), **dict.fromkeys(prepares, False)}
        self._asserting: dict[tuple[str, str], bool] = {}
        for source in every:
            for node in source.tree.body:
                self._add(source, source.module, node)

    def _add(self, source: Source, place: str, node: ast.stmt) -> None:
        if isinstance(node, FUNCTIONS):
            self.functions[f"{place}.{node.name}"] = (source, node)
        elif isinstance(node, ast.ClassDef):
            self.classes[f"{place}.{node.name}"] = (source, node)
            for each in node.body:
                self._add(source, f"{place}.{node.name}", each)

    def silent(self) -> list[str]:
        """The tests that demand nothing."""
        return [
            source.at(test, f"{test.name} demands nothing, or only in a branch or a loop that may be passed over")
            for owner, (source, node) in self.classes.items()
            for test in node.body
            if isinstance(test, FUNCTIONS)
            and test.name.startswith("test")
            and not self.asserts(f"{owner}.{test.name}", owner)
        ]

    def never_run(self) -> list[str]:
        """The tests of classes that are no TestCase, and that no TestCase in a file of tests inherits from."""
        run: set[str] = set()
        for name, (source, _) in self.classes.items():
            ancestry = set(self._ancestry(name))
            if source.path.rpartition("/")[2].startswith("test_") and any(
                each.endswith("TestCase") for each in ancestry
            ):
                run |= ancestry
        return [
            source.at(node, f"{node.name} never runs")
            for name, (source, node) in self.functions.items()
            if node.name.startswith("test") and name.rpartition(".")[0] in self.classes.keys() - run
        ]

    def asserts(self, function: str, owner: str) -> bool:
        """Whether a function is certain to demand something, called on a `self` of a class."""
        if function in self._settled:
            return self._settled[function]
        if (function, owner) not in self._asserting:
            self._asserting[function, owner] = False  # while it is looked at: what calls itself adds nothing
            source, node = self.functions[function]
            self._asserting[function, owner] = any(
                self._is_assertion(call) or any(self.asserts(*one) for one in self._meant(source, owner, call))
                for call in Body(node).calls
            )
        return self._asserting[function, owner]

    @staticmethod
    def _is_assertion(call: ast.expr) -> bool:
        base, _, name = dotted(call).rpartition(".")
        return base == "self" and name.startswith(("assert", "fail"))

    def _meant(self, source: Source, owner: str, call: ast.expr) -> Iterator[tuple[str, str]]:
        """The function of ours that is called, if it is one, and the class of its `self`."""
        base, _, name = dotted(call).rpartition(".")
        if base == "self":
            found = [f"{each}.{name}" for each in self._ancestry(owner) if f"{each}.{name}" in self.functions]
            yield from ((each, owner) for each in found[:1])
        elif (function := self._named(source, dotted(call))) in self.functions:
            yield function, ""

    def _ancestry(self, name: str) -> Iterator[str]:
        """A class and its ancestors, as far as ours go."""
        yield name
        if name in self.classes:
            source, node = self.classes[name]
            for base in node.bases:
                yield from self._ancestry(self._named(source, dotted(base)))

    def _named(self, source: Source, name: str) -> str:
        """The dotted name of what a name in a module stands for, also where it was imported to be passed on."""
        first, _, rest = name.partition(".")
        full = self._imported[source.module].get(first, f"{source.module}.{first}") + (f".{rest}" if rest else "")
        module, _, last = full.rpartition(".")
        passed_on = self._imported.get(module, {}).get(last, "")
        return passed_on if passed_on and full not in self.functions and full not in self.classes else full


def called(name: ast.expr) -> str:
    """The last part of a dotted name."""
    return dotted(name).rpartition(".")[2]
