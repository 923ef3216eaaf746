#!/usr/bin/env bash
# Remove what TTG left behind, and nothing else; every option goes to `ttg cleanup` (see --help).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
make --silent setup
exec .venv/bin/ttg cleanup "$@"
