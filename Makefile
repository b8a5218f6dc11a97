# TTG. `make` alone prints help. Everything runs in .venv, which the first target that needs it makes.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON  ?= python3
BACKEND ?= redis
BIN     := .venv/bin

help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ On one machine
demo: .venv/installed ## Compute a fractal, kill a worker on the way, draw what the ledger has (BACKEND=redis|rabbitmq)
	@$(BIN)/python -m scripts.demo --backend $(BACKEND)

test: .venv/installed ## Lint, types and all tests; starts the brokers it needs by itself
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest

lint: .venv/installed ## Formatting, lint, strict types
	@$(BIN)/ruff format --check --quiet . || { echo "formatting differs: run '.venv/bin/ruff format .'"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

bench: .venv/installed ## Broker cost per chunk, against a bare loop of client calls in the same run
	@$(BIN)/python -m scripts.bench

##@ Upkeep
lock: ## Pin the dependencies again, with hashes
	@$(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install -q uv
	@.venv/lock/bin/uv pip compile -q --universal --generate-hashes --upgrade pyproject.toml -o requirements/image.txt
	@.venv/lock/bin/uv pip compile -q --universal --generate-hashes --upgrade --extra dev pyproject.toml -o requirements/dev.txt

.venv/installed: requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON): install Python 3.11 or newer, or name it with PYTHON="; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: TTG needs 3.11 or newer; name one with PYTHON="; exit 1; }
	@echo "installing into .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: help demo test lint bench lock
