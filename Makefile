# Everything is set up by the first target that needs it; nothing but Python 3.11+, make and git is asked for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .build/uv/bin/uv
STEP := sh infra/step.sh

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test test-deps lint format lock train-tiny judge-tiny clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | sort | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

setup: .build/ready ## environment, Kafka's jars, MinIO's binary; done once

$(UV):
	@$(STEP) "small environment for uv" $(PYTHON) -m venv .build/uv
	@$(STEP) "uv" .build/uv/bin/pip install --quiet --disable-pip-version-check uv

# MinIO may have to be built from source (minutes): it builds while the rest installs.
.build/ready: requirements.lock pyproject.toml | $(UV)
	@$(PYTHON) -m infra.local.minio_binary > .build/minio.log 2>&1 & echo $$! > .build/minio.pid
	@test -x $(BIN)/python || $(STEP) "virtual environment" $(UV) venv --quiet --python $(PYTHON) $(VENV)
# Compiled now: where Python may not write bytecode, every process would compile torch and diffusers anew.
	@$(STEP) "Python packages" $(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock --python $(VENV)
	@$(STEP) "this project" $(UV) pip install --quiet --no-deps --python $(VENV) --editable .
	@$(STEP) "Kafka's jars" $(BIN)/python -m infra.local.kafka
	@$(STEP) "MinIO's binary (built in the background)" $(BIN)/python -m infra.local.minio_binary
	@touch $@

demo: setup ## prompts in, videos out: starts a line, runs it, stops it (or uses the one that is up here)
	@$(BIN)/python -m latentline demo

up: setup ## start a line on this machine; it stays
	@$(BIN)/python -m latentline up

down: setup ## stop it; its data stays
	@$(BIN)/python -m latentline down

test: setup ## all tests, on a real broker and store that they start themselves
	@$(BIN)/python -m pytest

test-deps: setup ## what tests need beyond make setup (nothing yet)
	@echo "nothing beyond make setup is needed"

lint: setup ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy schemas streams/coordinator infra/local tests/sim
	@$(BIN)/lint-imports

format: setup ## format and fix what can be fixed
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: $(UV) ## resolve the dependencies anew
	@$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --all-extras --upgrade pyproject.toml -o requirements.lock

train-tiny: setup ## train the tiny model again (about an hour on 2 cores)
	@OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=5000 $(BIN)/python -m gpu_runner.tiny.train --out bundles/tiny

judge-tiny: setup ## score the tiny model through the line's own stages
	@$(BIN)/python -m stages.evaluate --bundle bundles/tiny

clean: ## remove everything that can be made again
	@rm -rf $(VENV) .build out .mypy_cache .ruff_cache .pytest_cache .hypothesis
