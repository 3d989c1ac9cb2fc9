"""`python -m css.simulation`: see `css.simulation.program`."""

from __future__ import annotations

import sys

from twisted.logger import globalLogBeginner

from css.simulation.program import main

globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
sys.exit(main(sys.argv[1:]))
