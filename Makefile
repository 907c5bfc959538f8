# `make run` and `make test` need python3 (3.11 or newer), make and git; all else goes into .venv.
# Another interpreter: make run PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Older versions of pip build some packages in a way they warn about themselves.
export PIP_USE_PEP517 := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test install lint types tests audit faults resilience bench bench-costs fmt stubs lock clean

help: ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1 \2/p' Makefile | awk '{ $$2 = sprintf("%-11s", $$2); print }'

run: $(INSTALLED) ## Serve gRPC and JSON-RPC with a PostgreSQL and a Valkey of its own, until Ctrl-C
	@exec $(BIN)/affix up

test: lint types audit tests ## Check everything: lint, types, protobuf, stubs, the supply chain, the test suite

install: $(INSTALLED) ## Make or refresh .venv

lint: $(INSTALLED) ## Check style, the protobuf definitions and that the stubs are fresh
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/buf lint
	@$(BIN)/python protos/generate.py --check
	@$(BIN)/hadolint deploy/docker/Dockerfile

types: $(INSTALLED) ## Check types
	@$(BIN)/mypy --no-error-summary

audit: $(INSTALLED) ## Look for known weaknesses in the code, and in what it depends on where the advisories can be reached
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive server shim cli
	@$(BIN)/python locks/audit.py

# These mostly wait for stores to fail and come back, and for clients that stand still: they run beside the others.
BESIDE := tests/resilience tests/hostile tests/tls

tests: $(INSTALLED) ## Run the test suite alone
	@$(BIN)/pytest -q $(BESIDE) >.beside.log 2>&1 & first=$$!; \
	$(BIN)/pytest -q $(BESIDE:%=--ignore=%); second=$$?; \
	wait $$first; first=$$?; cat .beside.log; rm .beside.log; \
	exit $$((first | second))

# Of the run: what decides on everything, how long faults are struck, and which (docs/reliability.md).
SEED ?= 1
SECONDS ?= 60
FAULTS ?= all

faults: $(INSTALLED) ## Strike the stores under load and judge the recorded history: SEED=1 SECONDS=60
	@$(BIN)/python -m tests.faults --seed $(SEED) --seconds $(SECONDS) --only $(FAULTS)

resilience: $(INSTALLED) ## Take each mechanism of the storage protocol out and watch a scenario fail; crashes; failover
	@$(BIN)/pytest -q tests/resilience

# Under five minutes, on a machine that does nothing else meanwhile; wrk, h2load and a C compiler have to be there.
bench: $(INSTALLED) ## Measure Affix beside what limits it and beside plain code (docs/performance.md)
	@$(BIN)/python -m bench compare

bench-costs: $(INSTALLED) ## Measure how cost grows: lists, callers, memory, starting, events, workers (a quarter of an hour)
	@$(BIN)/python -m bench costs

fmt: $(INSTALLED) ## Format the code and fix what Ruff can
	@$(BIN)/ruff check --quiet --fix || true
	@$(BIN)/ruff format

stubs: $(INSTALLED) ## Regenerate the stubs from protos/
	@$(BIN)/python protos/generate.py

# UPGRADE=--upgrade takes the newest versions that pyproject.toml allows; else those locked stay where they can.
UPGRADE ?=
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
  --no-header $(UPGRADE) pyproject.toml

lock: $(INSTALLED) ## Lock the dependencies of pyproject.toml, with hashes, and list their licences
	@$(LOCK) --extra cli --output-file locks/server.txt >/dev/null
	@$(LOCK) --extra dev --output-file locks/dev.txt >/dev/null
	@rm -f $(INSTALLED) && $(MAKE) --no-print-directory install
	@$(BIN)/python locks/licences.py

clean: ## Remove .venv and caches; data in .affix stay
	@rm -rf .beside.log .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again whenever the dependencies change.
$(INSTALLED): pyproject.toml locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Affix needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	       "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into .venv (a minute or two, this once)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement locks/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
