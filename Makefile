# The commands of the README and of CONTRIBUTING.md. They make .venv on the first run and reuse it afterwards.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

.PHONY: demo check test soak lint
demo: .venv/installed
	$(BIN)/rnri demo

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint
	RNRI_TIER=check $(PYTEST)

test: lint
	RNRI_TIER=test $(PYTEST)

soak: lint
	RNRI_TIER=soak $(PYTEST) --figures docs/testing.md

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml core/pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e core -e .
	touch $@

.venv/installed-dev: pyproject.toml core/pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e core -e ".[dev,bench,serve,ui]"
	touch $@ .venv/installed
