"""What the demo checks before anything starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from css.demo.errors import DemoError
from css.demo.folder import Folder
from css.demo.program import seconds_of


class BeginningTests(SynchronousTestCase):
    """What is checked before anything starts."""

    def test_seconds(self) -> None:
        self.assertIsNone(seconds_of({}))
        self.assertIsNone(seconds_of({"DEMO_SECONDS": " "}))
        self.assertEqual(seconds_of({"DEMO_SECONDS": "2.5"}), 2.5)
        for text in ("x", "0", "-1", "nan", "inf"):
            self.assertRaises(DemoError, seconds_of, {"DEMO_SECONDS": text})

    def test_folder_that_is_none(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            error = self.assertRaises(DemoError, Folder, file.name)
            self.assertIn(f"{file.name} can't be written", str(error))

    def test_licence_key_stays(self) -> None:
        """One that changed would make licences of an earlier run worthless; nobody else may read it."""
        with tempfile.TemporaryDirectory() as path:
            folder = Folder(path)
            self.addCleanup(os.close, folder.lock)
            key = folder.licence_key()
            self.assertEqual(folder.licence_key(), key)
            self.assertEqual((Path(path) / "license.keys").stat().st_mode & 0o077, 0)
