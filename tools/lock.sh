#!/usr/bin/env bash
# Writes requirements/*.txt from requirements/*.in. No address of a registry gets into them. Called by `make lock`;
# versions already pinned stay: pass --upgrade, or --upgrade-package NAME, to move them.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
.venv/bin/python -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install --quiet pip-tools
export CUSTOM_COMPILE_COMMAND="make lock"
cd requirements
compile() {
    "$tools/venv/bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe --annotation-style=line \
        --no-emit-find-links --no-emit-index-url --no-emit-trusted-host --no-emit-options "$@"
}
compile "$@" --output-file=dev.txt dev.in
compile --constraint=dev.txt --output-file=embedded.txt base.in embedded.in
compile --constraint=dev.txt --output-file=base.txt base.in
