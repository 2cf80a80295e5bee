PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo
# Many small problems: one thread each is the fastest, and waiting threads must not spin.
TEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest

.PHONY: help install demo test test-all lint format clean

help:
	@echo "make demo      phantoms, training, synthesis, scores and a report, from nothing"
	@echo "make test      install if needed, lint, run the tests"
	@echo "make test-all  the slow tests too"
	@echo "make format    lay out the code"
	@echo "make clean     remove $(VENV) and $(DEMO)"

$(STAMP): setup.cfg pyproject.toml $(wildcard setup.py nerp/projection/backends/native/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/python train/demo.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(TEST)

test-all: lint
	$(TEST) -m ""

clean:
	rm -rf $(VENV) $(DEMO)
