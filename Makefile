# Every task of the project is a target here; `make` alone lists them.
# Needs only make and Python 3.11 or later. ARGS="..." is handed on to the command.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
HOST_PYTHON ?= $(shell for candidate in python3.11 python3; do \
	if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$candidate; break; fi; done)
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help setup demo demo-fleet simulate faults serve test test-deep mutants fuzz bench vectors conformance check format lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

setup: $(STAMP) ## Create .venv with the locked packages and Skerry itself

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(HOST_PYTHON)" || { echo "Python 3.11 or later is needed." >&2; exit 1; }
	test -x $(BIN)/python || $(HOST_PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --require-hashes -r requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Run the field survey demonstration
	$(BIN)/python examples/field_survey/demo.py $(ARGS)

demo-fleet: setup ## Run the field survey in two regions, cut the primary off and heal
	$(BIN)/python examples/field_survey/fleet_demo.py $(ARGS)

serve: setup ## Serve the field survey app
	$(BIN)/skerry serve examples/field_survey/app.py $(ARGS)

test: setup ## Run the tests, without the slow ones
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-deep: setup ## Run all tests, the slow ones too, with many more Hypothesis examples
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -n 2 $(ARGS)

mutants: setup ## Prove that the tests notice faults; ARGS="--module core/clock --sample 300 --again"
	$(BIN)/python -m tests.mutants $(ARGS)

simulate: setup ## Simulate whole fleets in virtual time: SEED=1 RUNS=100; the same seed, the same trace
	$(BIN)/python -m tests.simulation --seed $(or $(SEED),1) --runs $(or $(RUNS),1) $(ARGS)

faults: setup ## Break real fleets at random moments; RUNS=300 SEED=1 ARGS="--scenario NAME --jobs 2"
	$(BIN)/python -m tests.faults $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: setup ## Fuzz codecs and sessions with atheris; ARGS="--target NAME --seconds N"
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: setup ## Measure
	$(BIN)/python -m bench $(ARGS)

vectors: setup ## Write the conformance vectors again
	$(BIN)/python -m tests.vectors.generate $(ARGS)

conformance: setup ## Hold our own client and server against the protocol, as anybody's; ARGS="--only push/"
	$(BIN)/python -m tests.conformance_kit.doors $(ARGS)

check: setup ## Lint, format check, types, import contracts, tidiness
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tests.architecture.tidy

format: setup ## Format the code and apply the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Write requirements.lock again; ARGS=--upgrade takes newer versions
	env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras \
		--all-extras --all-build-deps --allow-unsafe \
		--output-file=requirements.lock $(ARGS) pyproject.toml

clean: ## Remove .venv, caches and build results
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
