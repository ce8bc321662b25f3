# Braid from source: `make demo` shows it, `make test` checks it. Both install and build what is missing first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# rustup's Rust goes before the distribution's; under sudo that of the user who called it.
ifneq ($(SUDO_USER),)
RUST_HOME := $(shell getent passwd $(SUDO_USER) | cut -d: -f6)
ifneq ($(wildcard $(RUST_HOME)/.rustup),)
export RUSTUP_HOME ?= $(RUST_HOME)/.rustup
endif
else
RUST_HOME := $(HOME)
endif
export PATH := $(RUST_HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin
# The same for maturin, cargo test and clippy, so that none builds again what another has built.
export PYO3_BUILD_EXTENSION_MODULE := 1
export PYO3_PYTHON := $(abspath .venv/bin/python)
# Labs start hundreds of programs, each of which would compile its modules again.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
STAMPS := build/stamps
# Of make's jobs it knows nothing: a server of them that it cannot reach is worth a warning to it for every crate.
CARGO := env -u MAKEFLAGS -u MFLAGS cargo
MANIFEST := --manifest-path dataplane/Cargo.toml
TARGET = $(or $(CARGO_TARGET_DIR),dataplane/target)
RUST_SOURCES := $(shell find dataplane -path dataplane/target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
ROOMS := braid edge intermediate gateway dns content topology dataplane lab bench

# Tests that need nothing but memory, half of them, so that two run at a time.
IN_MEMORY := not netns and not compose and not bench
FIRST := tests/bench tests/braid tests/topology

ARGS ?=
PYTEST ?=
RUST ?=

.PHONY: help setup build demo test lint lint-ruff lint-mypy lint-fmt lint-clippy check-rust check-root \
	test-image test-rust test-memory test-memory-first test-memory-rest test-namespaces test-python compose-images bench bench-quick lock clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install missing system packages (root); with RUST=1 the Rust toolchain too
	@tools/setup.sh $(if $(RUST),--rust)

check-rust:
	@tools/setup.sh --cargo

check-root:
	@if [ "$$(id -u)" != 0 ]; then echo "make: network namespaces need root: sudo make $(MAKECMDGOALS)" >&2; exit 1; fi

build: setup check-rust $(STAMPS)/native $(STAMPS)/link ## Python environment in .venv, the extension module, the lab's programs

$(STAMPS)/venv: constraints.txt
	@echo "build: Python packages into $(VENV)"
	@python=$$(tools/setup.sh --python); \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		rm -rf $(VENV); "$$python" -m venv $(VENV); \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: -r constraints.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/native: $(STAMPS)/venv $(RUST_SOURCES) pyproject.toml dataplane/_native.pyi
	@echo "build: the data plane (Rust; some minutes the first time)"
	@VIRTUAL_ENV=$(abspath $(VENV)) PATH="$(abspath $(BIN)):$$PATH" PIP_QUIET=1 $(BIN)/maturin develop --release
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/link: $(STAMPS)/venv $(RUST_SOURCES)
	@echo "build: link emulator, traffic generator and micro-benchmarks"
	@$(CARGO) build --release --locked $(MANIFEST) --package braid-link --package braid-bench
	@if [ $(TARGET) != dataplane/target ]; then \
		for program in braid-link braid-traffic braid-micro; do install -D -m 755 -t dataplane/target/release $(TARGET)/release/$$program; done; \
	fi
	@mkdir -p $(STAMPS) && touch $@

demo: check-root build ## the whole thing in network namespaces on this machine (root); ARGS=--once runs unattended
	@$(BIN)/python -m lab.demo $(ARGS)

test: build ## everything: lint, Rust tests, Python tests in memory, in namespaces and with compose
	@tools/setup.sh --test
	@# The longest first, and the short ones fill what is left of two processors.
	@$(MAKE) --jobs=3 --output-sync=target test-memory test-rust test-image lint
	@$(MAKE) test-namespaces

lint: lint-ruff lint-mypy lint-fmt lint-clippy ## formatting, types and lints of Python and Rust

lint-ruff: $(STAMPS)/venv
	@echo "lint: ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .

lint-mypy: $(STAMPS)/venv
	@echo "lint: mypy"; $(BIN)/mypy --strict $(addprefix -p ,$(ROOMS))

lint-fmt: check-rust
	@if $(CARGO) fmt --version >/dev/null 2>&1; then echo "lint: cargo fmt"; $(CARGO) fmt $(MANIFEST) --all --check; \
		else echo "lint: SKIPPED cargo fmt: rustfmt is not installed"; fi

lint-clippy: check-rust $(STAMPS)/venv
	@if $(CARGO) clippy --version >/dev/null 2>&1; then echo "lint: clippy"; \
		$(CARGO) clippy $(MANIFEST) --locked --workspace --all-targets --quiet -- -D warnings; \
		else echo "lint: SKIPPED clippy: it is not installed"; fi

test-rust: check-rust ## the Rust tests
	@$(CARGO) test $(MANIFEST) --locked --workspace --quiet

test-memory: test-memory-first test-memory-rest

test-memory-first: build
	@$(BIN)/python -m pytest -q -rs -m "$(IN_MEMORY)" $(FIRST)

test-memory-rest: build
	@$(BIN)/python -m pytest -q -rs -m "$(IN_MEMORY)" $(FIRST:%=--ignore=%)

# Built while other tests run. Whether it could be is told by the tests that need it.
test-image: build
	@$(BIN)/python -m tests.compose.images || true

test-namespaces: build
	@$(BIN)/python -m tools.namespaces

test-python: build ## the Python tests, one after the other; PYTEST="-k name" narrows them
	@tools/setup.sh --test
	@$(BIN)/python -m pytest -rs -m "not bench" $(PYTEST)

compose-images: build ## base images for compose where no image registry can be reached (root)
	@tools/images.sh

bench: check-root build ## measure beside others, write docs/performance.md (root); WIREGUARD_GO=, NEBULA= name peers
	@$(BIN)/python -m bench $(ARGS)

bench-quick: check-root build ## the same in under 3 minutes, for a first impression (root)
	@$(BIN)/python -m bench --quick $(ARGS)

lock: ## pin the Python dependencies again
	@tools/lock.sh

clean: ## remove what was built
	rm -rf build dist $(VENV) dataplane/target dataplane/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
