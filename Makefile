# `make` lists the targets. With GPU=1, any target uses the requirements with CUDA.

ifneq ($(findstring :,$(CURDIR)),)
$(error $(CURDIR) has a colon, which PATH cannot hold: move this clone)
endif

# Targets run one after the other, even with -j
.NOTPARALLEL:

# Values from the command line or the environment are untrusted: make must not expand them, and
# recipes read them as "$$REV", so that the shell does not run them.
REV ?= main
override REV := $(value REV)
override PYTHON := $(value PYTHON)
override GPU := $(value GPU)
export REV PYTHON GPU

LOCK := requirements$(if $(GPU),-gpu).txt
BIN := .venv/bin

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: install ## Run the whole pipeline and show its result
	@$(BIN)/convline run

.PHONY: tutorial fast accurate cifar10
tutorial: ## Run the recipe of the Keras tutorial, the defaults of params.yaml
fast: ## Run the recipe that trains fastest
accurate: ## Run the most accurate recipe, with fewer than 100,000 weights
cifar10: ## Run the recipe for colour images of things, on the dataset in params.yaml
tutorial fast accurate cifar10: install
	@$(BIN)/convline run $@

.PHONY: report
report: install ## Write report.html, which compares the last run with REV (default: main)
	@$(BIN)/convline report -- "$$REV"

.PHONY: gate
gate: install ## Check the last run against the thresholds in params.yaml
	@$(BIN)/convline gate

.PHONY: deps
deps: install ## Write the code and parameters that stages depend on into dvc.yaml
	@$(BIN)/convline deps

.PHONY: hooks
hooks: install ## Let git check the remote's data before a push, and merge dvc.lock
	@hook="$$(git rev-parse --git-path hooks)/pre-push" && \
	if [ -z "$$(git config core.hooksPath)" ] && \
			{ [ ! -e "$$hook" ] || [ "$$(readlink "$$hook")" = ../../hooks/pre-push ]; }; then \
		mkdir -p "$$(dirname "$$hook")" && rm -f "$$hook" && \
		printf '%s\n' '#!/bin/sh' '# From `make hooks`. Git runs it at the top of each worktree.' \
			'[ ! -x hooks/pre-push ] || exec hooks/pre-push "$$@"' > "$$hook" && chmod +x "$$hook"; \
	elif ! grep -qsE "src/pushed.py|hooks/pre-push" "$$hook"; then \
		echo "make: $$hook is not ours to change: let it run hooks/pre-push" >&2; exit 1; \
	fi
	@git config merge.dvc-lock.name "Merge dvc.lock stage by stage"
	@# Older branches do not have hooks/python
	@git config merge.dvc-lock.driver \
		'$$(ls hooks/python 2>/dev/null || echo .venv/bin/python) src/merge_lock.py %O %A %B'
	@git config merge.dvc-lock.recursive binary
	@git config merge.ours.driver true

.PHONY: test
test: lint ## Lint, check types and run all tests
	@$(BIN)/python -m pytest -m "slow or not slow"

.PHONY: lint
lint: install ## Lint, check spelling and check types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@git ls-files -z --cached --others --exclude-standard | xargs -0 $(BIN)/codespell
	@$(BIN)/mypy

.PHONY: format
format: install ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

.PHONY: pre-commit
pre-commit: install ## Run the pre-commit hooks on all files: format, spelling, ends of files, size
	@$(BIN)/pre-commit run --all-files

.PHONY: install
install: ## Create .venv from the locked requirements; PYTHON selects the Python
	@test -x $(BIN)/python && cmp -s $(LOCK) $(BIN)/installed.txt && \
	cmp -s environment/convline_startup.py .venv/lib/python3*/site-packages/convline_startup.py && \
	cmp -s environment/convline $(BIN)/convline || \
	environment/install.sh $(LOCK)

.PHONY: lock
lock: install ## Lock the requirements of pyproject.toml
	@# Renovate repeats the command that uv writes into a lock, and reads only --option=value
	@for group in cpu gpu; do \
		$(BIN)/uv pip compile --quiet --universal --python-version=3.11 --generate-hashes \
			--group=$$group --group=serve --group=dev pyproject.toml \
			--output-file=requirements$$(test $$group = cpu || echo -$$group).txt; \
	done
	@$(BIN)/uv pip compile --quiet --universal --python-version=3.11 --generate-hashes \
		--group=serve --constraints=requirements.txt --output-file=requirements-serve.txt
