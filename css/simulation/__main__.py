"""`python -m css.simulation`: see `css.simulation.program`."""

from __future__ import annotations

import sys

from css.simulation.program import main

sys.exit(main(sys.argv[1:]))
