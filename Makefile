# The habits' names for the commands; each can be run by hand as it stands here.
# `make demo` and `make test` need root: they install packages and boot Debian hosts in namespaces.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
PACKAGES := mmdebstrap systemd-container iproute2 nftables openssh-client curl python3-venv \
	chromium chromium-driver zbar-tools

.PHONY: setup demo test check lint types unit page slow lab bench bench-fleet bench-relay bench-scale bench-backup clean

setup: $(VENV)/.ready

# Debian's packages first: a bare machine has neither venv nor the lab's tools.
$(VENV)/.ready: pyproject.toml constraints.txt
	@missing=$$(dpkg-query --show --showformat '$${db:Status-Abbrev}$${Package}\n' $(PACKAGES) 2>&1 | grep -v '^ii ' || true); \
	if [ -n "$$missing" ]; then \
		apt-get --quiet --quiet update && \
		DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes --no-install-recommends install $(PACKAGES); \
	fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python demo/run.py

# All parts, also behind one that fails: one run tells everything that is wrong.
test: setup
	$(MAKE) --keep-going check slow lab

check: lint types unit page

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/pytest -n 2 -m "not slow" tests/unit

# The status page in Chromium; a process of its own, since pyinfra changes Python's sockets for all that share one.
page: setup
	$(BIN)/pytest tests/browser

slow: setup
	$(BIN)/pytest -n 2 -m slow tests/unit

# Three files at a time, each with a lab of its own, also on two cores: much of what the tests do is waiting (for a
# guard, for a host). In the order of tests/lab/conftest.py, not that of pytest-xdist, which takes many tests for long.
lab: setup
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder tests/lab

# hearth beside Ansible, mitogen and stock pyinfra: QUICK=1 runs everything once, FULL=1 every case.
bench: setup $(BENCH_VENV)/.ready
	$(BIN)/python -m demo.bench --plan $(if $(QUICK),quick,$(if $(FULL),full,usual)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(BUDGET),--budget $(BUDGET)) $(if $(ONLY),--only $(ONLY))

# Ansible and mitogen, in versions that fit together, away from hearth's own environment.
$(BENCH_VENV)/.ready: demo/bench/constraints.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --constraint demo/bench/constraints.txt ansible-core mitogen
	touch $@

# A fleet of thousands without a host: HOUSEHOLDS=5000 NIGHTS=90
bench-fleet: setup
	$(BIN)/python demo/bench_fleet.py

# N tunnels at once against one relay; clients and relay share this machine.
bench-relay: setup
	$(BIN)/python demo/bench_relay.py $(N)

# An inventory of N households, up to the first connection; and a relay with half of them, near and far.
bench-scale: setup
	$(BIN)/python demo/bench_scale.py $(N)

# A night's backup of a nearly unchanged box over a home's line, beside borg: SIZE=2 (GB), ROUNDS=3.
bench-backup: setup
	SIZE=$(SIZE) ROUNDS=$(ROUNDS) $(BIN)/python demo/bench_backup.py

clean: setup
	$(BIN)/hearth lab down
	rm -rf $(VENV) $(BENCH_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
