# Needs Python 3.11 (or 3.12, 3.13), pip and make; everything else goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

# Two single-threaded workers finish sooner than one process on two threads; of tests as of trainings.
WORKERS ?= 2
TEST_ENV := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help .venv docs demo test test-all check format bench zoo clean

help: ## this list
	@grep -E '^[.a-z-]+:.*##' Makefile | sed -E 's/^([.a-z-]+):.*## /  make \1|/' | column -t -s '|'

.venv: $(INSTALLED) ## create .venv and install metazoo in it, with the tested versions

# uv, because TF-Agents' metadata pins two packages that its code does not need pinned (overrides.txt), and pip cannot
# be told so.
EXTRAS := dev,docs,edge,federated,hub,metaworld,minari,mujoco,ray,tf-agents,tune

$(INSTALLED): pyproject.toml constraints.txt overrides.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --override overrides.txt --constraint constraints.txt \
		--editable '.[$(EXTRAS)]'
	@touch $@

demo: $(INSTALLED) ## adapt and serve a pretrained policy, in one minute
	$(BIN)/metazoo demo

test: $(INSTALLED) ## the tests, without the slow ones
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m 'not slow' $(ARGS)

test-all: $(INSTALLED) ## all tests
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: $(INSTALLED) ## format, lint, types, layers, documentation
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/python docs/figures/readability.py
	$(MKDOCS)
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_repository.py

format: $(INSTALLED) ## rewrite the sources as `check` wants them
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(INSTALLED) ## the documentation as a site, in build/site
	$(MKDOCS)

bench: $(INSTALLED) ## speed of the families, the learners and the server
	$(BIN)/metazoo bench

zoo: $(INSTALLED) ## retrain every pretrained policy, into runs/savedmodels
	$(BIN)/metazoo train --all --jobs $(WORKERS) --export runs/savedmodels

clean: ## remove .venv and caches
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache build dist
