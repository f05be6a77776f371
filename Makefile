# `make` lists the targets. GPU=1 before or after any of them takes the lock with CUDA.

ifneq ($(findstring :,$(CURDIR)),)
$(error $(CURDIR) has a colon, which PATH cannot hold: move this clone)
endif

# With -j too, a target waits for the one before it
.NOTPARALLEL:

# Values from the command line or the environment may hold anything: make never expands them, and
# recipes read them as "$$REV", so that the shell never runs them.
REV ?= main
override REV := $(value REV)
override PYTHON := $(value PYTHON)
override GPU := $(value GPU)
export REV PYTHON GPU

LOCK := requirements$(if $(GPU),-gpu).txt
BIN := .venv/bin

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: install ## Run the whole pipeline and show its result
	@$(BIN)/python src/run.py

.PHONY: tutorial fast accurate
tutorial: ## Run the recipe of the Keras tutorial, with which params.yaml begins
fast: ## Run the recipe for a short training
accurate: ## Run the recipe for high accuracy within 100,000 parameters
tutorial fast accurate: install
	@$(BIN)/python src/run.py $@

.PHONY: report
report: install ## Write report.html: the last run beside that of REV, main unless given
	@$(BIN)/python src/report.py -- "$$REV"

.PHONY: gate
gate: install ## Check the last run against the gate of params.yaml
	@$(BIN)/python src/gate.py

.PHONY: hooks
hooks: install ## Teach git to check for the data before a push, and to merge dvc.lock
	@hook="$$(git rev-parse --git-path hooks)/pre-push" && \
	if [ -z "$$(git config core.hooksPath)" ] && \
			{ [ ! -e "$$hook" ] || [ "$$(readlink "$$hook")" = ../../hooks/pre-push ]; }; then \
		mkdir -p "$$(dirname "$$hook")" && rm -f "$$hook" && \
		printf '%s\n' '#!/bin/sh' '# From `make hooks`. Git runs it at the top of each worktree.' \
			'[ ! -e src/pushed.py ] || exec hooks/pre-push "$$@"' > "$$hook" && chmod +x "$$hook"; \
	elif ! grep -qsE "src/pushed.py|hooks/pre-push" "$$hook"; then \
		echo "make: $$hook is not ours to change: let it run hooks/pre-push" >&2; exit 1; \
	fi
	@git config merge.dvc-lock.name "Merge dvc.lock stage by stage"
	@# A branch may be older than hooks/python
	@git config merge.dvc-lock.driver \
		'$$(ls hooks/python 2>/dev/null || echo .venv/bin/python) src/merge_lock.py %O %A %B'
	@git config merge.dvc-lock.recursive binary
	@git config merge.ours.driver true

.PHONY: test
test: lint ## Lint, check the types and run all tests
	@$(BIN)/python -m pytest -m "slow or not slow"

.PHONY: lint
lint: install ## Lint and check the types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

.PHONY: install
install: ## Create .venv with what the lock lists; PYTHON names the Python for it
	@test -x $(BIN)/python && cmp -s $(LOCK) $(BIN)/installed.txt && \
	cmp -s environment/convline_startup.py .venv/lib/python3*/site-packages/convline_startup.py || \
	environment/install.sh $(LOCK)

.PHONY: lock
lock: install ## Compile the locks from pyproject.toml
	@for group in cpu gpu; do \
		UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal \
			--python-version 3.11 --generate-hashes --no-emit-index-url \
			--group $$group --group dev pyproject.toml \
			--output-file requirements$$(test $$group = cpu || echo -$$group).txt; \
	done
