# `make` explains itself. Needs GNU Make 4, bash and Python 3.11 or 3.12; everything else goes into .venv.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Given on the command line (make test JOBS=4) or in the environment.
PYTHON ?= python3.11 python3.12 python3
PIP_FLAGS ?=
JOBS ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))
JOBS_SLOW ?= 1

BIN := $(CURDIR)/.venv/bin
STAMP := .venv/.installed
RESULTS := out/tests
BEGUN := $(shell date +%s)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

define help_text
AlignX: personalised alignment of language models by DPO (arXiv:2503.15463).

  make setup      create .venv and install everything, pinned (3 minutes, 2 GB with the CPU build of torch)
  make demo       the method at work on a synthetic world, no download; QUICK=1 for a short one, SEED=1 for another
  make test       setup, lint, types and the fast tests: before every commit (at most 12 minutes)
  make test-full  the slow tests: training for real, distributed on this machine (at most 45 minutes with test)
  make lint       ruff only: bugs, imports, docstrings, formatting
  make types      mypy only, strict (a minute the first time, seconds after)
  make clean      remove .venv and every cache; out/ is kept

Settings, as in make test JOBS=4:
  PYTHON=...      what to build .venv with, 3.11 or 3.12   [the first found of $(PYTHON)]
  PIP_FLAGS=...   passed to pip install, for example where to find another build of torch
  JOBS=...        fast tests run this many at a time   [$(JOBS): one a core, at most 8]
  JOBS_SLOW=...   slow tests run this many at a time   [$(JOBS_SLOW)]

New here? README.md says what this is, CONTRIBUTING.md how to change it.
endef

# A recipe that starts with $(shell_functions) can say: step NAME WHAT-TO-DO-IF-IT-FAILS COMMAND...
define shell_functions
step() {
    local name=$$1 hint=$$2 begun=$$SECONDS status=0
    shift 2
    printf '\n== %s\n' "$$name"
    "$$@" || status=$$?
    if [ "$$status" = 0 ]; then
        printf '== %s: ok, %d s\n' "$$name" $$((SECONDS - begun))
    else
        printf '== %s: failed after %d s (exit %d). %s\n' "$$name" $$((SECONDS - begun)) "$$status" "$$hint" >&2
    fi
    return "$$status"
}
since_start() { echo $$(($$(date +%s) - $(BEGUN))); }
endef

.PHONY: help setup demo test test-full lint types clean

help:
	@: $(info $(help_text))

setup: $(STAMP)
	@echo 'setup: .venv is ready. Next: make demo, make test, or: source .venv/bin/activate && alignx --help'

$(STAMP): requirements.lock pyproject.toml
	@python= found= tried=
	for candidate in "$(BIN)/python" $(PYTHON); do
	    found=$$("$$candidate" -c 'import sys, venv, pip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || found=
	    case $$found in 3.11 | 3.12) python=$$candidate; break ;; esac
	    [ "$$candidate" = "$(BIN)/python" ] || tried="$${tried:+$$tried, }$$candidate ($${found:-does not run})"
	done
	if [ -z "$$python" ]; then
	    echo "setup: needs Python 3.11 or 3.12 with venv and pip; tried $$tried" >&2
	    echo 'setup: install one, or name it: make setup PYTHON=/path/to/python3.11' >&2
	    exit 1
	fi
	packages="the $$(grep -c == requirements.lock) packages of requirements.lock"
	if [ "$$python" = "$(BIN)/python" ]; then
	    echo "setup: bringing .venv (Python $$found) up to date with $$packages."
	else
	    echo "setup: creating .venv with Python $$found and installing $$packages."
	    echo 'setup: 2 GB and 3 minutes with the CPU build of torch; the CUDA build is several GB more.'
	    "$$python" -m venv --clear .venv
	fi
	# Without a terminal, pip reports problems only.
	if [ -t 1 ]; then quiet=; else quiet='--quiet --progress-bar off'; fi
	DS_BUILD_OPS=0 "$(BIN)/python" -m pip install $$quiet $(PIP_FLAGS) -r requirements.lock
	"$(BIN)/python" -m pip install $$quiet --no-deps --no-build-isolation -e .
	touch $@
	echo "setup: installed in $$SECONDS s; .venv is $$(du -sh .venv | cut -f1)."

demo: $(STAMP)
	@PATH="$(BIN):$$PATH" QUICK="$(QUICK)" SEED="$(SEED)" bash scripts/demo.sh

lint: $(STAMP)
	@$(shell_functions)
	step 'ruff check' 'Many of these mend themselves: .venv/bin/ruff check --fix' "$(BIN)/ruff" check .
	step 'ruff format' 'Mend it: .venv/bin/ruff format' "$(BIN)/ruff" format --check .

types: $(STAMP)
	@$(shell_functions)
	step mypy 'What each code in [brackets] means is in the documentation of mypy.' "$(BIN)/mypy"

test: lint types
	@$(shell_functions)
	export OMP_NUM_THREADS=1
	step 'fast tests, $(JOBS) at a time' 'Run one alone: .venv/bin/pytest FILE::NAME' \
	    "$(BIN)/pytest" -n $(JOBS) -m 'not slow' --durations 10 --junitxml $(RESULTS)/fast.xml
	echo
	echo "test: all passed in $$(since_start) s. Results: $(RESULTS)/fast.xml"
	echo 'test: next, make test-full if training or evaluation changed; make demo to see it work.'

test-full: $(STAMP)
	@$(shell_functions)
	# One at a time, a test has every core; side by side, each has one thread.
	workers=0
	if [ "$(JOBS_SLOW)" -gt 1 ]; then workers=$(JOBS_SLOW); export OMP_NUM_THREADS=1; fi
	slow_tests() {
	    local status=0
	    "$(BIN)/pytest" -n "$$workers" -m slow --verbose --durations 0 --junitxml $(RESULTS)/slow.xml || status=$$?
	    [ "$$status" = 5 ] || return "$$status"
	    echo 'No test is marked slow: nothing to run.'
	}
	step 'slow tests, $(JOBS_SLOW) at a time' 'Run one alone: .venv/bin/pytest -m slow FILE::NAME' slow_tests
	echo
	echo "test-full: done in $$(since_start) s. Results: $(RESULTS)/slow.xml"
	echo 'test-full: next, say in CHANGELOG.md what the change does to numbers.'

clean:
	@rm -rf .venv build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	echo 'clean: .venv and the caches are gone; out/ is kept.'
