"""The project's own source files, parsed, for the tests that hold them to the rules of the architecture."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: str
    """Relative to the project's root, e.g. `css/ports/store.py`."""
    text: str

    @property
    def module(self) -> str:
        """Its dotted name; a package's is that of its folder."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The dotted name of the package that its relative imports start from."""
        return self.module if self.path.endswith("/__init__.py") else self.module.rpartition(".")[0]

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, self.path)

    @functools.cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of its syntax tree: many rules go through them."""
        return tuple(ast.walk(self.tree))

    @functools.cached_property
    def imports(self) -> dict[str, str]:
        """Name in the module -> dotted name of what it was imported from; relative imports resolved."""
        names: dict[str, str] = {}
        for node in _statements(self.tree.body):
            if isinstance(node, ast.Import):
                names.update(
                    (each.asname or _top(each.name), each.name if each.asname else _top(each.name))
                    for each in node.names
                )
            elif isinstance(node, ast.ImportFrom):
                base = imported_from(self, node)
                names.update((each.asname or each.name, f"{base}.{each.name}") for each in node.names)
        return names

    def at(self, node: ast.AST, says: str) -> str:
        """A violation, with its place."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {says}"


@functools.cache
def sources(*folders: str) -> list[Source]:
    """All Python files below these folders of the project. Read once; not to be changed."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of attributes; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def imported_from(source: Source, node: ast.ImportFrom) -> str:
    """The absolute dotted name after `from`."""
    if not node.level:
        return node.module or ""
    parents = source.package.split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements and those inside them: a small part of all nodes."""
    for statement in body:
        yield statement
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            for inner in getattr(statement, part, ()):
                if isinstance(inner, ast.stmt):
                    yield from _statements([inner])
                else:
                    yield from _statements(inner.body)


def _top(name: str) -> str:
    return name.partition(".")[0]
