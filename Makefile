# `make up` and `make down` bring the stack up and down in a sandbox on this machine; `make test` runs every test,
# `make unit` those that need no cluster.

# They would have this project's Python load somebody else's modules.
unexport PYTHONPATH PYTHONHOME

PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help up down test unit preview bench dashboards recover drift clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' Makefile

# A checkout may have several sandboxes, each with a name: make up NAME=second.
ifdef NAME
export KONG_ISTIO_SANDBOX_NAME := $(NAME)
endif

up: venv/ready ## a cluster on this machine, and the whole stack on it (SANDBOX=kind|simulated, NAME=ANOTHER)
	@venv/bin/python -m sandbox up --with-stack

# It works without a network, with the packages that are there, even old ones.
down: ## destroy the stack, end the sandbox, remove its folder (NAME=ANOTHER)
	@[ -x venv/bin/python ] || $(MAKE) --no-print-directory venv/ready
	@venv/bin/python -m sandbox down --with-stack

test: venv/ready-for-tests policy/venv/ready ## lint, types and every test (SANDBOX=kind)
	venv/bin/ruff check .
	venv/bin/ruff format --check .
	venv/bin/mypy .
	venv/bin/python -m pytest

unit: venv/ready-for-tests ## the tests that need no cluster, side by side
	venv/bin/python -m pytest -m "not sandbox and not engine" -n auto --dist loadfile --hypothesis-profile unit

preview: venv/ready ## what a change would do, and what the policies say (STACK=NAME BASE=COMMIT)
	@venv/bin/python -m preview $(if $(STACK),--stack $(STACK)) $(if $(BASE),--base $(BASE))

bench: venv/ready ## how fast the stack is, against the guide typed as a script (RUNS=5 ONLY="FIGURE ...")
	@venv/bin/python -m sandbox.bench $(if $(RUNS),--runs $(RUNS)) $(if $(ONLY),--only $(ONLY))

dashboards: venv/ready ## Kiali, Grafana and Prometheus on this machine, until Ctrl-C (STACK=NAME)
	@venv/bin/python -m checks.forwards $(if $(STACK),--stack $(STACK))

recover: venv/ready ## go on with an up that was killed or interrupted (STACK=NAME YES=1 THEN=destroy)
	@venv/bin/python -m recovery $(if $(STACK),--stack $(STACK)) $(if $(YES),--yes) $(if $(THEN),--then $(THEN))

drift: venv/ready ## what somebody changed by hand in the cluster, inside releases too (STACK=NAME)
	@venv/bin/python -m checks drift $(if $(STACK),--stack $(STACK))

clean: ## also remove the virtual environment and the cache of built tools
	@if [ -x venv/bin/python ]; then venv/bin/python -m sandbox down --with-stack && venv/bin/python -m sandbox clean; fi
	rm -rf venv policy/venv .mypy_cache .pytest_cache .ruff_cache

# Packages are installed anew when the pinned versions change.
venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("make: Python 3.11 or newer is needed; name one with PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "== virtual environment and Python packages"
	@$(PYTHON) -m venv venv
	@venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

venv/ready-for-tests: requirements-dev.txt venv/ready
	@venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

# The policy pack runs in an environment of its own, as Pulumi wants it.
policy/venv/ready: policy/requirements.txt
	@$(PYTHON) -m venv policy/venv
	@policy/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement policy/requirements.txt
	@touch $@
