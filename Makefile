# make demo: the main job on the toenail data.  make test: the test suite.
# Both set up .venv first (scripts/setup.sh), and need nothing but Python 3.12, 3.13 or 3.14.

PYTEST_ARGS = -n 2 --dist loadfile --no-loadscope-reorder
PYTHON = .venv/bin/python

unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
unexport PYTHONHOME

.PHONY: demo test setup lint docs-check small-install lock

demo: setup
	.venv/bin/popavg demo --out popavg-demo --overwrite

test: setup
	$(PYTHON) -m pytest $(PYTEST_ARGS)

setup:
	@sh scripts/setup.sh

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/ty check --python .venv
	.venv/bin/lint-imports
	.venv/bin/numpydoc lint $$(find src models posterior_tools workflows -name '*.py')
	$(PYTHON) scripts/check_docstrings.py

# The examples in the docstrings, run as they stand.
docs-check: setup
	$(PYTHON) -m pytest --doctest-modules --pyargs popavg

# What works on draws alone must work where nothing that fits models is installed.
small-install: setup
	POPAVG_SMALL_INSTALL=1 $(PYTHON) -m pytest $(PYTEST_ARGS)

# Writes requirements.lock anew (needs uv).
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.12 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --quiet \
		--output-file requirements.lock
