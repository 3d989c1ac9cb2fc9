"""The page that says where each section of the seed is: everything that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
SECTIONS = (
    "1.1 1.2 1.3 1.4 1.5 2.1 2.2 2.3.1 2.3.2 2.3.3 2.3.4 2.3.5 2.3.6 3.1 3.2 3.3 3.4 4.1 4.2 4.3 4.4 4.5 4.6"
    " 5.1 5.1.1 5.1.2 5.1.3 5.1.4 5.2 5.3 6 7.1 7.2 7.3 7.4 8 9.1 9.2 9.3 9.4 9.5 10 11 12"
)
"""Of the seed, in its order."""


DRAWN = "2.3.1 2.3.2 2.3.3 5.1 5.2 5.3 6 9.2 9.3 9.4 9.5"
"""Those with a drawing of what happens between platforms."""


def exists(test: str) -> bool:
    """Whether there is such a test module, or such a class or test in it."""
    for module, name in ((test, ""), (test.rpartition(".")[0], test.rpartition(".")[2])):
        path = ROOT / (module.replace(".", "/") + ".py")
        if path.is_file():
            return not name or bool(re.search(rf"^ *(async )?(class|def) {name}\b", path.read_text(), re.MULTILINE))
    return False


class Page(SynchronousTestCase):
    """docs/seed-coverage.md."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "seed-coverage.md").read_text()

    def test_every_section(self) -> None:
        """In order, none left out, each with a place and a test."""
        rows = [line.split("|")[1:-1] for line in self.text.splitlines() if re.match(r"\| \d", line)]
        self.assertEqual(" ".join(row[0].split()[0] for row in rows), SECTIONS)
        self.assertEqual([row[0] for row in rows if "`css/" not in row[1] or "`tests." not in row[2]], [])

    def test_everything_is_there(self) -> None:
        """Modules and tests."""
        missing = [path for path in re.findall(r"`(css/[^`]+)`", self.text) if not (ROOT / path).is_file()]
        missing += [test for test in re.findall(r"`(tests\.[^`]+)`", self.text) if not exists(test)]
        self.assertEqual(missing, [])

    def test_what_is_not_there_is_noticed(self) -> None:
        """A module, a class and a test that nobody wrote."""
        for test in ("tests.test_nothing", "tests.test_seed_coverage.Nothing", "tests.test_seed_coverage.test_nothing"):
            self.assertFalse(exists(test))


class Arrows(SynchronousTestCase):
    """docs/seed-arrows.md."""

    def test_every_drawing(self) -> None:
        """In the order of the seed, each arrow with a test that exists and is named after its section."""
        text = (ROOT / "docs" / "seed-arrows.md").read_text()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
        rows = [row for row in rows if row[0][0].isdigit()]
        self.assertEqual(" ".join(dict.fromkeys(row[0] for row in rows)), DRAWN)
        for section, arrow, test in rows:
            self.assertTrue(exists(test.strip("`")), test)
            name = test.strip("`").rpartition(".")[2]
            self.assertTrue(name.startswith(f"test_{section.replace('.', '_')}_"), (section, name))
            self.assertTrue(arrow)
