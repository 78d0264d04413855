# The commands for people and for CI. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := functions agents schemas emulators pulumi tests
RUN := $(BIN)/python -m emulators
NEEDS_PULUMI = command -v pulumi > /dev/null || { \
  echo "needs the pulumi CLI, 3.272 or newer: curl -fsSL https://get.pulumi.com | sh  (or: brew install pulumi)."; \
  echo "Without it, what each stack would be is written out in pulumi/golden/."; exit 1; }; \
  test -n "$(STACK)" || { echo "which stack? STACK=dev | staging | prod"; exit 2; }

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with every pinned package (about a minute)

$(STAMP): pyproject.toml .ci/constraints.txt .ci/install
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh .ci/install
	@touch $@

demo: $(STAMP) ## run the main job on real data and report (build/demo.json, build/demo.html)
	@$(BIN)/python -m emulators.demo $(ARGS)

up: $(STAMP) ## start the laptop cloud and write build/local.env
	@$(RUN) up $(ARGS)

down: $(STAMP) ## stop the laptop cloud
	@$(RUN) down $(ARGS)

status: $(STAMP) ## show each service's endpoint and readiness
	@$(RUN) status $(ARGS)

job: $(STAMP) ## run one job on the laptop cloud: make job NAME=sync_graph
	@test -n "$(NAME)" || { echo "which job? make job NAME=sync_graph | train_candidates | detect_moments | forget | measure_arrival | replay"; exit 2; }
	@$(RUN) job $(NAME)

replay: $(STAMP) ## send what was dead-lettered to its topics again, once its cause is repaired
	@$(RUN) job replay

requalify: $(STAMP) ## judge quarantined events again, once a rule is repaired, and send those that pass
	@$(RUN) job requalify

token: $(STAMP) ## print an ID token of a person, as signing in gives one: make -s token USER=u1
	@$(RUN) token "$(USER)"

logs: $(STAMP) ## show the end of a service's log: make logs NAME=collect
	@test -n "$(NAME)" || { echo "whose log? make logs NAME=collect; make status lists the names"; exit 2; }
	@$(RUN) logs $(NAME)

trace: $(STAMP) ## tell why a task did what it did, as a tree and a page: make trace TASK=<id> (without: the latest tasks)
	@$(RUN) trace $(TASK) $(ARGS)

check: $(STAMP) ## lint, types, import layers, file and function size
	@$(BIN)/ruff check $(CODE) .ci
	@$(BIN)/ruff format --check $(CODE) .ci
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m agents.swarm.check
	@$(BIN)/python .ci/check_size.py $(CODE)

test: $(STAMP) ## every test: unit, infrastructure, on the laptop cloud, the whole loop from outside
	@$(BIN)/pytest -q -n 2 --dist loadfile tests/unit tests/infra
	@$(BIN)/pytest -q -n 4 --dist loadfile tests/contract
	@$(BIN)/pytest -q tests/emulator
	@$(BIN)/pytest -q tests/system

bench: $(STAMP) ## measure (build/bench): make bench NAME=collect | faults | feeds | gateway | guard | hostile | lies | recommend | start | swarm | chaos | training
	@PYTHONPATH=pulumi $(BIN)/python -m tests.benchmarks.$(or $(NAME),collect) $(ARGS)

evaluate: $(STAMP) ## the recommender beside single models, ours by stage: make evaluate DATA=online-retail (or any file of events)
	@test -n "$(DATA)" || { echo "which data? make evaluate DATA=online-retail | rees46-slice | gowalla-lightgcn | path/to/events.ndjson"; exit 2; }
	@$(BIN)/python -m tests.benchmarks.evaluate $(DATA) $(ARGS)

render: $(STAMP) ## rewrite what is made from the contracts: tables, JSON Schemas, golden stacks, the image's lock
	@$(BIN)/python -m schemas.render
	@cd pulumi && ../$(BIN)/python -m policy.golden && ../$(BIN)/python -m image.lock

preview: $(STAMP) ## show what a deployment would change (needs the pulumi CLI): make preview STACK=dev
	@$(NEEDS_PULUMI)
	@pulumi -C pulumi preview -s $(STACK)

deploy: $(STAMP) ## deploy a stack, after showing it (needs the pulumi CLI): make deploy STACK=dev
	@$(NEEDS_PULUMI)
	@echo "$(STACK): pulumi shows what would change, and asks; nothing happens before yes."
	@echo "US dollars: $$(cd pulumi && ../$(BIN)/python -m bill $(STACK) | grep '^a month' | tr -s ' ') (make bill STACK=$(STACK))"
	@echo "To undo a release: docs/operating.md, 'A new release'."
	@pulumi -C pulumi up -s $(STACK)

bill: $(STAMP) ## what a stack costs in a month: make bill STACK=dev, or STACK=prod LOAD=busy
	@test -n "$(STACK)" || { echo "which stack? make bill STACK=dev | staging | prod [LOAD=idle | busy]"; exit 2; }
	@cd pulumi && ../$(BIN)/python -m bill $(STACK) $(LOAD)

lock: $(STAMP) ## write the installed versions to .ci/constraints.txt
	@$(BIN)/python -m pip freeze --exclude-editable | LC_ALL=C sort -f > .ci/constraints.txt

clean: ## stop the laptop cloud, remove .venv and build
	@test ! -x $(BIN)/python || { $(RUN) down; $(RUN) down --dir build/demo; } > /dev/null
	@rm -rf $(VENV) build

.PHONY: help setup demo up down status job replay requalify token logs trace check test bench evaluate render preview deploy bill lock clean
