# `make run`: a day of peer-to-peer trading on a real low-voltage grid, from nothing but python3 with venv.
# `make test`: the test suite. Both set up everything they need in .venv and are quick when it is there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint format lock benchmark build clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "peerwatt needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." ; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the locked dependencies (once) ..."
	@$(PIP) install -q --require-hashes -r requirements.lock
	@$(PIP) install -q --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Installing the locked development tools (once) ..."
	@$(PIP) install -q --require-hashes -r requirements-dev.lock
	@touch $@

run: $(VENV)/.run  ## set up, then simulate the default scenario (ARGS="--periods 8" is passed on)
	@$(BIN)/peerwatt run $(ARGS)

test: $(VENV)/.dev  ## set up, then run the quick tests
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(ARGS)

test-all: $(VENV)/.dev  ## every test, the slow ones too
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/.dev  ## formatter, linter, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## rewrite the code as the formatter wants it
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(BIN)/python  ## resolve the dependencies anew (needs a package index)
	@$(PIP) install -q "uv>=0.5"
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --upgrade requirements-build.in pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --extra dev -c requirements.lock requirements-build.in pyproject.toml -o requirements-dev.lock

benchmark: $(VENV)/.dev  ## measure: speed of the default scenario, growth with the number of peers
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

build: $(VENV)/.dev  ## wheel and sdist into dist/
	@$(BIN)/python -m build --no-isolation

clean:  ## remove the environment and what was built
	@rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
