#!/bin/sh
# Resolve pyproject.toml into requirements.lock (what the container image installs) and requirements-dev.lock (what
# `make setup` installs): one resolution for all platforms and Pythons, hashed, naming no package index.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "lock: expected uv on PATH: pip install uv" >&2; exit 1; }

resolve() {
    uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header "$@"
}

resolve --extra kube --extra sampling --extra pandas --extra dashboard --output-file requirements.lock
resolve --all-extras --group dev --constraint requirements.lock --output-file requirements-dev.lock
