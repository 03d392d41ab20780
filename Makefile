# `make` alone lists the targets. Nothing but a Python >= 3.10 with its venv module is needed beforehand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo
JOBS ?= auto
# those of `make e2e-distributed` that come by pip
ENGINES ?= torch tensorflow mindspore

# The hashes of the lock files are those of the public index, whatever index this machine is told of.
LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.10 \
  --generate-hashes --no-annotate --upgrade --custom-compile-command 'make lock'

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

# A stamp says which extras are in .venv; a changed pyproject.toml makes it old. What is already there costs pip a second or two.
SETUP := $(VENV)/.setup
# The demo needs less than a developer does, but more is as good.
LIGHT := $(if $(wildcard $(SETUP)),$(SETUP),$(VENV)/.demo)

.PHONY: help setup demo test images e2e-docker e2e-distributed e2e-search lock check coverage bench bench-docker bench-store
.PHONY: bench-search bench-hang clean
.DELETE_ON_ERROR:
# two of these at once would both fill .venv
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/make \1  \2/p' $(MAKEFILE_LIST)

setup: $(SETUP) ## make .venv with the `launcher` command and all that the tests and checks need

demo: $(LIGHT) ## from nothing: train the handwritten digits example on a local store
	@rm -rf $(DEMO) && mkdir -p $(DEMO) && cp -R examples/digits/store $(DEMO)/store
	launcher run examples/digits/job.json --store $(DEMO)/store --root $(DEMO)/root
	@examples/digits/show $(DEMO)

test: $(SETUP) ## from nothing: every test that needs neither Docker, several hosts, PostgreSQL nor a browser
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT INT TERM; \
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not docker and not distributed and not search" --basetemp "$$scratch/tests"

# `launcher local` clears up after others that were killed, also after those that another test has just killed
ONE_BY_ONE := test_local test_shell test_docker_page

images: ## from nothing: build the images; where no Docker engine answers, one is brought up, and stays (root, Debian)
	images/engine up

e2e-docker: $(SETUP) ## from nothing: the images in a real Docker engine, brought up where there is none (root, Debian)
	@trap 'images/engine down' EXIT INT TERM; engine=$$(images/engine up) && eval "$$engine" \
	  && tests/docker/bases && tests/docker/podman && torch=$$(PYTHON="$(PYTHON)" tests/docker/torch) && eval "$$torch" \
	  && scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"; images/engine down' EXIT INT TERM \
	  && $(BIN)/python -m pytest -n $(JOBS) -m docker --durations=10 --basetemp "$$scratch/tests" tests/docker \
	    $(patsubst %,--ignore tests/docker/%.py,$(ONE_BY_ONE)) \
	  && $(BIN)/python -m pytest -m docker --basetemp "$$scratch/tests" $(patsubst %,tests/docker/%.py,$(ONE_BY_ONE))

lock: $(SETUP) ## write the locked dependencies of the images anew, from pyproject.toml and what PyPI has now
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --excludes images/absent.txt --extra stacks --extra zstd pyproject.toml --output-file images/requirements.lock
	$(LOCK) --excludes images/absent.txt --extra stacks --extra zstd --extra search pyproject.toml --output-file images/search.lock
	$(LOCK) images/tools.in --output-file images/tools.lock

e2e-distributed: $(SETUP) ## from nothing: real engines on several hosts of one machine (root, Debian); ENGINES=torch: fewer
	@engines=$$(PYTHON="$(PYTHON)" tests/distributed/engines $(ENGINES)) && eval "$$engines" && scratch=$$(mktemp -d) \
	  && trap 'rm -rf "$$scratch"' EXIT INT TERM \
	  && $(BIN)/python -m pytest -n $(JOBS) -m distributed --durations=0 --basetemp "$$scratch/tests" tests/distributed

e2e-search: $(SETUP) ## from nothing: searches of many workers on PostgreSQL, the report in a browser (root, Debian)
	@tests/search/tools && scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT INT TERM \
	  && $(BIN)/python -m pytest -n $(JOBS) -m search --basetemp "$$scratch/tests"

check: $(SETUP) ## lint, format, types, and which floor may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy launcher tests benchmarks examples images
	$(BIN)/lint-imports

# What a property test happens to draw proves no line: another day it draws otherwise.
coverage: $(SETUP) ## branch coverage of the pure core by its examples, which is 100 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -m 'not hypothesis' tests/core
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --include 'launcher/core/*' --show-missing --skip-covered --fail-under 100

bench: $(VENV)/.bench ## start-up and supervising against their yardsticks; prints ratios
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/supervising.py
	$(BIN)/python benchmarks/rendezvous.py
	$(BIN)/python benchmarks/devices.py
	$(BIN)/python benchmarks/record.py
	$(BIN)/python benchmarks/hangs.py --costs

bench-docker: $(SETUP) ## what the launcher costs in a container; builds the images first (make images)
	@engine=$$(images/engine up) && eval "$$engine" && $(BIN)/python benchmarks/containers.py

bench-store: $(VENV)/.bench ## moving objects, against s5cmd, rclone, boto3 and cp (wants nginx of Debian); prints ratios
	$(BIN)/python benchmarks/store.py

bench-search: $(VENV)/.bench ## what a trial costs beside the boot file, and how fast logs are scanned; prints ratios
	$(BIN)/python benchmarks/scanning.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/trials.py

bench-hang: $(VENV)/.bench ## programs that hang and programs that are only slow: precision, recall, time until told
	$(BIN)/python benchmarks/hangs.py

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find launcher tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "error: '$(PYTHON)' is not on PATH: install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: Python 3.10 or newer is needed, '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1); name another: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "error: '$(PYTHON)' has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[examples]'
	@touch $@

$(SETUP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[examples,search,test,check]'
	@touch $@

$(VENV)/.bench: $(SETUP)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@
