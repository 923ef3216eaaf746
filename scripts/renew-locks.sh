#!/bin/sh
# Resolve pyproject.toml into requirements/: runtime.lock (what the container image runs), build.lock (what builds TTG
# itself) and dev.lock (what `make setup` installs). One resolution for all platforms and Pythons, hashed, naming no index.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "lock: expected uv on PATH: pip install uv" >&2; exit 1; }

resolve() {
    lock=requirements/$1
    shift
    uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header --output-file "$lock" "$@"
}

resolve dev.lock --all-extras --group dev
resolve runtime.lock --extra sampling --extra dashboard --extra telemetry --constraint requirements/dev.lock
uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --no-header --output-file requirements/build.lock --constraint requirements/dev.lock --group build
