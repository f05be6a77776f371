# `make` lists the targets. GPU=1 before or after any of them takes the lock with CUDA.

# A value from outside stays one: make never expands it, and a recipe has it as "$$REV", which its
# shell never runs.
REV ?= main
override REV := $(value REV)
override GPU := $(value GPU)
export REV

LOCK := requirements$(if $(GPU),-gpu).txt
BIN := .venv/bin
# The first Python of a supported version, outside any environment that is active
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11,$(shell $(python) -c \
	'import sys; (3, 11) <= sys.version_info < (3, 14) and print(sys._base_executable)' 2>/dev/null)))

# Stages call `python`. It is that of the environment, whether or not it is activated: for what
# make runs because PATH says so here, for .venv/bin/dvc because Python runs this line as it starts.
export PATH := $(CURDIR)/$(BIN):$(PATH)
PATH_FIRST := import os, sys; bin = os.path.join(sys.prefix, "bin"); os.environ["PATH"] = \
	os.pathsep.join([bin, *(p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p != bin)])

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: install ## Run the whole pipeline and show its result
	@python src/run.py

.PHONY: tutorial fast accurate
tutorial: ## Run the recipe of the Keras tutorial, with which params.yaml begins
fast: ## Run the recipe for a short training
accurate: ## Run the recipe for high accuracy within 100,000 parameters
tutorial fast accurate: install
	@python src/run.py $@

.PHONY: report
report: install ## Write report.html: the last run beside that of REV, main unless given
	@python src/report.py -- "$$REV"

.PHONY: gate
gate: install ## Check the last run against the gate of params.yaml
	@python src/gate.py

.PHONY: hooks
hooks: install ## Teach git to check for the data before a push, and to merge dvc.lock
	@hook="$$(git rev-parse --git-path hooks)/pre-push" && \
	if [ ! -e "$$hook" ] && [ -z "$$(git config core.hooksPath)" ]; then \
		mkdir -p "$$(dirname "$$hook")" && ln -sf ../../hooks/pre-push "$$hook"; \
	elif ! grep -qsE "src/pushed.py|hooks/pre-push" "$$hook"; then \
		echo "make: $$hook is not ours to change: let it run hooks/pre-push" >&2; exit 1; \
	fi
	@git config merge.dvc-lock.name "Merge dvc.lock stage by stage"
	@git config merge.dvc-lock.driver "$(BIN)/python src/merge_lock.py %O %A %B"
	@git config merge.dvc-lock.recursive binary
	@git config merge.ours.driver true

.PHONY: test
test: lint ## Lint, check the types and run all tests
	@python -m pytest -m "slow or not slow"

.PHONY: lint
lint: install ## Lint and check the types
	@ruff check
	@ruff format --check
	@mypy

.PHONY: install
install: ## Create .venv with what the lock lists
	@cmp -s $(LOCK) $(BIN)/installed.txt || $(MAKE) --no-print-directory fresh-install

.PHONY: fresh-install
fresh-install:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11, 3.12 or 3.13 is needed; \
	if it is not on PATH, say make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing $(LOCK) into .venv (two minutes, once)"
	@rm -rf .venv  # venv --clear would empty what .venv links to
	@$(PYTHON) -m venv .venv
	@python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@echo '$(PATH_FIRST)' > "$$(python -c 'import site; print(site.getsitepackages()[0])')/path_first.pth"
	@cp $(LOCK) $(BIN)/installed.txt

.PHONY: lock
lock: install ## Compile the locks from pyproject.toml
	@for group in cpu gpu; do \
		UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --group $$group --group dev pyproject.toml \
			--output-file requirements$$(test $$group = cpu || echo -$$group).txt; \
	done
