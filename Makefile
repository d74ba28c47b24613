# Each target creates .venv on first use and reuses it. The only network use is pip.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help docs demo test test-all lowest newest-python senders fuzz serve lint format bench soak setup
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
# Of 40,000 modules Assay loads a tenth. Byte code for all of them took pip longer than the rest of its work; Python
# writes it for a module that is loaded, and the last line loads those of the service.
	@echo "installing the packages of constraints.txt; once, a few minutes"
	@$(PIP) install -qq --no-compile --constraint constraints.txt "torch==2.13.*"
	@$(PIP) install -qq --no-compile --constraint constraints.txt --editable ".[dev]"
	@$(BIN)/python -c "import api.app, api.processes.worker"
	@touch $@

# Programs that tests run, which need other versions than Assay does.
$(BESIDE): tests/beside.txt | $(READY)
	@$(BIN)/python -m venv --without-pip $(VENV)/beside
	@$(PIP) --python $(VENV)/beside/bin/python install -qq --no-compile --no-deps --requirement tests/beside.txt
	@touch $@

demo: $(READY) ## the whole loop on generated traffic; ARGS="--train FILE --test FILE" for your own messages
	$(BIN)/assay demo $(ARGS)

# One process more than cores: some tests wait for a process or a server.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
MARKED := not slow and not demo
test: $(READY) $(BESIDE) ## every test but the demo and the rest of the large matrices; ARGS="tests/core -k queue" for some
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "$(MARKED)" $(ARGS)

test-all: $(READY) $(BESIDE) ## every test, with three times the examples of hypothesis
	EXAMPLES=all $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# The lowest versions that pyproject.toml allows, but for torch and its family, whose ranges are narrow.
LOWEST := $(VENV)/lowest
APART := torch|triton|nvidia-.*|cuda-.*|transformers|peft|trl|bitsandbytes|accelerate|datasets|playwright
PART := tests/core tests/governance tests/migrations tests/monitor/events tests/monitor/kpi tests/monitor/drift \
	tests/monitor/fairness tests/monitor/ingest tests/monitor/lake tests/reports tests/server/test_ingest.py

$(LOWEST)/.ready: pyproject.toml | $(READY)
	@$(PIP) install -qq --constraint constraints.txt uv
	@$(BIN)/uv venv -q --clear --python $(BIN)/python $(LOWEST)
	@$(BIN)/uv pip compile -q --extra dev --resolution lowest-direct --no-header --no-annotate pyproject.toml \
	  --python $(LOWEST)/bin/python | grep -vE '^($(APART))==' > $(LOWEST)/requirements.txt
	@$(BIN)/uv pip install -q --no-deps --python $(LOWEST)/bin/python --requirement $(LOWEST)/requirements.txt
	@touch $@

lowest: $(LOWEST)/.ready ## part of the tests on the lowest versions that pyproject.toml allows; for once a week
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(PART) $(ARGS)

# The newest Python that runs here and that every dependency has a wheel for; NEWEST=/path/to/python3 chooses.
newest-python: $(READY) ## the suite on the newest Python of this machine that the dependencies allow; for once a week
	@$(PIP) install -qq --constraint constraints.txt uv
	@for python in $(or $(NEWEST),python3.15 python3.14 python3.13 python3.12); do \
	  version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	  $(BIN)/uv pip compile -q pyproject.toml --extra dev --constraint constraints.txt --python-version "$$version" \
	    --only-binary :all: --no-binary rouge-score >/dev/null 2>&1 || { echo "Python $$version: a dependency has no wheel for it"; continue; }; \
	  exec $(MAKE) test VENV=$(VENV)/python$$version PYTHON="$$python"; \
	done; echo "no Python newer than 3.11 was found that the dependencies allow; NEWEST=/path/to/python3 names one"

# The packages whose traces Assay reads, each group in an environment of its own.
SENDERS := $(patsubst tests/senders/environments/%.txt,$(VENV)/senders/%/.ready,$(wildcard tests/senders/environments/*.txt))
$(VENV)/senders/%/.ready: tests/senders/environments/%.txt | $(READY)
	@$(PIP) install -qq --constraint constraints.txt uv
	@$(BIN)/uv venv -q --clear --python $(BIN)/python $(VENV)/senders/$*
	@$(BIN)/uv pip install -q --no-deps --python $(VENV)/senders/$*/bin/python --requirement $<
	@touch $@

senders: $(SENDERS) ## packages that send traces, run for real against a local model; ARGS="--write litellm" records
	$(BIN)/python -m tests.senders.live $(ARGS)

# Schemathesis has an environment of its own: it tests the service from outside, and needs other versions than Assay does.
FUZZ := $(VENV)/fuzz
MINUTES ?= 30
PARTS ?= api rows otlp specs

$(FUZZ)/.ready: tests/fuzz/requirements.txt | $(READY)
	@$(BIN)/python -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip --disable-pip-version-check install -qq --requirement tests/fuzz/requirements.txt
	@touch $@

fuzz: $(READY) $(FUZZ)/.ready ## every route and every parser for 30 minutes each; MINUTES=2 PARTS="api specs" for less
	@$(PIP) install -qq --constraint constraints.txt --editable ".[fuzz]"
	@failed=0; for part in $(PARTS); do echo "== $$part, $(MINUTES) minutes"; case $$part in \
	  api) $(BIN)/python -m tests.fuzz.api --minutes $(MINUTES) --schemathesis $(abspath $(FUZZ))/bin/schemathesis;; \
	  *) $(BIN)/python -m tests.fuzz.$$part --minutes $(MINUTES);; \
	esac || failed=1; done; exit $$failed

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

docs: $(READY) ## write what is made from the code: docs/spec.md, the tables of docs/security.md
	$(BIN)/python -m api.spec_reference.page > docs/spec.md.new && mv docs/spec.md.new docs/spec.md
	$(BIN)/python -m api.route_table > docs/security.md.new && mv docs/security.md.new docs/security.md

soak: $(READY) ## the long forms: 200 cycles of kill -9 with one and with two processes, ten minutes of full load
	$(BIN)/python -m bench.crash --cycles 200
	$(BIN)/python -m bench.ingest --cases ndjson --seconds 600 --alone

bench: $(READY) ## every benchmark in bench/; `make bench-NAME` runs one, results in bench/results/NAME.jsonl
	@shopt -s nullglob; for file in bench/[a-z]*.py; do \
	  name=$$(basename "$$file" .py); echo "== $$name"; $(BIN)/python -m "bench.$$name" $(ARGS); done

bench-%: $(READY)
	$(BIN)/python -m bench.$* $(ARGS)
