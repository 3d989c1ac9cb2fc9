"""`python -m css`: the operator's commands, as `cssctl`."""

from __future__ import annotations

import sys

from css.ctl.program import main

if __name__ == "__main__":
    main(sys.argv[1:])
