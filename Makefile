PYTHON ?= python
# Two processes with two threads each on two cores crawl.
export OMP_NUM_THREADS ?= 2

.PHONY: check lint types test docs format

check: lint types test  ## everything CI does

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy registry_auditor plugins/auditor_svd_diff plugins/auditor_token_projection

test:
	$(PYTHON) -m pytest

docs:
	$(PYTHON) docs/generate.py

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
