# Two commands: `make demo` shows what bgnb does, `make test` runs every test. Both set up what they need.
PYTHON ?= python3
DATA ?= ../shared/hess-dl3-dr1

.PHONY: demo test test-main test-gammapy lint bench clean

demo: .venv/ready
	.venv/bin/bgnb make-bg-cube-models $(DATA) GADF demo --overwrite

test: lint test-main test-gammapy

lint: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

test-main: .venv/ready
	.venv/bin/python -m pytest --ignore=tests/gammapy

# Gammapy 2.1 needs older versions of its dependencies: an environment of its own, in which all other tests run as well.
test-gammapy: .venv-gammapy/ready
	.venv-gammapy/bin/python -m pytest

bench: .venv/ready
	.venv/bin/python benchmarks/speed.py $(DATA)
	.venv/bin/python benchmarks/command.py $(DATA)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

.venv-gammapy/ready: pyproject.toml
	$(PYTHON) -m venv .venv-gammapy
	.venv-gammapy/bin/python -m pip install --quiet --editable '.[gammapy]'
	touch $@

clean:
	rm -rf .venv .venv-gammapy demo
