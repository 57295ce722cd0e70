# Two commands: `make run` improves our own target for BUDGET, `make test` runs the tests. Both set up .venv first.

PYTHON ?= python3
BUDGET ?= 10m
RUN_ARGS ?=
JOBS ?= auto

ready := .venv/.ready

.PHONY: run test check setup servers clean

run: $(ready)
	.venv/bin/agent run --budget $(BUDGET) $(RUN_ARGS)

test: $(ready)
	.venv/bin/pytest -n $(JOBS)

# Real model servers and a tiny model for the tests that want them: 5 GB, a few minutes; without it they skip by name
servers: .tiny/.ready

.tiny/.ready: $(ready) $(wildcard tests/servers/*.txt agent/prompts/form.* agent/prompts/preflight.md) \
    tests/servers/setup.sh tests/servers/lessons.py tests/servers/tiny_model.py agent/models/tiny_task.py
	PYTHON=$(PYTHON) tests/servers/setup.sh

check: $(ready)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

setup: $(ready)

# torch first and by its pinned version: pip then takes the build that fits the machine's package index
$(ready): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .tiny build dist *.egg-info
