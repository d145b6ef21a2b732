# Everything a newcomer needs: `make start` runs the example app, `make test` proves procman.
# VENV may point anywhere; PYTHON may be any Python 3.11 or later.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
# Tests run side by side, more of them than there are processors: most wait most of the time.
SIDES ?= 4

.DELETE_ON_ERROR:
.PHONY: start test lint types bench clean

start: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/procman start -f Procfile.example

test: $(STAMP)
	$(BIN)/python -m compileall -q procman  # once, not in each of a thousand processes
	$(BIN)/python -m pytest --numprocesses=$(SIDES) --dist=worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,examples]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
