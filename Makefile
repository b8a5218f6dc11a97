# TTG. `make` alone prints help. Everything runs in .venv, which the first target that needs it makes.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON    ?= python3
BACKEND   ?= redis
SCALE     ?= medium
SCHEDULES ?= 100
SEED      ?= 0
PAGE      ?=
ROUNDS    ?=
FAULT     ?= worker
CLUSTER   ?= ttg
RELEASE   ?= ttg
NAMESPACE ?=
BIN       := .venv/bin
# A folder whose `up` brings docker, kind, kubectl and helm, for machines that have it.
LAB       ?= ../shared/lab
export CLUSTER LAB

# BACKEND has a default for the commands that need one; here, only one that somebody gave counts.
only := $(if $(filter-out file undefined,$(origin BACKEND)),--backend $(BACKEND))
reach = $(BIN)/python -m scripts.reach --release '$(RELEASE)' --namespace '$(NAMESPACE)'

help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

faults: .venv/installed ## Random schedules of faults, judged from outside (SCHEDULES=100 SEED=0 BACKEND= PAGE=)
	@$(BIN)/python -m tests.faults --schedules $(SCHEDULES) --seed $(SEED) $(only) $(if $(PAGE),--page)

bench: .venv/installed ## Broker cost per chunk, against a bare loop of client calls in the same run
	@$(BIN)/python -m scripts.bench

chart: .venv/installed ## Check the chart: lint, unit tests (helm-unittest), README and schema against the values
	@for broker in redis rabbitmq; do helm lint --quiet --strict charts/ttg -f values-$$broker.yaml; done
	@helm unittest --help >/dev/null 2>&1 || { echo "helm-unittest is missing: https://github.com/helm-unittest/helm-unittest"; exit 1; }
	@helm unittest charts/ttg
	@$(BIN)/python -m scripts.chart_docs --check

e2e: .venv/installed cluster chart image ## Test the chart in the cluster, on both brokers: run, kill, upgrade, roll back, uninstall
	@E2E=1 $(BIN)/python -m pytest tests/e2e -m e2e

##@ On a cluster
cluster: ## A Kind cluster of four nodes, unless it is there (CLUSTER=ttg)
	@scripts/cluster-up

image: ## Build ttg-worker:dev and load it into the cluster, with the brokers' images that are here
	@scripts/image-up

watch: .venv/installed ## Follow a release's run in the terminal (RELEASE=ttg NAMESPACE=)
	@$(reach) watch

ui: .venv/installed ## RabbitMQ's management page on this machine, and its login
	@$(reach) ui

results: .venv/installed ## results.csv, report.json, ledger.sqlite and the picture of a grid into ./results
	@$(reach) results

demo-fault: .venv/installed ## Install, kill at 30 %, count (BACKEND=, SCALE=small|medium|large, FAULT=worker|node|broker|ledger|none)
	@scripts/demo --cluster $(CLUSTER) --backend $(BACKEND) --scale $(SCALE) --fault $(FAULT)

demo-matrix: .venv/installed ## Each broker with each fault, as a table (SCALE=)
	@scripts/demo --cluster $(CLUSTER) --scale $(SCALE) --matrix

faults-cluster: .venv/installed cluster image ## Faults of pods and nodes, judged from outside (BACKEND= FAULT= ROUNDS= PAGE=)
	@$(BIN)/python -m tests.faults.cluster $(only) $(if $(filter-out file undefined,$(origin FAULT)),--fault $(FAULT)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(PAGE),--page)

clean: ## Remove the cluster, and the images that bear this project's label
	@scripts/cluster-down

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

.PHONY: help demo test lint faults bench cluster image watch ui results demo-fault demo-matrix faults-cluster clean lock chart e2e
