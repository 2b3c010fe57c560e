# `make demo` and `make test` do all the set-up they need, on a fresh machine, without a GPU.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= demo

.PHONY: demo test test-more test-slow test-browser lint check clean

# Installed again whenever what is to be installed has changed.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/fit demo $(DEMO)/data
	$(BIN)/fit train $(DEMO)/data --out $(DEMO)/run --preset debug --batch-size 3 --epochs 6
	$(BIN)/fit classify $(DEMO)/data/large.tif --checkpoint $(DEMO)/run --heatmap $(DEMO)/heatmap.png
	@echo "look at $(DEMO)/heatmap.png"

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

# What `make test` leaves out of large tables (tests/support/walks.py): their other cases.
test-more: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal \
	    -m 'more and not slow and not gpu and not distributed and not browser'

# The same proofs at larger scale.
test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal -m 'slow and not gpu and not distributed'

# Skips with a reason where no Chromium is there.
test-browser: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[browser]'
	$(BIN)/python -m pytest -m browser tests/view

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint test

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
