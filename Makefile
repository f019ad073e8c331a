# The two commands of the README, on a fresh machine: make demo, make test. They need make, and do all else themselves.

# Another Python than the one that scripts/find-python finds: 3.11 or newer, with venv.
PYTHON ?=
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --quiet --disable-pip-version-check
# What no Python package brings: Python and a message bus; for the tests also a second etcd, certificates and machines.
# What needs one of TEST_PACKAGES is skipped without it.
DEMO_PACKAGES := python3-venv dbus-daemon
# The Debian suites whose etcd and Prometheus the tests run too, fetched into .cache.
ETCD_SUITES   := trixie sid
PROMETHEUS_SUITE := trixie
ANSIBLE := 'ansible-core>=2.17,<2.20' 'ansible-lint>=25,<27'
TEST_PACKAGES := bash-completion chromium curl debootstrap etcd-server fish groff-base haproxy iproute2 libfaketime man-db mandoc nginx openssh-client openssl systemd-container zsh
# What builds and examines Debian packages, and a repository of them; without it their tests are skipped.
DEB_PACKAGES  := debhelper dh-python gnupg lintian pybuild-plugin-pyproject python3-hatchling
# What packs and strips the self-contained build.
BUNDLE_PACKAGES := binutils libpython3-dev squashfs-tools
# What packs the container image.
IMAGE_PACKAGES := umoci
ARGS   ?=

MINUTES ?= 5

# The packages come first, and the virtual environment after them.
.NOTPARALLEL:
.PHONY: demo quick test help check matrix coverage fuzz mutants lint types layers man packages-demo packages-test etcds \
  prometheus ansible bench deb apt-repo packages-deb bundle rpm packages-bundle image packages-image kubernetes manifests \
  release release-check packages-release clean

demo: packages-demo $(VENV)/.demo $(if $(findstring --prometheus,$(ARGS))$(findstring --dashboard,$(ARGS)),prometheus) ## five nodes, one slot: a rollout in a minute
	$(BIN)/python -m demo $(ARGS)

# Where PYTHONDONTWRITEBYTECODE is set, half of the time would go into compiling the same modules again.
quick: $(VENV)/.ready ## the unit tests while working: few examples, without the slowest
	env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX=$(CURDIR)/.cache/pycache HYPOTHESIS_PROFILE=quick BIN=$(BIN) ./scripts/run-unit-tests -m "not slow" $(ARGS)

test: packages-test etcds prometheus ansible check ## lint, types, layers, all tests; as root on real machines too
	BIN=$(BIN) ./scripts/run-tests $(ARGS)

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

check: lint types layers ## lint, types and layers: before each commit

# MEMBER: lowest, dbus-next, trixie or debian-13 alone
matrix: packages-test $(VENV)/.ready ## the lowest versions of our dependencies, dbus-next, and Python 3.13
	$(BIN)/python -m tests.matrix $(MEMBER)

coverage: $(VENV)/.ready ## the branches of agent/ and lock/ that no unit test takes
	mkdir -p .cache
	HYPOTHESIS_PROFILE=quick $(BIN)/coverage run -m pytest tests/unit/agent tests/unit/lock -q -m "not slow"
	$(BIN)/coverage report

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

man: $(VENV)/.ready ## the manual pages, into dist/man
	$(BIN)/python -m release.man

bench: packages-test $(VENV)/.ready ## the figures of docs/benchmarks.md
	$(BIN)/python -m bench.footprint
	$(BIN)/python -m bench.contention
	$(BIN)/python -m bench.handover
	$(BIN)/python -m bench.rollout
	$(BIN)/python -m bench.scale
	$(BIN)/python -m bench.idle
	$(BIN)/python -m bench.server_calls
	$(BIN)/python -m bench.forecast

kubernetes: $(VENV)/.ready ## fetch kubectl and the models of the API, for the tests of contrib/kubernetes
	./scripts/fetch-debian kubectl kubectl usr/bin/kubectl sid
	$(PIP) install --use-pep517 --editable '.[kubernetes]'

manifests: kubernetes ## contrib/kubernetes, against the schemas of Kubernetes' API
	$(BIN)/pytest tests/release/test_kubernetes.py $(ARGS)

# ARGS: --only release.wheel release.deb
release: packages-release $(VENV)/.ready ## every package, checksums and the list of parts, into dist/
	$(BIN)/python -m release.everything $(ARGS)

release-check: packages-release $(VENV)/.ready ## the same, built twice: the two must be identical
	$(BIN)/python -m release.everything --check $(ARGS)

# Each kind of package has its list.
packages-release:
	@PYTHON="$(PYTHON)" ./scripts/need-packages $(DEMO_PACKAGES) $(DEB_PACKAGES) $(BUNDLE_PACKAGES) $(IMAGE_PACKAGES)

deb: packages-deb $(VENV)/.ready ## the packages for Debian 12, and for Debian 13 and later, into dist/
	$(BIN)/python -m release.deb

# KEY: a fingerprint in the caller's GnuPG keyring
apt-repo: ## an apt repository of these packages in dist/apt, signed with KEY
	@[ -n "$(KEY)" ] || { echo "name the key that signs the repository: make apt-repo KEY=FINGERPRINT" >&2; exit 2; }
	$(MAKE) deb
	$(BIN)/python -m release.apt_repo "$(KEY)"

packages-deb:
	@PYTHON="$(PYTHON)" ./scripts/need-packages $(DEB_PACKAGES)

# dist/locksmith-VERSION-x86-64.tar.xz and .raw
bundle: packages-bundle $(VENV)/.ready ## the self-contained build, as an archive and as a system extension
	$(BIN)/python -m release.bundle

rpm: packages-bundle $(VENV)/.ready ## the RPMs of the self-contained build: of a node, and of the server
	$(BIN)/python -m release.rpm

image: packages-image $(VENV)/.ready ## the container images of the daemon and the server
	$(BIN)/python -m release.image

packages-image:
	@PYTHON="$(PYTHON)" ./scripts/need-packages $(IMAGE_PACKAGES)

packages-demo:
	@PYTHON="$(PYTHON)" ./scripts/need-packages $(DEMO_PACKAGES)

packages-bundle:
	@PYTHON="$(PYTHON)" ./scripts/need-packages $(DEMO_PACKAGES) $(BUNDLE_PACKAGES)

packages-test:
	@PYTHON="$(PYTHON)" ./scripts/need-packages $(DEMO_PACKAGES) -- $(TEST_PACKAGES) $(DEB_PACKAGES) $(BUNDLE_PACKAGES) $(IMAGE_PACKAGES)

etcds: ## fetch the etcd of other Debian suites, for the tests
	./scripts/fetch-debian etcd etcd-server usr/bin/etcd $(ETCD_SUITES)

prometheus: ## fetch Prometheus and promtool, which test the alerts of contrib/prometheus
	./scripts/fetch-debian prometheus prometheus usr/bin/prometheus $(PROMETHEUS_SUITE)
	./scripts/fetch-debian promtool promtool usr/bin/promtool $(PROMETHEUS_SUITE)

ansible: .cache/ansible/.ready ## fetch Ansible, for the tests of contrib/ansible

# Its own environment: the project imports nothing of it.
.cache/ansible/.ready: Makefile | $(BIN)/pip
	$(BIN)/python -m venv .cache/ansible
	.cache/ansible/bin/pip --quiet --disable-pip-version-check install $(ANSIBLE)
	touch $@

# The last file that venv makes. Not made again when it is old: the packages in it would be lost.
$(BIN)/pip:
	python=$$(./scripts/find-python $(PYTHON)) && "$$python" -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/pip
	$(PIP) install --use-pep517 --editable '.[demo]'
	touch $@

$(VENV)/.ready: pyproject.toml | $(BIN)/pip
	$(PIP) install --use-pep517 --editable '.[dev]'
	touch $(VENV)/.demo $@

$(VENV)/.mutants: $(VENV)/.ready
	$(PIP) install --use-pep517 --editable '.[mutants]'
	touch $@

clean: ## remove what these commands have made, the virtual environment too
	rm -rf $(VENV) mutants .cache .*_cache .hypothesis
