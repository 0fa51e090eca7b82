# Two commands: `make demo` shows what bgnb does, `make test` runs every test. Both set up what they need.
PYTHON ?= python3
# Real runs for the benchmarks; the tests look there too, or where BGNB_TEST_DATA says.
DATA ?= ../shared/hess-dl3-dr1

# Modules are compiled when they are first imported, which few are, and not by each of the hundreds of processes that tests start.
export PYTHONDONTWRITEBYTECODE =

# Duration of make soak.
MINUTES ?= 10

# From Python 3.12 on, coverage costs a tenth of the time; before, half as much again.
COVERAGE = $(shell .venv/bin/python -c 'import sys; print("--cov --cov-report=term" * (sys.version_info >= (3, 12)))')

# Two processes with tests on two cores: threads of linear algebra in each, and in the kernels of notebooks, slow them down.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

BUILD_DOCS = rm -rf docs/_build/html docs/reference/api docs/tutorials/notebooks; \
	$(ONE_THREAD) .venv/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html

.PHONY: demo test test-fast test-main test-gammapy lint docs docs-quick results challenge fuzz soak clean

demo: .venv/ready
	@echo "Simulating 20 runs of a known background, and making a model of them ..."
	.venv/bin/bgnb make-true-reco demo --n-runs 20 --n-fov 60 --n-energy 20 --workers 2 --overwrite
	@echo "Comparing the model with the truth ..."
	.venv/bin/bgnb compare-models demo/true demo/reco demo/comparison --overwrite
	@echo "Open these pictures: demo/comparison/comparison_group27.png, or, to zoom, the .html beside it."

# What leaves a core idle runs beside something else; the dots of the last two are mixed.
test:
	$(MAKE) --jobs=2 --output-sync .venv/ready .venv-gammapy/ready
	$(MAKE) --jobs=2 --output-sync lint docs-quick
	$(MAKE) --jobs=2 test-main test-gammapy

lint: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/python -m pip check

# Open docs/_build/html/index.html. Notebooks are executed, those that changed: two minutes for all.
docs: .venv/ready .venv-gammapy/ready
	$(BUILD_DOCS)

# Tests execute the notebooks anyway, so that `make test` needs no results of theirs.
docs-quick: .venv/ready
	$(BUILD_DOCS) -D nb_execution_mode=off

# Three processes share the tests, file by file, as some tests wait; those in tests/browser drive Chromium and are skipped where there is none, unless BGNB_BROWSER=required.
test-main: .venv/ready
	$(ONE_THREAD) COVERAGE_CORE=sysmon .venv/bin/python -m pytest --numprocesses 3 --dist loadfile --ignore=tests/with_gammapy $(COVERAGE)

# About a minute on two cores: without the tests marked slow.
test-fast: .venv/ready
	$(ONE_THREAD) .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --ignore=tests/with_gammapy -m "not slow"

# Gammapy 2.1 needs older versions of its dependencies: an environment of its own, with the oldest that bgnb supports, in which
# what meets them is tested as well. That some of them deprecate what others do is not ours to mend.
test-gammapy: .venv-gammapy/ready
	$(ONE_THREAD) .venv-gammapy/bin/python -m pytest -W ignore::DeprecationWarning -k "with_gammapy or not slow" \
	  tests/with_gammapy bgnb/gammapy \
	  tests/gammapy tests/files/test_fits_writer.py tests/files/test_gadf.py tests/files/test_background_tables.py \
	  tests/files/test_exclusion_regions.py tests/files/test_model_directory.py \
	  tests/observations/test_fits_table.py tests/observations/test_datastore.py tests/cubes/test_model.py tests/dashboards/test_explore_models.py tests/plots/test_bokeh_figures.py \
	  tests/plots/test_bokeh_internals.py tests/plots/test_html_page.py tests/plots/test_static.py

# What the benchmarks print is kept in docs/explanation/measured: an hour on two idle cores.
RECORD = .venv/bin/python benchmarks/record.py

results: .venv/ready .venv-gammapy/ready .venv-baccmod/ready
	$(RECORD) speed .venv/bin/python benchmarks/speed.py $(DATA)
	$(RECORD) full .venv/bin/python benchmarks/speed.py --full
	$(RECORD) command .venv/bin/python benchmarks/command.py $(DATA)
	$(RECORD) peers .venv/bin/python benchmarks/peers.py $(DATA) .venv-gammapy/bin/python .venv-baccmod/bin/python
	$(RECORD) scale .venv/bin/python benchmarks/scale.py $(DATA)
	$(RECORD) growth .venv/bin/python benchmarks/growth.py $(DATA) docs/images/growth.png
	$(RECORD) index .venv/bin/python benchmarks/index.py
	$(RECORD) simulation .venv/bin/python benchmarks/simulation.py
	$(RECORD) workers .venv/bin/python benchmarks/workers.py $(DATA)
	$(RECORD) closure .venv/bin/python benchmarks/closure.py
	$(RECORD) dashboards .venv/bin/python benchmarks/dashboards.py
	$(RECORD) spline .venv/bin/python -m benchmarks.spline
	$(RECORD) formulations .venv/bin/python benchmarks/formulations.py $(DATA) 2
	$(RECORD) methods .venv/bin/python benchmarks/methods.py
	$(RECORD) flux_coverage .venv-gammapy/bin/python benchmarks/flux_coverage.py

# A benchmark that others can enter: benchmarks/challenge/README.md. Table and picture are in challenge/.
BGNB_ENTRY = .venv/bin/python -m benchmarks.challenge.bgnb_entry

challenge: .venv/ready .venv-gammapy/ready .venv-baccmod/ready
	$(ONE_THREAD) .venv/bin/python -m benchmarks.challenge.run challenge --hess $(DATA) \
	  --entry "bgnb spline = $(BGNB_ENTRY) spline run" \
	  --entry "bgnb spline, norm of the models = $(BGNB_ENTRY) spline model" \
	  --entry "bgnb classic = $(BGNB_ENTRY) classic run" \
	  --entry "BAccMod 0.4.1, radial = .venv-baccmod/bin/python -W ignore -m benchmarks.challenge.baccmod_entry" \
	  --entry "Gammapy script = .venv-gammapy/bin/python -W ignore benchmarks/challenge/gammapy_entry.py"

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/bin/python -m pip install --quiet --no-compile --editable '.[all]' --group dev
	touch $@

.venv-gammapy/ready: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv .venv-gammapy
	.venv-gammapy/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv-gammapy/bin/python -m pip install --quiet --no-compile --constraint tests/oldest.txt --editable '.[all,gammapy]' --group test-gammapy
	touch $@

# What bgnb is compared with in benchmarks/peers.py.
.venv-baccmod/ready:
	$(PYTHON) -m venv .venv-baccmod
	.venv-baccmod/bin/python -m pip install --quiet baccmod==0.4.1 --editable '.[gammapy]'
	touch $@

# Damaged files, and runs whose statements contradict each other.
fuzz: .venv/ready
	.venv/bin/python -m benchmarks.fuzz
	.venv/bin/python -m pytest -k test_no_contradiction_passes_unseen --hypothesis-seed=random tests/broken/test_contradictions.py

# Random productions that are killed, on runs that are damaged and repaired: make soak MINUTES=60 SEED=1
soak: .venv/ready
	.venv/bin/python -m benchmarks.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

clean:
	rm -rf .venv .venv-gammapy .venv-baccmod demo challenge docs/_build docs/reference/api docs/tutorials/notebooks
