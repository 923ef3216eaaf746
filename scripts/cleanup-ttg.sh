#!/usr/bin/env bash
# Remove what TTG left in brokers and clusters, and nothing else; tables go by name, or by --runs, only.
# Every option goes to `ttg cleanup` (see --help).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
make --silent setup
exec .venv/bin/ttg cleanup "$@"
