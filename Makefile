# Nothing here needs an activated environment; paths are relative, so the directory may have any name.
PYTHON ?= python3
PY := .venv/bin/python
ifdef PORT
export PORT
endif
ifdef SIMULATOR_PORT
export SIMULATOR_PORT
endif

.DEFAULT_GOAL := help
.PHONY: help run test lint format

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

run: .venv/installed ## Install, create .env, database and demo, then run web, worker and simulators (Ctrl-C ends all)
	@$(PY) -m connector.envfile
	@exec $(PY) manage.py run_all

test: .venv/installed-dev ## Lint and run all tests on SQLite, and on PostgreSQL where there is one
	@exec $(PY) -m tests.run

lint: .venv/installed-dev ## Check style and types
	@exec $(PY) -m tests.run --lint

format: .venv/installed-dev ## Format the code
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format .

# A dangling link (a Python that was removed) counts as missing: the environment is made anew.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed; $(PYTHON) is not. Choose one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv module is missing. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "Creating .venv ..."
	@$(PYTHON) -m venv --clear .venv

.venv/installed: requirements.txt | .venv/bin/python
	@echo "Installing requirements.txt ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt requirements.txt | .venv/bin/python
	@echo "Installing requirements-dev.txt ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ .venv/installed
