# `make` lists the targets. Each sets up what it needs, from nothing.
SHELL := /bin/bash -euo pipefail
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.venv/bin:$(PATH):$(CURDIR)/build/tools
export PYTHONDONTWRITEBYTECODE := 1
# Molecule's own choice goes by the directory's name alone: two clones would share it, also after a run that was killed
export MOLECULE_EPHEMERAL_DIRECTORY := $(CURDIR)/build/molecule

.DEFAULT_GOAL := help
.PHONY: help setup lock check lint types unit test demo cells chaos faults fleet bench lab lab-down clean promtool browser

help:  ## list the targets
	@awk -F ':.*##  *' '/^[a-z-]+:.*##/ {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv from requirements.lock
	@scripts/setup

lock: setup  ## choose new versions and write the lock files again
	@scripts/lock

check: setup  ## lint, types, unit tests, side by side
	@$(MAKE) --jobs=2 --output-sync=target lint types unit

lint: setup
	ruff check
	ruff format --check
	yamllint --strict .
	ansible-lint
	scripts/roles --check

types: setup
	mypy

promtool:
	@scripts/promtool

browser:
	@scripts/browser

unit: setup
	pytest --numprocesses=2 --dist=loadfile --junit-xml=build/junit/unit.xml

# the scenarios that have hosts of their own
ALONE := airgap registry stock chaos
test: promtool browser check  ## all that CI runs: check, then the real playbooks on a real host
	@rm -rf build/molecule $(addprefix build/junit/,default.xml rollback.xml $(ALONE:=.xml))
	@molecule test --shared-state --scenario-name default --scenario-name rollback || { scripts/failures; exit 1; }
	@for name in $(ALONE); do molecule test --scenario-name "$$name" || { scripts/failures; exit 1; }; done
	@scripts/coverage --check

demo: setup  ## deploy a good release and a bad one on a throwaway host
	@scripts/demo

HOSTS ?= site1,site2
cells: setup  ## the six cells of chaos that make test plays too
	@rm -rf build/molecule
	@molecule test --scenario-name chaos

chaos: setup  ## kill, cut and fill in every phase, under writes (SHARD=1/4 plays a share, RESUME=1 goes on)
	@python -m tests.chaos --hosts $(HOSTS) $(if $(SHARD),--shard $(SHARD)) $(if $(RESUME),--resume)

faults: setup  ## let faults and healthy noise happen, and see what is found and what is left alone (an hour)
	@hosts='$(HOSTS)'; python -m tests.faults --host "$${hosts%%,*}"

fleet: setup  ## waves over four hosts, the first bad, then the second
	@rm -rf build/molecule
	@molecule test --scenario-name fleet

bench: setup  ## measure us beside our peers, for hours (ONLY=judge,logs measures some)
	@python -m bench --only '$(ONLY)'

lab: setup  ## start a host on which release 1.0.0 of the sample application runs
	@python -m lab up site1 --release 1.0.0

lab-down: setup  ## remove every host of the lab, with its network, volumes and files
	@python -m lab down

clean: setup  ## lab-down, and the lab's images and build/ and .venv
	@python -m lab down --images
	@rm -rf build .venv
