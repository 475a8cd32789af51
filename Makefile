# Everything here works from a clean clone with nothing but a Python that has `venv`.
#
#   make demo    set up .venv and run the examples: a detection pipeline, ResNet-18 with pruned channels
#   make test    set up .venv, then lint, type check and all tests but the long ones
#   make quick   the quick part of the tests (what CI runs on the other Python versions)
#   make fuzz    random programs against NumPy:   make fuzz N=10000
#   make lint    ruff and mypy alone
#   make clean   remove environments, builds and caches
#
# Another interpreter: `make test PYTHON=python3.12` (it gets an environment of its own).

# The first interpreter on PATH that is new enough. A version manager's shim may be on PATH and not run,
# so each is tried rather than looked up.
CANDIDATES := python3 python3.13 python3.12 python3.11 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifeq ($(origin PYTHON),undefined)
  PYTHON := $(shell for p in $(CANDIDATES); do \
    if $$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then echo $$p; break; fi; done)
  VERSION :=
else
  VERSION := -$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
endif

VENV  ?= .venv$(VERSION)
PY    := $(VENV)/bin/python
STAMP := $(VENV)/.installed-test
JOBS  ?= 2
N     ?= 1000
ARGS  ?=

.PHONY: demo test quick lint fuzz setup clean
.DEFAULT_GOAL := test

setup: $(STAMP)

# Done once, and again when the dependencies may have changed.
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' || \
	  { echo "sparsec needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

demo: $(STAMP)
	$(PY) -m examples.detection $(ARGS)
	$(PY) -m examples.resnet

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m mypy

test: lint
	$(PY) -m pytest -n $(JOBS) $(ARGS)

# What may depend on Python's version: staging, tracing, calls. The IR, the passes, the interpreters and the code
# generators do not, nor what a device computes; that a device can be reached at all is tested in tests/runtime.
QUICK := $(wildcard tests/test_*.py) tests/faults tests/frontend tests/runtime

quick: $(STAMP)
	SPARSEC_TEST_BACKENDS=cpu $(PY) -m pytest -n $(JOBS) -m quick $(QUICK) $(ARGS)

fuzz: $(STAMP)
	$(PY) -m tests.fuzz --count $(N) $(ARGS)

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
