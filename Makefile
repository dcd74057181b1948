# Sets up its own virtual environment on first use: no target needs one to be there.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --requirement
# To byte code on all cores, which pip does on one; some packages hold files that are none.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true

.PHONY: help train test test-all lint format docs demo benchmark clean

help: ## Shows this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

train: $(VENV)/.installed ## Trains with no settings but ARGS="--flag=value ...", by default on generated images
	$(BIN)/python -m trainers.unsupervised $(ARGS)

test: $(VENV)/.installed-dev ## Lints, then runs the tests that take minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-all: $(VENV)/.installed-dev ## Runs every test
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-dev ## Checks style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy patchvae_tf

format: $(VENV)/.installed-dev ## Mends style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev ## Builds the API reference into build/docs
	PYTHONPATH=. TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python docs/build_api.py build/docs

demo: $(VENV)/.installed ## Serves a page to try a model: ARGS="--saved_model=RUN"
	$(INSTALL) requirements-demo.txt
	$(BIN)/python -m export.demo $(ARGS)

benchmark: $(VENV)/.installed ## Measures training and feature extraction
	$(BIN)/python -m benchmarks.throughput $(ARGS)

clean: ## Removes the virtual environment and caches, not your runs
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# A marker is written last, so that an installation that broke off is taken up again.
$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements.txt
	$(COMPILE)
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-demo.txt $(VENV)/.installed
	$(INSTALL) requirements-dev.txt
	$(COMPILE)
	touch $@
