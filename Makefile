# Everything is set up in .venv, inside this checkout.  Needed beforehand: Python 3.11 or newer, make,
# and a package index that pip can reach.
#
#   make demo    the support desk: first unguarded, then guarded
#   make test    all tests; those that need a server which is not installed are skipped, and say so
#   make test-services   installs Redis, PostgreSQL and Chromium (Debian) if missing, and runs the tests that need them
#   make test-mcp   the reference servers and the protocol's conformance suite, with and without the MCP gateway; needs npm,
#                   and fills .node-mcp from its registry
#   make check   what CI runs: format, lint, types, import contracts, all tests with those servers; a skip fails
#   make test-upstream   LangChain's own test suites with a policy inserted, 10 to 20 minutes; SUITES="agents" for some of them
#   make test-recipes   the recipes for frameworks without an adapter, each in an environment of its own; RECIPES=dspy for one
#   make test-versions   the adapter for LangChain in LangChain 1.2.12, 1.4, the newest, and with langchain-mcp-adapters; in
#                .venv-versions; not part of `make check`; ONLY="1.2.12 newest" for some of them
#   make fuzz    the laws of the language on 1,000,000 random cases; FUZZ="--seed 7" for other ones
#   make soak    10,000 calls into V8 isolates, half of them hostile; CALLS=n for more or fewer
#   make bench   speed, against the goals; writes bench/results.json; ONLY="logged large" for some parts of it
#   make load    1,000 runs at once for a minute, on SQLite, then in 4 processes on PostgreSQL and Redis: every verdict and
#                the log are checked; SECONDS=10 AT_ONCE=200 PROCESSES=2 ONLY=sqlite for less, JSON=FILE for programs
#   make bench-peers   the decision beside other engines, each in an environment of its own in .venv-peers; writes
#                docs/performance.md; ENGINES="cedar structs" for some of them, which writes nothing
#   make bench-agentdojo   recorded attacks, about half an hour; CORPUS=FILE says where the recordings are
#   make tables  the parser's tables anew, after a change of grammar/fence.lark
#   make fmt     format and mend what can be mended
#   make clean   remove .venv, caches and what the demo has left

VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := -n 2
CALLS  ?= 10000
SECONDS   ?= 60
AT_ONCE   ?= 1000
PROCESSES ?= 4
NODE_PACKAGES := @modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31 \
	@modelcontextprotocol/conformance@0.2.0-alpha.12
RECIPES ?= smolagents haystack dspy llama_index
CORPUS ?= ../shared/corpus/agentdojo_workspace_banking.jsonl.xz

# The first Python that is new enough and can make a virtual environment; `make PYTHON=...` overrides it.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

.PHONY: help demo test test-services test-mcp test-recipes services check format lint types imports fuzz soak bench bench-peers load bench-agentdojo .bench-agentdojo tables fmt clean test-versions test-upstream .test-upstream
.NOTPARALLEL:
.DEFAULT_GOAL := help

# $(call install,EXTRA): the virtual environment with this extra.  The stamp holds a checksum of
# pyproject.toml and the checkout's path, so it is done again when, and only when, one of them changes.
define install
	@if [ ! -e src/ringfence/dsl/__init__.py ]; then \
		echo "src/ringfence/dsl is not a link: run 'git config core.symlinks true && git checkout -- src'" >&2; exit 1; fi
	@want="$$(cksum < pyproject.toml) $(CURDIR)"; \
	if [ "$$(cat $(VENV)/.ready-$(1) 2>/dev/null)" != "$$want" ]; then \
		if ! grep -qs " $(CURDIR)$$" $(VENV)/.ready-* || ! $(BIN)/python -c "" 2>/dev/null; then \
			if [ -z "$(PYTHON)" ]; then \
				echo "no Python 3.11 or newer with venv and ensurepip: install one, or say make PYTHON=/path/to/python3" >&2; \
				exit 1; fi; \
			echo "making $(VENV) with $(PYTHON)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV) || exit 1; fi; \
		echo "installing ringfence[$(1)] into $(VENV)"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]' || exit 1; \
		echo "$$want" > $(VENV)/.ready-$(1); \
		if [ $(1) = dev ]; then echo "$$want" > $(VENV)/.ready-demo; fi; fi
endef

help:
	@sed -n 's/^#   //p' Makefile

demo:
	$(call install,demo)
	@$(BIN)/python -m examples.support_desk

test:
	$(call install,dev)
	$(BIN)/python -m pytest $(PYTEST)

# The tests start servers of their own on loopback.
services:
	@./.ci/services

test-services: services
	$(call install,dev)
	TEST_SERVICES=required $(BIN)/python -m pytest $(PYTEST) -m services

# An environment of its own, and the network for its set-up: the suites are downloaded, and run without one.
test-upstream:
	@$(MAKE) --no-print-directory VENV=$(VENV)-upstream .test-upstream

.test-upstream:
	$(call install,upstream)
	@$(BIN)/python -m tests.upstream $(SUITES)

test-versions:
	$(call install,dev)
	$(BIN)/python -m tests.versions $(ONLY)

# Node 22 comes from the registry as well where the machine has an older one.
test-mcp:
	$(call install,dev)
	@want="$(NODE_PACKAGES) $$(node --version)"; \
	if [ "$$(cat .node-mcp/.ready 2>/dev/null)" != "$$want" ]; then \
		node -e 'process.exit(process.versions.node.split(".")[0] < 22 ? 1 : 0)' && more= || more=node@22; \
		echo "installing the judges into .node-mcp"; mkdir -p .node-mcp; \
		npm install --prefix .node-mcp --no-audit --no-fund --no-package-lock --loglevel error $(NODE_PACKAGES) $$more || exit 1; \
		echo "$$want" > .node-mcp/.ready; fi
	$(BIN)/python -m tests.adapters.mcp.judges

# `make test` and `make test-services` in one: every test once, none skipped for want of a server or of a wall.
check: format lint types imports services
	$(call install,dev)
	TEST_SERVICES=required TEST_ISOLATES=required $(BIN)/python -m pytest $(PYTEST)

# What each recipe is tested with; not part of `make check`, because each brings a framework along.
smolagents  := smolagents>=1.24,<2
haystack    := haystack-ai>=3,<4
dspy        := dspy>=3.2,<4
llama_index := llama-index-core>=0.14.20,<0.15

test-recipes: $(addprefix .recipe-,$(RECIPES))

.recipe-%:
	@home=$(VENV)-recipes/$*; want="$$(cksum < pyproject.toml) $(CURDIR) $($*)"; \
	if [ -z "$($*)" ]; then echo "there is no recipe for $*" >&2; exit 1; fi; \
	if [ "$$(cat $$home/.ready 2>/dev/null)" != "$$want" ] || ! $$home/bin/python -c "" 2>/dev/null; then \
		if [ -z "$(PYTHON)" ]; then echo "no Python 3.11 or newer: say make PYTHON=/path/to/python3" >&2; exit 1; fi; \
		echo "making $$home with $($*)"; rm -rf $$home; $(PYTHON) -m venv $$home || exit 1; \
		$$home/bin/python -m pip install --quiet --disable-pip-version-check --editable . 'pytest>=8.3' '$($*)' || exit 1; \
		echo "$$want" > $$home/.ready; fi; \
	PYTHONPATH=. $$home/bin/python -m pytest -q -c tests/recipes/pytest.ini --rootdir . \
		--confcutdir tests/recipes -p no:cacheprovider tests/recipes/check_$*.py

format:
	$(call install,dev)
	$(BIN)/ruff format --check .

lint:
	$(call install,dev)
	$(BIN)/ruff check .

types:
	$(call install,dev)
	$(BIN)/mypy

imports:
	$(call install,dev)
	$(BIN)/lint-imports

fuzz:
	$(call install,dev)
	@$(BIN)/python -m tests.fuzz $(FUZZ)

soak:
	$(call install,dev)
	$(BIN)/python -m tests.plugins.isolate.soak $(CALLS)

bench:
	$(call install,speed)
	$(BIN)/python -m bench $(ONLY)

# Bounded by SECONDS for each part; the servers are its own, on loopback, and end with it.
load:
	$(call install,dev)
	@$(BIN)/python -m bench.load $(ONLY) --seconds $(SECONDS) --at-once $(AT_ONCE) --processes $(PROCESSES) $(if $(JSON),--json > $(JSON))

# Our own row runs in .venv, every other engine in an environment of its own.
bench-peers:
	$(call install,dev)
	@$(BIN)/python -m bench.peers --environments $(VENV)-peers $(ENGINES)

# An environment of its own: the benchmark brings a dozen model clients along.
bench-agentdojo:
	$(MAKE) --no-print-directory VENV=$(VENV)-bench .bench-agentdojo

.bench-agentdojo:
	$(call install,bench)
	$(BIN)/python -m bench.agentdojo --corpus $(CORPUS) $(if $(SAMPLE),--sample $(SAMPLE))

# Data beside the grammar, so that no process makes them; a test fails where they are not the grammar's.
tables:
	$(call install,dev)
	$(BIN)/python -m ringfence.dsl.lalr

fmt:
	$(call install,dev)
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-* .node-mcp .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
