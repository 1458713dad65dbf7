# make run    serve the console on PORT (8501 by default)
# make test   the tests, browser tests included, without the slow ones
# make test-faults   the slow ones: every service broken in every way, and what becomes of tickets; takes minutes
# make setup  the environment alone
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: audit setup run test test-faults test-fast bench demo

$(STAMP): requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	touch $(STAMP)

setup: $(STAMP)

run: setup
	@exec $(BIN)/python -m engine serve

demo: setup
	$(BIN)/python -m engine demo

test: setup
	@./.ci/browser
	@./.ci/services
	$(BIN)/python -m pytest -m "not slow"

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
