# The commands for people and for CI. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ARGO needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@echo "creating $(VENV) and installing the pinned packages (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c .ci/constraints.txt -e '.[local,dev]' \
	  | awk '/^Collecting/{n++; printf "\r  %d packages resolved", n; fflush()} /^Installing/{printf "\n  installing\n"; fflush()}'
	@$(BIN)/python -m pip check
	@touch $@

setup: $(STAMP) ## create .venv with every pinned package

.PHONY: help setup
