# CSS: `make setup`, `make run`, `make test`, `make lint`, `make bench`, `make soak`. See README.md.
SHELL := /bin/bash
PY := .venv/bin/python
STAMP := .venv/.complete

ifdef DEMO_SECONDS
export DEMO_SECONDS
endif

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format bench soak simulate simulate-planted lock clean

help:  ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## make .venv with all that is needed, twistd included (quick when nothing has changed)

$(STAMP): requirements/dev.txt setup.py pyproject.toml tools/setup.sh
	@tools/setup.sh
	@touch $@

run: setup  ## run the embedded demo (DEMO_SECONDS=20 ends by itself), or CSS itself with CONFIG=path
ifdef CONFIG
	@.venv/bin/twistd -n --pidfile= css --config $(CONFIG)
else
	@$(PY) -m css.demo
endif

test: setup  ## lint and all tests on private servers (TESTS="tests.domain" for some of them)
	@$(PY) -m tests.runner $(TESTS)

lint: setup  ## ruff and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup  ## let ruff rewrite what it can
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: setup  ## benchmarks on private real servers
	@$(PY) -m benchmarks

soak: setup  ## the long tests, with the literal figures
	@$(PY) -m tests.soak

simulate: setup  ## a world of faults, replayed from its seed: SEED=7 or SEEDS=1-50, MINUTES=15, FAULTS=1,3,13a, PLATFORMS=2 (0: drawn); HOURS=1: a night
	@$(PY) -m css.simulation --minutes $(or $(MINUTES),15) --faults $(or $(FAULTS),all) --jobs $(or $(JOBS),$(if $(HOURS),2,1)) \
		--platforms $(or $(PLATFORMS),$(if $(HOURS),0,1)) \
		$(if $(HOURS),--hours $(HOURS)) $(if $(SEEDS),--seeds $(SEEDS),--seed $(or $(SEED),1))

simulate-planted: setup  ## plant bugs in the code, one after the other: the simulation must catch each
	@$(PY) -m css.simulation --planted

lock: setup  ## pin the dependencies anew
	@tools/lock.sh

clean:  ## remove what was made, except data in var/
	@rm -rf .venv build *.egg-info .mypy_cache .ruff_cache _trial_temp*
