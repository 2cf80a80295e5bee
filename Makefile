PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := requirements-dev.lock
DEMO := runs/demo
STUDIES := missing_annotations limited_annotations fidelity_table lambda_sweep
STUDY_RUNS := runs/experiments
# What all studies are told, such as STUDY_OPTIONS="--part test", once, at the end.
STUDY_OPTIONS ?=
DOCS := build/docs/html
PIP := $(BIN)/python -m pip --disable-pip-version-check
UV := $(VENV)/uv
SOURCES := setup.cfg pyproject.toml $(wildcard setup.py nerp/projection/backends/native/*)
# NEWEST=1 installs the newest of everything that setup.cfg admits, in place of what is locked.
NEWEST ?=
STAMP := $(VENV)/.installed-$(if $(NEWEST),newest,locked)
# Many small problems: one thread each and as many processes as cores, and waiting threads must not spin.
TEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: help install lock demo experiments $(STUDIES) docs test test-all lint format clean

help:
	@echo "make demo      phantoms, training, synthesis, scores and a report, from nothing"
	@echo "make experiments  the paper's tables, small, in $(STUDY_RUNS); NERP_DATA names the data; again: goes on"
	@echo "make docs      the documentation, in $(DOCS)/index.html"
	@echo "make test      install if needed, lint, run the tests"
	@echo "make test-all  the slow tests too"
	@echo "make format    lay out the code"
	@echo "make lock      choose the newest versions again, for $(LOCK)"
	@echo "make clean     remove $(VENV), $(DEMO) and $(DOCS)"
	@echo "With NEWEST=1, what is installed is the newest of everything, not what is locked."

$(VENV)/.installed-locked: $(SOURCES) $(LOCK)
	$(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.installed*
	$(PIP) install --quiet --requirement $(LOCK)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-newest: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.installed*
	$(PIP) install --quiet --upgrade --upgrade-strategy eager --editable ".[dev]"
	@touch $@

install: $(STAMP)

$(UV):
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check uv

lock: $(UV)
	$(UV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --extra dev \
		--constraint .ci/lock-bounds.txt --custom-compile-command "make lock" --output-file $(LOCK) setup.cfg

demo: $(STAMP)
	$(BIN)/python train/demo.py

experiments: $(STUDIES)

# A folder each, which a killed run continues, and its page.
$(STUDIES): $(STAMP)
	$(BIN)/nerp study $@ -o $(STUDY_RUNS)/$@ $(STUDY_OPTIONS)
	$(BIN)/nerp report $(STUDY_RUNS)/$@

# Pictures and the API reference are made from the code; a warning is an error.
docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html assets/docs $(DOCS)
	@echo "$(DOCS)/index.html"

lint: $(STAMP)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy nerp

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(TEST)

test-all: lint
	$(TEST) -m ""

clean:
	rm -rf $(VENV) $(DEMO) $(DOCS)
