# `make quickstart` and `make test` do all their set-up on a machine with Debian 12, git, make and python3.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# A process a core, each with one thread: threads of two processes would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

.PHONY: help install quickstart smoke grounding bench bench-data docs test test-fast test-runtime test-lerobot test-lerobot-old test-view lint format type clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(STAMP): pyproject.toml runtime/pyproject.toml constraints.txt
	@sh scripts/make_venv.sh $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e runtime -e '.[sim,calibrate,vit,serve,export,hub,view,studio,docs,dev]'
	@# The tests' independent client declares numpy<2, but runs with 2.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps openpi-client
	@touch $(STAMP)

install: $(STAMP)  ## the virtual environment and the library for headless rendering
	@sh scripts/headless_rendering.sh $(BIN)/python

quickstart: install  ## record, train, evaluate: a policy that picks the block it is told (25 minutes)
	$(BIN)/foreact quickstart

smoke: install  ## every step of the quickstart in about two minutes, with no claim on success
	$(BIN)/foreact quickstart --smoke

grounding: install  ## the study of coordinate conditioning: goes on where it stopped, then writes tables and plots
	$(BIN)/python benchmarks/grounding run
	$(BIN)/python benchmarks/grounding table

bench: install  ## every stage's speed beside LeRobot's (foreact bench); two hours on an idle machine
	$(BIN)/foreact bench

bench-data: install  ## speed of data beside LeRobot's (needs make test-lerobot once), and memory; on an idle machine
	$(BIN)/python benchmarks/data_speed.py --out benchmarks/results/data_speed.json
	$(BIN)/python benchmarks/data_memory.py --out benchmarks/results/data_memory.json

test: install lint type  ## everything that CI checks, LeRobot aside
	@sh scripts/browser.sh
	$(PYTEST)

test-fast: install  ## without the tests that take long
	$(PYTEST) -m 'not slow'

test-runtime: install  ## a bundle without torch, in an environment of its own, whose size is measured
	sh scripts/test_runtime.sh

test-lerobot:  ## LeRobot itself reads what we write (its own Python 3.12 environment)
	sh scripts/test_lerobot.sh

test-lerobot-old:  ## we read what LeRobot 0.3.3 wrote, v2.1 (its own environment)
	sh scripts/test_lerobot_old.sh

docs: install  ## the site, in site/; a block that is gone, a shape that is not true and a dead link are errors
	rm -rf site
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going docs site
	rm -rf site/.doctrees site/.buildinfo
	PYTHONPATH=docs/_ext $(BIN)/python -m explain.links site
	@sh scripts/browser.sh
	PYTHONPATH=docs/_ext $(BIN)/python -m explain.in_browser site

test-view: install  ## what foreact view writes for Rerun, read back by Rerun (500 MB, in a folder of its own)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile -c constraints.txt --upgrade --target .rerun rerun-sdk
	PYTHONPATH=.rerun $(BIN)/python -c 'import rerun.chunk'
	PYTHONPATH=.rerun $(PYTEST) -n 0 tests/studio/test_view.py -k recording

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install  ## rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: install
	$(BIN)/mypy

clean:  ## remove environments, runs and caches of this checkout
	rm -rf $(VENV) .venv-runtime .venv-lerobot .venv-lerobot-old runs outputs .mypy_cache .ruff_cache .pytest_cache site .rerun
