# One command each, from a bare checkout: every target sets up what it needs and is quick the second time.
#   make demo      co-train on the 700 labelled PBMCs that scanpy carries, print the link table, export gene embeddings
#   make demo-sim  the same on a simulated world whose regulation is known
#   make test      the tests (test-slow: fits of minutes on real data)   make lint   ruff, mypy, house rules  make bench  benchmarks against their peers
#   make docs      the documentation, notebooks executed, into build/site
#   make setup     .venv with the core  make setup-ci  the core, DGL and torch-scatter (optional back ends)
# On a machine with a GPU, name the index of your torch build once: make setup TORCH_INDEX=URL

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
PYTEST_WORKERS ?= 2
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1 && { echo $$p; break; }; done)

# Wheels that had to be compiled outlive the checkout; the folder's name holds the Python and torch they were built for.
WHEELS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/grn_cotrain/wheels

# The tests start programs; without compiled modules, each of these compiles the package again.
unexport PYTHONDONTWRITEBYTECODE

# Real data are read in their own place; nothing but this line and tests/conftest.py knows the place.
NEIGHBOUR := $(wildcard ../shared/data)
ifneq ($(NEIGHBOUR),)
export GRN_COTRAIN_DATA ?= $(abspath $(NEIGHBOUR))
endif

CORE := $(VENV)/.core-installed
BACKENDS := $(VENV)/.backends-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help setup setup-ci demo demo-sim test test-slow lint docs format bench results constraints clean

help:
	@sed -n '2,7s/^# //p' Makefile

setup: $(CORE)
setup-ci: $(BACKENDS)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one, or name it: make setup PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone, so that nothing else chooses its build. The egg-info that a build leaves next to the sources
# goes: once stale, it would hide the installed entry points from programs run here.
$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@rm -rf grn_cotrain.egg-info
	@touch $@

$(BACKENDS): $(CORE)
	$(PIP) install --constraint constraints.txt --editable ".[dev,dgl,metrics,prior,bench,hub,docs]"
	@rm -rf grn_cotrain.egg-info
	PYTHON=$(BIN)/python WHEELS="$(WHEELS)" tools/torch_scatter.sh
	@touch $@

demo: $(CORE)
	$(BIN)/python -m experiments.demo --out demo-out

demo-sim: $(CORE)
	$(BIN)/python -m experiments.demo --simulated --out demo-sim-out

# One thread a process: the workers share the cores, and results do not depend on how many there are.
test: $(CORE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n $(PYTEST_WORKERS) --dist loadfile -m "not slow" $(ARGS)

# Fits of minutes on real data: boosted trees over five seeds, published figures with tuned constants.
test-slow: $(CORE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n $(PYTEST_WORKERS) -m slow $(ARGS)

lint: $(CORE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/unit/test_habits.py tests/unit/test_words.py

# Notebooks and blocks, two at a time; pages, then the tutorial's own code; warnings are errors. Everything the docs need comes with setup-ci.
docs: $(BACKENDS)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.run_notebooks
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --strict
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.tutorial

format: $(CORE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(CORE)
	$(BIN)/python -m experiments.benchmarks $(ARGS)

results: $(CORE)
	$(BIN)/python -m experiments results

constraints: $(BACKENDS)
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude-editable | grep -v "^pip==" | sed 's/+cpu$$//' | sort -f; } > constraints.tmp
	mv constraints.tmp constraints.txt

clean:
	rm -rf build dist demo-out demo-sim-out .pytest_cache .ruff_cache .mypy_cache .hypothesis
