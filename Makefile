# Each target creates .venv on first use and reuses it. The only network use is pip.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test fuzz serve lint format bench soak setup
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BESIDE := $(VENV)/beside/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A session of tests starts hundreds of processes; without byte code on disk each compiles all of Assay again.
unexport PYTHONDONTWRITEBYTECODE
# The pins are tested on 3.11, so that comes first; PYTHON=/path/to/python3 chooses another.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
ARGS ?=

help: ## this list
	@sed -nE 's/^([a-z%-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(READY) ## create .venv with everything the other targets need

$(READY): pyproject.toml constraints.txt
	@if ! [ -x $(BIN)/python ] || ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  [ -n "$(PYTHON)" ] || { echo "no Python 3.11 or newer found as python3.11, python3, python3.12 or python3.13; install one or run: make PYTHON=/path/to/python3 ..." >&2; exit 1; }; \
	  echo "creating $(VENV) with $$("$(PYTHON)" --version)"; \
	  rm -rf $(VENV); \
	  "$(PYTHON)" -m venv $(VENV) || { echo "python cannot create a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi
# torch first and alone: whichever build (CPU, CUDA) satisfies the pin is then kept by everything that follows.
	@echo "installing the packages of constraints.txt; once, a few minutes"
	@$(PIP) install -qq --constraint constraints.txt "torch==2.13.*"
	@$(PIP) install -qq --constraint constraints.txt --editable ".[dev]"
	@touch $@

# Programs that tests run, which need other versions than Assay does.
$(BESIDE): tests/beside.txt | $(READY)
	@$(BIN)/python -m venv $(VENV)/beside
	@$(VENV)/beside/bin/python -m pip --disable-pip-version-check install -qq --no-deps --requirement tests/beside.txt
	@touch $@

demo: $(READY) ## the whole loop on generated traffic; ARGS="--train FILE --test FILE" for your own messages
	$(BIN)/assay demo $(ARGS)

test: $(READY) $(BESIDE) ## every test; ARGS="tests/core -k queue" for some
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

fuzz: $(READY) ## the parsers of request bodies, for a minute; ARGS="-max_total_time=3600" for longer
	@$(PIP) install -qq --constraint constraints.txt --editable ".[fuzz]"
	$(BIN)/python -m tests.fuzz.ingest -max_total_time=60 $(ARGS)

serve: $(READY) ## API, worker and scheduler on this machine; ARGS="--port 8200"
	$(BIN)/assay serve $(ARGS)

lint: $(READY) ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## rewrite the code the way `make lint` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(READY) ## the long forms: 200 cycles of kill -9 with one and with two processes, ten minutes of full load
	$(BIN)/python -m bench.crash --cycles 200
	$(BIN)/python -m bench.ingest --cases ndjson --seconds 600 --alone

bench: $(READY) ## every benchmark in bench/; `make bench-NAME` runs one, results in bench/results/NAME.jsonl
	@shopt -s nullglob; for file in bench/[a-z]*.py; do \
	  name=$$(basename "$$file" .py); echo "== $$name"; $(BIN)/python -m "bench.$$name" $(ARGS); done

bench-%: $(READY)
	$(BIN)/python -m bench.$* $(ARGS)
