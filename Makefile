# Needs Python 3.10 or later and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

# The types of the public names, as a type checker sees them in an installed package.
TYPED := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)" $(BIN)/pyright --verifytypes celery_health_bp --ignoreexternal

# Tests mostly wait, so five run at once. Those that assert a deadline run afterwards, one by one.
TOGETHER := -n 5 --dist loadgroup -m "not deadline
ALONE := -m "deadline

# The variable turns off the theme's advertisement of its successor.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-all lint docs docs-serve matrix bench clean

help: ## list the targets
	@echo 'Times are for two cores and a warm pip cache.'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/demo ## broker, worker, web server and jobs, until Ctrl-C; PORT=8000 (20 s to start)
	@$(BIN)/python -m examples.demo

test: .venv/test ## all tests but the slow ones (about 4 min)
	$(BIN)/pytest $(TOGETHER) and not slow"
	$(BIN)/pytest $(ALONE) and not slow"

test-unit: .venv/test ## the tests that need no server (10 s)
	$(BIN)/pytest tests/unit

test-all: .venv/test ## all tests, with coverage of lines and branches (about 10 min)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(TOGETHER)"
	$(BIN)/coverage run -m pytest $(ALONE)"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: .venv/lint ## ruff, mypy, pyright, interrogate, import-linter (about 1 min)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(TYPED) | sed '1,/^Symbols used/d' | awk '{print} /score:/ {enough = $$NF + 0 == 100} END {exit !enough}'
	$(BIN)/interrogate celery_health_bp
	$(BIN)/lint-imports

docs: .venv/docs ## the documentation as a site, in site/ (about 5 s)
	$(MKDOCS) build --strict

docs-serve: .venv/docs ## the same site, rebuilt while you write, until Ctrl-C; PORT=8000 (5 s to start)
	$(MKDOCS) serve --dev-addr 127.0.0.1:$(or $(PORT),8000)

matrix: .venv/test ## every Celery, Flask, marshmallow and Django, on every Python that is installed (about 1 h)
	.ci/tox run-parallel --parallel 3 --parallel-no-spinner

bench: .venv/test .bench/installed ## the cost of checks, scrapes and counting, and that of other tools; writes benchmarks/RESULTS.md (about 17 min)
	$(BIN)/python -m benchmarks

clean: ## delete all generated files
	rm -rf .venv .bench .tox build dist site *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# One stamp file per extra. A change of the requirements installs again.
.venv/demo .venv/docs .venv/test .venv/lint: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or later is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(@F)]'
	@touch $@

# Other tools have separate environments. celery-exporter does not run on every Python; the results then note that it is missing.
.bench/installed: benchmarks/peers.txt benchmarks/exporter.txt
	test -x .bench/bin/python || $(PYTHON) -m venv .bench
	.bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	test -x .bench/exporter/bin/python || $(PYTHON) -m venv .bench/exporter
	-.bench/exporter/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/exporter.txt
	@touch $@
