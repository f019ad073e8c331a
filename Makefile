# The two commands of the README, on a fresh machine with Python 3.11: make demo, make test.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
# What no Python package brings: a message bus for the demo; for the tests, a second etcd, certificates and machines.
DEMO_PACKAGES := dbus-daemon
# The Debian suites whose etcd the tests run too, fetched into .cache/etcd.
ETCD_SUITES   := trixie sid
TEST_PACKAGES := curl dbus-daemon debootstrap etcd-server libfaketime openssl systemd-container
ARGS   ?=

MINUTES ?= 5

.PHONY: demo test help check fuzz mutants lint types layers packages-demo packages-test etcds bench clean

demo: packages-demo $(VENV)/.ready ## five nodes, one slot: a rollout in a minute
	$(BIN)/python -m demo $(ARGS)

test: packages-test etcds check ## lint, types, layers, all tests; as root on real machines too
	BIN=$(BIN) ./scripts/run-tests $(ARGS)

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

check: lint types layers ## lint, types and layers: before each commit

fuzz: $(VENV)/.ready ## a million broken inputs; then whole fleets in storms, for MINUTES on all cores
	$(BIN)/python -m tests.junk.mutate
	$(BIN)/python -m tests.sim.fuzz --minutes $(MINUTES)

# MODULE="queue decide": these again; ARGS: --minutes 20 (the next run continues), --again, --show, --jobs 2
mutants: $(VENV)/.mutants ## change the core in one place after another: does a test fail?
	$(BIN)/python -m tests.mutants $(MODULE) $(ARGS)

lint: $(VENV)/.ready ## ruff, spelling, and the words of docs/words.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python scripts/check_words.py

types: $(VENV)/.ready ## mypy, strict
	$(BIN)/mypy

layers: $(VENV)/.ready ## which package may import which
	$(BIN)/lint-imports

bench: packages-test $(VENV)/.ready ## the figures of docs/benchmarks.md
	$(BIN)/python -m bench.footprint
	$(BIN)/python -m bench.contention
	$(BIN)/python -m bench.handover
	$(BIN)/python -m bench.rollout
	$(BIN)/python -m bench.scale
	$(BIN)/python -m bench.idle
	$(BIN)/python -m bench.forecast

packages-demo:
	./scripts/need-packages $(DEMO_PACKAGES)

packages-test:
	./scripts/need-packages $(TEST_PACKAGES)

etcds: ## fetch the etcd of other Debian suites, for the tests
	./scripts/fetch-etcd $(ETCD_SUITES)

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "locksmith needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(VENV)/.mutants: $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[mutants]'
	touch $@

clean: ## remove what these commands have made, the virtual environment too
	rm -rf $(VENV) mutants .cache .*_cache .hypothesis
