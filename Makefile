# Needs Python 3.10 or later and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

# The types of all that the package exports, as somebody sees them who has it installed.
TYPED := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)" $(BIN)/pyright --verifytypes celery_health_bp --ignoreexternal

# Most tests wait most of the time: four files at once. What asserts a deadline runs afterwards, by itself.
APART := -n 4 --dist loadfile -m "not deadline"
ALONE := -m deadline

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint docs matrix bench clean

help: ## list the targets
	@echo 'Times are for two cores and a warm pip cache.'
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/demo ## broker, worker, web server and jobs, until Ctrl-C; PORT=8000 (20 s to start)
	@$(BIN)/python -m examples.demo

test: .venv/test ## all tests (about 9 min)
	$(BIN)/pytest $(APART)
	$(BIN)/pytest $(ALONE)

coverage: .venv/test ## all tests, and which lines and branches of the package they run (about 10 min)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(APART)
	$(BIN)/coverage run -m pytest $(ALONE)
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

docs: .venv/test ## docs/api.md, from the docstrings (1 s)
	$(BIN)/python docs/api.py

matrix: .venv/test ## every Celery, Flask, marshmallow and Django, on every Python that is installed (about 1 h)
	.ci/tox run-parallel --parallel 3 --parallel-no-spinner

bench: .venv/test .bench/installed ## what checks and counting cost, beside what others run; writes benchmarks/RESULTS.md (about 17 min)
	$(BIN)/python -m benchmarks

clean: ## delete what make made
	rm -rf .venv .bench .tox build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# One stamp file per extra: install again when the requirements have changed.
.venv/demo .venv/test .venv/lint: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or later is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(@F)]'
	@touch $@

# Peers have environments of their own. The exporter does not run on every Python: it is left out there, and a note says so.
.bench/installed: benchmarks/peers.txt benchmarks/exporter.txt
	test -x .bench/bin/python || $(PYTHON) -m venv .bench
	.bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	test -x .bench/exporter/bin/python || $(PYTHON) -m venv .bench/exporter
	-.bench/exporter/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/exporter.txt
	@touch $@
