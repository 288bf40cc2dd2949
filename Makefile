# Everything a person or CI runs. `make` lists the targets; the line after ## is the help.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Two workers: the suite starts processes of its own.
WORKERS ?= 2
MINUTES ?= 5
SEED ?=
PEERS ?=
ARGS ?=
IMAGE ?= penstock
# An image of uncommitted code belongs to no commit.
COMMIT ?= $(shell git diff --quiet HEAD 2>/dev/null && git rev-parse HEAD)

# The demo shows the project with nothing else installed, so it must not find a cluster or settings
# that this shell happens to point at.
ALONE := env $$(env | sed -nE 's/^((NOMAD|CONSUL|VAULT|PENSTOCK|AWS)_[A-Z0-9_]*)=.*/-u \1/p')

.PHONY: help install demo demo-cluster test check format servers dev bench campaign docs lock steps image clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## Make .venv from requirements.lock (hashes checked; instant the second time)
	@PYTHON="$(PYTHON)" scripts/install

demo: install ## A few weeks of flights: train, evaluate, publish, serve, change models under load
	@$(ALONE) PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo $(ARGS)

demo-cluster: install ## The same on a cluster of this machine: Nomad, Consul, Vault, S3 (after make servers)
	@$(ALONE) PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo-cluster $(ARGS)

test: check ## Lint, types, imports and every test in its short form; names what was skipped
	@$(PYTEST) -n $(WORKERS) -rs $(ARGS)

check: install ## Lint, format, types and import contracts, without the tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

servers: install ## Find or build the real servers of the integration tests (cached outside the checkout)
	@$(BIN)/python -m tests.servers

dev: servers ## A cluster on this machine: Nomad, Consul, Vault, S3, with the work registered; Ctrl-C ends it
	@$(ALONE) $(BIN)/python -m tests.servers.dev $(ARGS)

bench: install ## Measure ratios in one run; PEERS=folder adds the peers kept there
	@$(BIN)/python -m tests.benchmarks $(if $(PEERS),--peers "$(PEERS)") $(ARGS)

campaign: install ## Faults, soak and fuzz for MINUTES= under SEED= (drawn and printed if empty)
	@$(PYTEST) -m campaign -n 0 -rs --timeout=0 --minutes=$(MINUTES) $(if $(SEED),--seed=$(SEED)) $(ARGS)

docs: install ## Write the generated pages (docs/settings.md, docs/cli.md)
	@$(BIN)/python scripts/docs.py

lock: install ## Resolve requirements.lock again from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock $(ARGS)

steps: install ## Record the source digests of the steps whose version was raised
	@$(BIN)/python -m registry.steps $(ARGS)

image: ## Build the container image; IMAGE= names it
	docker build --build-arg COMMIT="$(COMMIT)" --tag "$(IMAGE)" .

clean: ## Remove .venv, caches and build outputs; var/ (your data) stays
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -f registry/models/forest/_native.so* serving/gateway/_plain.so*
	@find . -name __pycache__ -not -path './var/*' -prune -exec rm -rf {} +
