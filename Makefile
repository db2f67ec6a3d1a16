# Everything a person types. `make` alone lists the targets.
PYTHON ?= python3
INPUT  ?= data/sample/reviews.parquet
OUTPUT ?= results
MODEL  ?=
ARGS   ?=
DEVICE ?= $(shell if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then echo gpu; else echo cpu; fi)
TESTS  ?= tests
LONG   := kill or cloud or package or browser or ray or remote
CHROMIUM ?=

VENV  := .venv
BIN   := $(VENV)/bin
LOCK  := requirements-$(DEVICE).lock
STAMP := $(VENV)/installed-$(DEVICE)
RUNPOD := $(VENV)/runpod-sdk

AIRFLOW      := .venv-airflow
AIRFLOW_LOCK := requirements-airflow.lock

.DEFAULT_GOAL := help
.PHONY: help setup model run bench test test-kill test-cloud test-package test-ray test-remote test-report test-airflow lint readme lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make run INPUT=reviews.parquet OUTPUT=results MODEL=NAME_OR_FOLDER ARGS="--limit 5"'
	@echo '  $(BIN)/python -m jobs expand-queries data/sample/queries.parquet --output expanded'
	@echo '  make setup DEVICE=cpu|gpu      (this machine: $(DEVICE))'

setup: $(STAMP) ## install what is needed into .venv

$(STAMP): $(LOCK) pyproject.toml .ci/install
	@PYTHON="$(PYTHON)" bash .ci/install $(DEVICE) $(LOCK) $(VENV)
	@rm -f $(VENV)/installed-* && touch $@

model: $(STAMP) ## prepare the embedded model (else the first run does)
	@$(BIN)/python -c 'from pipeline import machine, models; models.get(models.EMBEDDED, machine.MODEL_CACHE.expanduser())'

run: $(STAMP) ## analyse INPUT (the sample when none is given) into OUTPUT
	@$(BIN)/python -m jobs analyze $(INPUT) --device $(DEVICE) --output $(OUTPUT) $(if $(MODEL),--model $(MODEL)) $(ARGS)

test: $(STAMP) ## run the tests, those with the real model included
	@$(BIN)/python -m pytest -m "not ($(LONG))" $(TESTS)

test-kill: $(STAMP) ## run the long suites: kills at every step, hostile files, sequences of changes
	@$(BIN)/python -m pytest -m kill $(TESTS)

test-cloud: $(STAMP) ## results in an object store: an S3-compatible server on loopback that breaks off, refuses and sees its clients die
	@$(BIN)/python -m pytest -m cloud $(TESTS)

test-package: $(STAMP) ## build wheel and source distribution, install each into an empty environment; check the images
	@$(BIN)/python -m pytest -m package $(TESTS)

test-airflow: $(STAMP) $(AIRFLOW)/installed ## the DAGs of jobs/dags, run by Airflow in an environment of its own
	@$(AIRFLOW)/bin/python -m pytest --confcutdir tests/dags tests/dags

$(AIRFLOW)/installed: $(AIRFLOW_LOCK) .ci/install-airflow | $(STAMP)
	@bash .ci/install-airflow $(AIRFLOW_LOCK) $(AIRFLOW) $(BIN) && touch $@

test-ray: $(STAMP) ## run the tests on a Ray cluster of two nodes on this machine, with the real model, too
	@$(BIN)/python -m pytest -m ray $(TESTS)

test-remote: $(STAMP) $(RUNPOD)/installed ## run the tests with a real vLLM server and RunPod's SDK on this machine
	@RUNPOD_SDK=$(RUNPOD) $(BIN)/python -m pytest -m remote $(TESTS)

# RunPod's SDK and vLLM want different versions of fastapi: it stands in a folder of its own, and works with vLLM's.
$(RUNPOD)/installed: requirements-runpod.lock $(STAMP)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --upgrade --target $(RUNPOD) --requirement $<
	@touch $@

bench: $(STAMP) ## this job beside other ways to ask the same, on INPUT (made-up reviews when none is given)
	@$(BIN)/python -m jobs benchmark ways $(if $(filter file,$(origin INPUT)),,$(INPUT)) --device $(DEVICE) --output bench $(if $(MODEL),--model $(MODEL)) $(ARGS)

test-report: $(STAMP) ## look at the report in a headless browser (needs one: apt-get install chromium)
	@bash .ci/browser $(BIN) $(CHROMIUM)

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

readme: $(STAMP) ## write the generated parts of README.md anew
	@$(BIN)/python tests/readme.py README.md

lock: $(STAMP) ## resolve the exact versions of both devices anew
	@BIN=$(BIN) bash .ci/lock

clean: ## remove the environment, and caches (results and the prepared model stay)
	rm -rf $(VENV) $(AIRFLOW) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
