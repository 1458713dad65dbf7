# make run    serve the console on PORT (8501 by default)
# make test   the tests, browser tests included, without the slow ones
# make test-faults   the slow ones: every service broken in every way, and what becomes of tickets; takes minutes
# make setup  the environment alone
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
STAMP := $(VENV)/.installed

.PHONY: audit setup run test test-parts test-integration test-hostile test-browser test-faults test-fast bench demo

$(STAMP): requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	touch $(STAMP)

setup: $(STAMP)

run: setup
	@exec $(BIN)/python -m engine serve

demo: setup
	$(BIN)/python -m engine demo

# Two halves at a time, each with servers of its own: one waits while the other computes. All run, whichever fails; the quick ones first.
test: setup
	@./.ci/browser
	@./.ci/services
	@$(MAKE) --no-print-directory -k -j2 $(QUICK); quick=$$?; $(MAKE) --no-print-directory -k -j2 $(BROWSER) && exit $$quick

# What a half is made of. `tests/unit/test_halves.py` holds that every test is in one of them, and in one alone.
QUICK := test-parts test-integration
BROWSER := test-hostile test-browser
test-parts: HALF := tests/unit tests/pages tests/contract tests/faults tests/integration/test_commands.py
test-integration: HALF := tests/integration --ignore-glob=*/test_commands.py
test-hostile: HALF := tests/browser/test_hostile_fields.py tests/browser/test_hostile_text.py
test-browser: HALF := tests/browser --ignore-glob=*/test_hostile_*.py
SEARCH := tests/test_log_of_the_run.py
$(QUICK) $(BROWSER):
	@set -o pipefail; $(BIN)/python -m pytest -m "not slow" $(HALF) $(SEARCH) 2>&1 | sed -u -E '/^(=|FAILED|ERROR)/! s/^/$@: /'

test-faults: setup
	@./.ci/services
	$(BIN)/python -m pytest -m slow

test-fast: setup
	$(BIN)/python -m pytest -m "not browser and not slow"

bench: setup
	mkdir -p out
	$(BIN)/python -m benchmarks.routing --json out/routing.json
	$(BIN)/python -m benchmarks.telemetry --json out/telemetry.json

# Known weaknesses of everything that is installed, transitive packages too; asks pypi.org, so it is no part of `make test`.
audit: setup
	test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/pip install --quiet pip-audit==2.10.0; }
	mkdir -p out
	$(BIN)/pip freeze --exclude-editable > out/installed.txt
	$(VENV)/audit/bin/pip-audit --requirement out/installed.txt --no-deps --disable-pip --strict
