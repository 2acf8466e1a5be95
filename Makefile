# Two commands: `make report` (install, run the main job and a sweep on the digits, write the pages) and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
OUT    ?= gradnoise-report
JOBS   ?= 2
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0

.PHONY: report test check lint types slow browser wheel clean

report: $(VENV)/installed
	$(BIN)/gradnoise report --out $(OUT)
	$(BIN)/gradnoise sweep --out $(OUT)/temperature

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

check: test lint types slow browser wheel

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/pyright

slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n $(JOBS) -m slow tests

browser: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -m browser tests

wheel: $(VENV)/installed-dev
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'gradnoise needs Python 3.11 or newer, this is ' + sys.version.split()[0] + '; run make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing gradnoise into $(VENV) (once, about a minute)"
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .cache dist build .pytest_cache .ruff_cache .hypothesis
