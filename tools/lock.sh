#!/bin/bash
# Pins every Python dependency with its hashes: constraints.txt (running and developing) and requirements.txt (running).
# Run it with the oldest supported Python (3.11), so that the pins work for all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pip-tools

compile() {
    "$work/venv/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options "$@" pyproject.toml
}
compile --extra dev --output-file "$work/all"
compile --constraint "$work/all" --output-file "$work/running"

{ echo "# Made by tools/lock.sh from pyproject.toml: everything to run, test and develop Braid."; cat "$work/all"; } >constraints.txt
{ echo "# Made by tools/lock.sh from pyproject.toml: what a node needs."; cat "$work/running"; } >requirements.txt
