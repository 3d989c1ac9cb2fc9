"""`python -m css.demo`, which `make run` calls."""

import signal
import sys

if __name__ == "__main__":
    # Until the demo has begun, Ctrl-C just ends it: an interrupted import would show a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from css.demo.program import main

    sys.exit(main(sys.argv[1:]))
