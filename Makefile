# Thin, over cargo, npm and xtask. `make up` needs Rust, a C compiler, Node.js 20 and make; `make test` and `make lint` also Python 3 with
# venv; `make test` also SoftHSM2, or apt-get to fetch it (no root). The rest they install.

CARGO ?= cargo
NPM := npm --no-fund --no-audit --no-update-notifier --loglevel=error
# Tools from npm, pinned in the lock files.
TOOLS := dev/node_modules/.package-lock.json
CONTRACT_TOOLS := contracts/node_modules/.package-lock.json
PYTHON_TOOLS := .tools/done
BUF := dev/node_modules/.bin/buf
ARGS ?=
BENCH ?=
# What is delivered, and so what is checked and tested: keys with the SDK of AWS too.
BACKENDS := --features seqd/backends

# libFuzzer and its sanitizer are there in nightly only.
FUZZ_RUST ?= +nightly
FUZZ_SECS ?= 60
CARGO_FUZZ := .tools/cargo/bin/cargo-fuzz

.PHONY: help up demo test test-long fuzz lint bench fmt build tools

help:
	@echo 'make up      the whole system on this machine: private L1 and L2, Postgres, five services, six sequencers'
	@echo 'make demo    the journey from a new key to the final withdrawal, against a fresh stack'
	@echo 'make test    every test        make lint   every check        make bench [BENCH=name]   the figures'
	@echo 'make test-long [INDEX_KILLS=200] [INDEX_SEED=1]   the indexer killed so many times in its backfill,'
	@echo '               [KEYS_ATTACKS=100000] [KEYS_SEED=1]   the guard of keys attacked so often while replicas are killed'
	@echo '               [LIFECYCLE_FAULTS=1260] [LIFECYCLE_FAULTS_SEED=1]   so many operations under fire,'
	@echo '               [LIFECYCLE_WORKFLOWS=100]   so many fleet operations, schedules and approvals'
	@echo 'make fuzz [FUZZ_SECS=60]   each reader of keys under libFuzzer; needs a nightly toolchain'

$(TOOLS): dev/package.json dev/package-lock.json
	$(NPM) ci --ignore-scripts --prefix dev
	@touch $@

$(CONTRACT_TOOLS): contracts/package.json contracts/package-lock.json
	$(NPM) ci --ignore-scripts --prefix contracts
	@touch $@

$(PYTHON_TOOLS): deploy/requirements.txt
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check --requirement deploy/requirements.txt
	@touch $@

tools: $(TOOLS)

up: $(TOOLS)
	$(CARGO) build --package dev --package seqctl
	@$(CARGO) run --quiet --package dev -- up $(ARGS)

demo: $(TOOLS)
	$(CARGO) build --package dev
	@$(CARGO) run --quiet --package dev -- demo $(ARGS)

build:
	$(CARGO) build --workspace --all-targets

test: $(TOOLS) $(CONTRACT_TOOLS)
	$(NPM) test --prefix contracts
	$(CARGO) build --package seqd --package seqctl --package testkit --bins $(BACKENDS)
	$(CARGO) run --quiet --package testkit --bin testdb -- start
	$(CARGO) test --workspace --no-fail-fast $(BACKENDS); status=$$?; \
	  $(CARGO) run --quiet --package testkit --bin testdb -- stop; exit $$status

# What takes too long for every change: some four hours on two busy cores, added up from parts and never timed as a whole: 1,260 operations under
# fire (timed: 24, at 4 to 53 s while the machine was busy with builds), 100 workflows at 10 s (timed: 16 minutes), half an hour for the rest.
test-long: export INDEX_KILLS ?= 200
test-long: export KEYS_ATTACKS ?= 100000
test-long: export KEYS_FUZZ ?= 200000
test-long: export TRAIL_DAMAGES ?= 10000
test-long: export LIFECYCLE_LIVES ?= 200
test-long: export LIFECYCLE_FAULTS ?= 1260
test-long: export LIFECYCLE_WORKFLOWS ?= 100
test-long: export LIFECYCLE_STOP_SECS ?= 30
test-long: $(TOOLS)
	$(CARGO) build --package seqd --package testkit --bins
	$(CARGO) run --quiet --package testkit --bin testdb -- start
	$(CARGO) test --package trail --test main damages && \
	  $(CARGO) test --package keys --test main fuzz && \
	  $(CARGO) test --package lifecycle --lib follow && \
	  $(CARGO) test --package indexer --test main kills && \
	  $(CARGO) test --package lifecycle --test main faults && \
	  $(CARGO) test --package keys --test main guard_attack; status=$$?; \
	  $(CARGO) run --quiet --package testkit --bin testdb -- stop; exit $$status

$(CARGO_FUZZ):
	$(CARGO) install --quiet --locked --root .tools/cargo cargo-fuzz@0.13.2

# With the versions that we ship. What is found new stays beside the build; what fails is named and kept in fuzz/artifacts.
fuzz: $(CARGO_FUZZ)
	cp Cargo.lock fuzz/Cargo.lock
	for target in $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))); do \
	  mkdir -p fuzz/target/corpus/$$target && \
	  PATH=$(CURDIR)/.tools/cargo/bin:$$PATH $(CARGO) $(FUZZ_RUST) fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECS) -timeout=20 || exit 1; \
	done

lint: $(TOOLS) $(CONTRACT_TOOLS) $(PYTHON_TOOLS)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet $(BACKENDS) -- --deny warnings
	$(CARGO) xtask check
	$(BUF) lint proto
	$(BUF) format --diff --exit-code proto
	$(NPM) run check --prefix contracts
	.tools/bin/hadolint deploy/Dockerfile
	.tools/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

fmt: $(TOOLS)
	$(CARGO) fmt --all
	$(BUF) format --write proto

bench: $(TOOLS)
	$(CARGO) build --release --package dev --package seqd --package benches
	$(CARGO) run --release --quiet --package benches -- $(BENCH)
