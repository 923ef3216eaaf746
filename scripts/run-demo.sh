#!/usr/bin/env bash
# The demonstration in one command; every option goes to `ttg demo` (see `scripts/run-demo.sh --help`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
make --silent setup
exec .venv/bin/ttg demo "$@"
