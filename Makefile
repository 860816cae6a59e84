# What a person runs here; CI runs the same (.ci/run). An environment is made on first use, with the versions of constraints.txt.
#   make lint      ruff, mypy --strict, YAML and line ends: under a minute
#   make test      what the README's second command runs: minutes, needs only the package index
#   make judges    what takes long or asks real components (tests/judges.py sets them up in ~/.cache/serve-plan, once: 7 GB)
#   make wheel     builds wheel and sdist once and tries that wheel on each Python from 3.11 that is here, and on one its doors (nox)
#   make coverage  `make test` with lines and branches counted, and the gate of pyproject.toml
#   make mutants   faults made by hand, each of which a test must notice: a few minutes
#   make mutation  faults by the thousand (mutmut); half an hour, goes on where it was stopped: docs/mutants.md
#   make fuzz      every reader of strangers' texts with bent inputs, FUZZ_SECONDS (600) each (FUZZ_READERS: only these); kept in build/fuzz: what breaks one
#   make data      checks gpus.yaml, models.yaml and prices.yaml and builds planner/catalogue/data from them
#   make docs      the site, strictly, into build/site
#   make page      the page without a server, for any host of static files, into build/page (Node.js and npm; tools/static_page)
#   make constraints   resolves constraints.txt anew: see CONTRIBUTING.md
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
# More than cores: many of them wait for what they start.
JUDGE_JOBS ?= 3
FUZZ_SECONDS ?= 600
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
# Every Python process that is started with these counts its lines, the command line under test too.
COUNTED = COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/build/coverage/data
.DELETE_ON_ERROR:
.PHONY: help lint test judges coverage coverage-report mutants mutation fuzz data docs page wheel constraints

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/made-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e '.[$*]'
	@touch $@

lint: $(VENV)/made-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p tools
	VENV=$(VENV) SKIP=ruff,ruff-format $(BIN)/pre-commit run --all-files

test: $(VENV)/made-test
	$(BIN)/python -m pytest -n $(JOBS)

judges: $(VENV)/made-dev
	$(BIN)/python -m tests.judges
	PLAN_JUDGES=required $(BIN)/python -m pytest -n $(JUDGE_JOBS) --dist worksteal -m 'slow or judge'

# Counting takes as long again as the tests; those that take long or ask judges are not counted.
coverage: $(VENV)/made-dev
	rm -rf build/coverage
	mkdir -p build/coverage
	$(COUNTED) $(MAKE) test
	$(MAKE) coverage-report

coverage-report: $(VENV)/made-dev
	COVERAGE_FILE=build/coverage/data $(BIN)/coverage combine -q build/coverage
	COVERAGE_FILE=build/coverage/data $(BIN)/coverage report

fuzz: $(VENV)/made-test
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_READERS:%=--reader %)

mutants: $(VENV)/made-test
	$(BIN)/python -m benchmarks.mutants

mutation: $(VENV)/made-mutation
	$(BIN)/python -m mutmut run
	$(BIN)/python -m mutmut results

data: $(VENV)/made-test
	$(BIN)/python -m planner.catalogue.build

docs: $(VENV)/made-docs
	$(BIN)/mkdocs build --strict --quiet

page: $(VENV)/made-test
	$(BIN)/python -m tools.static_page build/page

wheel: $(VENV)/made-dev
	$(BIN)/nox -s wheel doors

constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip --disable-pip-version-check install -q -e '.[dev]'
	{ echo '# What CI and make install: the newest of everything on the day of `make constraints`. Users get pyproject.toml'"'"'s lower bounds.'; \
	  build/constraints/bin/python -m pip --disable-pip-version-check freeze --exclude-editable; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
