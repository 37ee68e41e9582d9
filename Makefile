# One word per chore. Needs git, make and a Python from 3.11 on; the rest is installed into .venv
# from requirements/dev.txt, every file checked against its hash.
#
#   make replay                  from a fresh clone to a finished replay of the bundled capture
#   make test ARGS="-k queue"    ARGS is handed on to the tool behind the chore
#   make setup PYTHON=python3.13

PYTHON ?= python3
ARGS ?=

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.txt

# The stamp is named after what was installed, so `setup` works once per lock and not once per
# checkout, whatever the file times say.
STAMP := $(VENV)/.setup-$(shell cat $(LOCK) pyproject.toml | cksum | cut -d ' ' -f 1)
USABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2])

.DEFAULT_GOAL := help
.PHONY: help setup replay warm test test-long fuzz check format bench lock data docs clean

help:  ## list these chores
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## make .venv and install what the lock names

replay: setup  ## replay the bundled capture and print its digest
	$(BIN)/kapitaalbot run replay configs/sample.toml

warm: setup  ## compile the kernels into their cache, so that nothing waits later
	$(BIN)/kapitaalbot config warm

# Workers take whole files, and find the kernels compiled: two that compile the same ones at the
# same time would only wait twice.
test: warm  ## run the tests, except the long ones
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long" $(ARGS)

test-long: warm  ## run the long tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long $(ARGS)

fuzz: warm  ## damage frames of the venue for a minute; ARGS="--seed 7 --seconds 600"
	$(BIN)/python -m tests.wire.fuzz $(ARGS)

check: setup  ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_architecture.py

format: setup  ## format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: warm  ## measure speed, beside hftbacktest on the same events
	$(BIN)/python -m tests.bench $(ARGS)

# dev.txt first: the others are held to its versions, so what users install is what was tested.
COMPILE = $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" $(ARGS) pyproject.toml

lock: setup  ## write requirements/ again; pins that still fit stay, ARGS=--upgrade renews them
	$(COMPILE) --extra dev --overrides requirements/overrides.txt -o requirements/dev.txt
	$(COMPILE) --constraints requirements/dev.txt -o requirements/base.txt
	$(COMPILE) --constraints requirements/dev.txt --extra analysis -o requirements/analysis.txt
	$(COMPILE) --constraints requirements/dev.txt --extra notebook -o requirements/notebook.txt
	$(COMPILE) --constraints requirements/dev.txt --extra live --extra postgres -o requirements/live.txt
	@if grep -nE '://|^-|file:' requirements/base.txt requirements/analysis.txt \
		requirements/notebook.txt requirements/live.txt requirements/dev.txt; then \
		echo 'make lock: an address or option of this machine got into a lock, see above.' >&2; \
		exit 1; \
	fi

data: setup  ## make the bundled capture again
	$(BIN)/kapitaalbot data generate --bundled

docs: setup  ## write the generated pages of docs/ again
	$(BIN)/python -m adapters.cli.reference

clean:  ## remove caches and builds; .venv, runs and captures stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# pip resolves nothing here: the lock is complete (--no-deps) and wheels need no build
# (--only-binary), so no file arrives that has no hash in the lock.
$(STAMP): | $(BIN)/python
	@echo 'setup: installing $(LOCK) into $(VENV), once per lock; about 280 MB the first time'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input \
		--no-deps --only-binary :all: --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input \
		--no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.setup-*
	@touch $@

# PYTHON as given by hand is taken or refused; the default looks further. A Debian python3 may
# lack ensurepip: then virtualenv or uv make the environment, if one of them is there.
$(BIN)/python:
	@set -eu; \
	candidates='$(PYTHON)'; \
	case '$(origin PYTHON)' in \
	file) candidates='$(PYTHON) python3.14 python3.13 python3.12 python3.11' ;; \
	esac; \
	python=''; \
	for name in $$candidates; do \
		if "$$name" -c '$(USABLE)' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "setup: none of these is a Python from 3.11 on: $$candidates." \
			'Install one, or name it: make PYTHON=/path/to/python3.' >&2; \
		exit 1; \
	fi; \
	echo "setup: making $(VENV) with $$("$$python" -c 'import sys; print(sys.executable)')"; \
	if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		"$$python" -m venv $(VENV); \
	elif command -v virtualenv >/dev/null; then \
		virtualenv --quiet --python "$$python" $(VENV); \
	elif command -v uv >/dev/null; then \
		uv venv --quiet --seed --python "$$python" $(VENV); \
	else \
		echo "setup: $$python cannot make virtual environments (no ensurepip)." \
			'On Debian and Ubuntu: sudo apt install python3-venv; then run make again.' >&2; \
		exit 1; \
	fi
