# Everything a developer does, by name. `make` alone explains itself.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
STAMP := $(VENV)/.from-lock
CHECKED := src tests examples benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup test-tools demo test lint types bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with every package pinned and hashed (PYTHON=python3.12 chooses the interpreter)

$(STAMP): requirements/dev.lock pyproject.toml scripts/setup-venv.sh
	@PYTHON="$(PYTHON)" scripts/setup-venv.sh $(VENV)
	@touch $@

test-tools:
	@scripts/install-test-tools.sh

demo: setup ## run the main job on this machine, with no server installed: live progress, a table, its statistics
	$(BIN)/ttg demo

test: setup test-tools ## run every test (TTG_TEST_BROKERS=memory,valkey restricts brokers; ARGS=tests/unit selects; JOBS=4 at once)
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: setup ## check style and formatting
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: setup ## check types, strictly
	$(BIN)/mypy

bench: setup ## measure TTG beside its peers (ARGS=--quick for a short form); see benchmarks/README.md
	$(BIN)/python -m benchmarks $(ARGS)

lock: ## renew both lock files from pyproject.toml (needs uv)
	@scripts/renew-locks.sh

clean: ## remove the virtual environment and caches, nothing else
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
