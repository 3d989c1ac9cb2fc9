"""What `cssctl` needs before it does anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import css

ROOT = Path(css.__file__).parent.parent
LOADED = "import sys, css.ctl.program, css.npp.service; print('sqlalchemy' in sys.modules, 'txredisapi' in sys.modules)"


class Start(SynchronousTestCase):
    """An operator waits for it at each call."""

    def test_no_sql(self) -> None:
        """Half of the time went into a library that neither it nor NPPCLIENT uses."""
        found = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, check=True, text=True)
        self.assertEqual(found.stdout.split(), ["False", "True"])
