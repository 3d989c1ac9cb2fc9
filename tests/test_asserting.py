"""Each test runs and demands something: one that can't fail is noticed when it is written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.asserting import PREPARES, WAITS, Project
from tests.sources import Source, sources


class AssertingTests(SynchronousTestCase):
    """The project's tests."""

    def test_each_demands_something(self) -> None:
        """No test passes whatever happens, or never runs; what has a rule of its own is there."""
        project = Project(sources("tests"))
        self.assertEqual(project.silent(), [])
        self.assertEqual(project.never_run(), [])
        self.assertEqual(sorted({*WAITS, *PREPARES} - project.functions.keys()), [])
        self.assertGreater(len(project.functions), 2_000)


OTHER_FILE = """
def wait(case): ...
def scene(case): case.begin(); self.assertTrue(case)
def helper(case): self.fail("x")
def vague(case): print(case)
class Base(SynchronousTestCase):
    def demand(self): self.through()
    def through(self):
        for each in (1, 2): self.assertTrue(each)
    def itself(self): self.itself()
"""
HEAD = """
from tests.a import helper, vague, scene, Base as Case
from tests import a
class T(Case):
    def test_it(self):
"""
SILENT = (
    "work()",
    "self.successful = work()",
    "assert work()",
    "if work(): self.assertTrue(1)",
    "for each in work(): self.assertTrue(each)",
    "for each in sorted(work()): self.assertTrue(each)",
    "for each in (): self.assertTrue(each)",
    "while work(): self.assertTrue(1)",
    "[self.assertTrue(each) for each in work()]",
    "try:\n  work()\nexcept ValueError:\n  self.fail('x')",
    "def never(): self.assertTrue(1)",
    "self.itself()",
    "self.unknown()",
    "vague(self)",
    "scene(self)",
    "other.assertTrue(1)",
)
DEMANDING = (
    "self.assertTrue(work())",
    "with self.assertRaises(ValueError): work()",
    "self.failureResultOf(work())",
    "raise self.failureException('x')",
    "for each in (1, 2): self.assertTrue(each)",
    "for each, other in zip(CASES, [1]): self.assertTrue(each)",
    "for each in State: self.assertTrue(each)",
    "cases = {1: 2}\nfor each in cases.items(): self.assertTrue(each)",
    "cases = [n + 1 for n in (1, 2)]\nfor each in cases: self.assertTrue(each)",
    "def check(): self.assertTrue(1)\nwork(check)",
    "self.demand()",
    "helper(self)",
    "a.helper(self)",
    "a.wait(self)",
)


class PlantedTests(SynchronousTestCase):
    """The rule catches what it is there for, and nothing else."""

    def found(self, text: str) -> list[str]:
        """What it says of a test with this body, whose class has a base in another file."""
        body = "".join(f"        {line}\n" for line in text.splitlines())
        every = [Source("tests/a.py", OTHER_FILE), Source("tests/b.py", HEAD + body)]
        return Project(every, waits=["tests.a.wait"], prepares=["tests.a.scene"]).silent()

    def test_silent(self) -> None:
        """No assertion, or one that may be passed over."""
        for text in SILENT:
            self.assertEqual(len(self.found(text)), 1, text)

    def test_demanding(self) -> None:
        """An assertion, by whatever way."""
        for text in DEMANDING:
            self.assertEqual(self.found(text), [], text)

    def test_never_run(self) -> None:
        """A mixin that nobody uses, and a case in a file that is not looked into; by whatever way, the others do."""
        test, mixin = "\n    def test_it(self): ...\n", "from tests.a import Mixin\n"
        for path, text, count in (
            ("tests/test_b.py", "class T(TestCase):" + test, 0),
            ("tests/b.py", "class T(TestCase):" + test, 1),
            ("tests/test_b.py", "class T(Mixin):" + test, 1),
            ("tests/test_b.py", mixin + "class T(Mixin, unittest.TestCase): ...", 0),
            ("tests/test_b.py", mixin + "class Case(TestCase): ...\nclass T(Mixin, Case): ...", 0),
            ("tests/b.py", mixin + "class T(Mixin, TestCase): ...", 1),
        ):
            every = [Source("tests/a.py", "class Mixin:" + test)] if text.startswith(mixin) else []
            self.assertEqual(len(Project([*every, Source(path, text)]).never_run()), count, f"{path}: {text}")
