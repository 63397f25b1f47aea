# make unfused                      the demo: set-up, demo corpus, UnFuSeD, report
# make unfused DATA=<folder>        the same on your audio (class folders or a CSV); UNLABELLED=<folder> adds more
# make test                         the test suite
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m kedro
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ENV ?=
comma := ,
PARAMS := $(if $(DATA),data=$(DATA))$(if $(and $(DATA),$(UNLABELLED)),$(comma))$(if $(UNLABELLED),unlabelled=$(UNLABELLED))
export DO_NOT_TRACK := 1

.PHONY: unfused test lint format viz viz-build docs bench results clean help

help:
	@sed -n 's/^# //p' Makefile

unfused: $(VENV)/demo
	@$(RUN) run --pipeline=unfused $(if $(ENV),--env=$(ENV)) $(if $(PARAMS),--params "$(PARAMS)")

test: $(VENV)/dev
	@$(VENV)/bin/python -m pytest

lint: $(VENV)/dev
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

format: $(VENV)/dev
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

viz: $(VENV)/demo
	@PYTHONWARNINGS=ignore $(RUN) viz run $(if $(ENV),--env=$(ENV)) $(if $(PARAMS),--params "$(PARAMS)")

viz-build: $(VENV)/demo
	@$(if $(ENV),KEDRO_ENV=$(ENV)) PYTHONWARNINGS=ignore $(RUN) viz build --include-previews

docs: $(VENV)/docs
	@$(VENV)/bin/python -m mkdocs build --strict --quiet

bench: $(VENV)/dev
	@for bench in benchmarks/bench_*.py; do OMP_NUM_THREADS=1 $(VENV)/bin/python $$bench; done

# Derived data only: never data/01_raw, never the trained encoders in data/06_models.
clean:
	@find data/02_intermediate data/03_primary data/04_feature data/05_model_input data/07_model_output \
	    data/08_reporting -mindepth 1 ! -name .gitkeep -delete
	@rm -rf build site .pytest_cache .ruff_cache .mypy_cache

$(VENV)/demo $(VENV)/dev $(VENV)/docs: $(VENV)/%: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing unfused[$*] into $(VENV) (about 5 GB with PyTorch; 2-5 minutes the first time)"
	@$(INSTALL) -e ".[$*]"
	@touch $@
