#!/usr/bin/env bash
# Makes .venv with everything that CSS, its tests and its checks need. Called by `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH  # bash has a default, which the programs it calls don't know where the environment is empty
export PIP_DISABLE_PIP_VERSION_CHECK=1

# With words: the Debian packages that are missing. As root they are installed, otherwise the command is shown.
install_debian_packages() {
    local command="apt-get update && apt-get install -y --no-install-recommends $*"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing $*"
        DEBIAN_FRONTEND=noninteractive bash -c "$command"
    else
        echo "setup: this machine lacks $*. Install it as root, then try again:" >&2
        echo "    $command" >&2
        exit 1
    fi
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || install_debian_packages python3 python3-venv
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: CSS needs Python 3.11 or newer, $("$python" --version) was found; name another one by PYTHON=..." >&2
    exit 1
}
python=$(command -v "$python")
# Debian splits venv and ensurepip off: `python3 -m venv --help` works there, making one does not.
"$python" -c 'import venv, ensurepip' 2>/dev/null || install_debian_packages python3-venv

# A half-made environment, or one whose Python has gone, is made anew.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    "$python" -m venv .venv
fi
.venv/bin/python -m pip install --quiet --require-hashes -r requirements/dev.txt
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
test -x .venv/bin/twistd
echo "setup: .venv is ready"
