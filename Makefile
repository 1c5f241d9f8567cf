# The commands of the project; each makes the virtual environment it needs, once.
#   make demo     run the main job headless, write build/demo/quickstart.{ipynb,html,csv}
#   make test     the tests; ARGS="-k name" picks some
#   make lab      the quickstart notebook in JupyterLab
#   make bench    palm against its neighbours
#   make check    lint, types, import rules, and that the panel is joined
#   make docs     the links and code samples of the documentation
#   make clean    remove what the others built, except the virtual environment
# PYTHON= and VENV= may be given.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

# The files of the tests are shared by one process more than there are processors, four at most: half of
# their time they wait for others.
SHARED = --numprocesses=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses=4 --dist=loadfile

.PHONY: help demo test lab bench check docs clean lab-env dev-env
# Two targets at once would install into one environment at once.
.NOTPARALLEL:

SETUP = $(call need,$(PYTHON)) PALM_MAKE_GOAL='$(MAKECMDGOALS)' "$(PYTHON)" tools/setup_env.py "$(VENV)"
need = command -v "$(1)" >/dev/null || { \
	printf '%s\n    %s\n' "There is no command $(1); name a Python 3.11 or later:" \
	"make PYTHON=/usr/bin/python3.11 $(MAKECMDGOALS)" >&2; exit 1; };
IN_VENV = "$(VENV)/bin/python"

help:
	@sed -n 's/^# *//; 1,9p' Makefile

demo: lab-env
	@$(IN_VENV) tools/demo.py

test: dev-env
	@$(IN_VENV) -m pytest $(SHARED) $(ARGS)

lab: lab-env
	@JUPYTER_PREFER_ENV_PATH=1 $(IN_VENV) -m jupyterlab --KernelManager.transport=ipc \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) notebooks/quickstart.ipynb

bench: dev-env
	@$(IN_VENV) -m benchmarks $(ARGS)

check: dev-env
	@$(IN_VENV) -m ruff check .
	@$(IN_VENV) -m ruff format --check .
	@$(IN_VENV) -m mypy
	@$(IN_VENV) tools/join_panel.py --check
	@$(IN_VENV) -m pytest -q tests/arch

docs: dev-env
	@$(IN_VENV) tools/check_docs.py

clean:
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

lab-env:
	@$(SETUP) lab

dev-env:
	@$(SETUP) dev
