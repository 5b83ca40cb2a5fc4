# Two commands do everything: `make demo` and `make test`. Both make .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

BENCH := .venv-bench
comma := ,
DEVICE ?= cpu

.PHONY: help demo test test-all lab bench lint notebooks doctor clean

help:
	@echo "make demo       train a small CNN on digits and three detectors on scenes, draw what they learned"
	@echo "make test       check every layer's gradient, and everything else that is quick"
	@echo "make lab        open the chapters in JupyterLab"
	@echo "make bench      time training, inference and layers against PyTorch (installs it; DEVICE=gpu for a GPU)"
	@echo "make test-all   all tests, the slow ones and the chapters too"
	@echo "make doctor     what is installed, and what to do about what is odd"

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  (echo "minivision needs Python 3.11 or newer; this is `$(PYTHON) --version`. Try: make demo PYTHON=python3.12" && false)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/core: $(VENV)/made pyproject.toml
	@echo "installing minivision into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(VENV)/test: $(VENV)/core
	@echo "installing the test tools"
	@$(PIP) -e ".[test]"
	@touch $@

$(VENV)/course: $(VENV)/core
	@echo "installing JupyterLab"
	@$(PIP) -e ".[course]"
	@touch $@

$(VENV)/reference: $(VENV)/test
	@echo "installing the references: PyTorch, pycocotools"
	@$(PIP) -e ".[reference]"
	@touch $@

$(VENV)/dev: $(VENV)/core
	@$(PIP) -e ".[dev]"
	@touch $@

demo: $(VENV)/core
	@$(BIN)/minivision demo

test: $(VENV)/test
	@$(BIN)/python -m pytest -q -n 2 -m "not slow and not notebooks"

test-all: $(VENV)/test
	@$(BIN)/python -m pytest -q -n 2

notebooks: $(VENV)/test
	@$(BIN)/python -m pytest -q -m notebooks

lab: $(VENV)/course
	@$(BIN)/jupyter lab notebooks/00_how_to_read_this_book.ipynb

$(BENCH)/made-$(DEVICE): pyproject.toml
	@echo "installing PyTorch and torchvision into $(BENCH): some gigabytes"
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[bench$(if $(filter gpu,$(DEVICE)),$(comma)gpu)]"
	@touch $@

bench: $(BENCH)/made-$(DEVICE)
	@$(BENCH)/bin/python -m pytest -q -m torchvision
	@$(BENCH)/bin/python -m benchmarks --device $(DEVICE)
	@$(BENCH)/bin/python -m benchmarks.evaluation

lint: $(VENV)/dev
	@$(BIN)/ruff check .
	@$(BIN)/nbstripout --verify notebooks/*.ipynb

doctor: $(VENV)/core
	@$(BIN)/minivision doctor

clean:
	rm -rf $(VENV) $(BENCH) build dist
