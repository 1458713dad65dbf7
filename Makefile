# make run    serve the console on PORT (8501 by default)
# make test   the whole test suite, browser tests included
# make setup  the environment alone
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup run test test-fast test-browser bench demo clean-data

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
	$(BIN)/python -m pytest

test-fast: setup
	$(BIN)/python -m pytest -m "not browser"

bench: setup
	mkdir -p out
	$(BIN)/python -m benchmarks.routing --json out/routing.json
