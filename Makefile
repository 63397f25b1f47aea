PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m kedro
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# A process for each core; a file stays in one of them, for its fixtures. More than four would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
ENV ?=
export DO_NOT_TRACK := 1
ifdef DATA  # not --params, which a comma in the path would break
export UNFUSED_AUDIO := $(DATA)
endif
ifdef UNLABELLED
export UNFUSED_UNLABELLED := $(UNLABELLED)
endif

ifdef AUDIO
export UNFUSED_NEW_AUDIO := $(AUDIO)
endif

.PHONY: unfused classify export test test-all results lint format viz viz-build docs bench soak clean help

help:
	@sed -n -E 's/^([a-z-]+):[^#]*## (.*)/make \1\t\2/p; s/^## (.*)/\t\1/p' Makefile | expand -t 18

unfused: $(VENV)/demo  ## set-up, demo corpus, UnFuSeD, report
##   DATA=<folder or CSV>   your audio instead: class folders, or a table with columns path,label
##   UNLABELLED=<folder>    more audio for pre-training; synthetic: random sounds
##   ENV=<name>             a configuration under conf/: paper, gpu, test
	@$(RUN) run --pipelines=unfused $(if $(ENV),--env=$(ENV))

classify: $(VENV)/demo  ## label new audio with the trained model
##   AUDIO=<folder or file> the new audio; DATA and ENV as they were in training
	@$(RUN) run --pipelines=classify $(if $(ENV),--env=$(ENV))

export: $(VENV)/demo  ## the trained model for others: safetensors, ONNX, model card
	@$(RUN) run --pipelines=export $(if $(ENV),--env=$(ENV))

test: $(VENV)/dev  ## the test suite
	@$(PYTEST)

test-all: $(VENV)/dev  ## the test suite and the slow tests: the wheel, the README in a fresh clone
	@$(PYTEST) -m "slow or not slow"

results: $(VENV)/demo  ## the study of docs/results.md; UNFUSED_DATA names the folder of data sets
	@test -n "$(UNFUSED_DATA)" || { echo "UNFUSED_DATA is not set: make results UNFUSED_DATA=<folder of data sets>" >&2; exit 1; }
	@UNFUSED_DATA="$(UNFUSED_DATA)" $(RUN) run --pipelines=unfused --env=results

lint: $(VENV)/dev  ## ruff and mypy
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

format: $(VENV)/dev  ## repair what ruff can
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

viz: $(VENV)/demo  ## pipeline, data and figures in the browser; own data: DATA=... as in the run
	@PYTHONWARNINGS=ignore $(RUN) viz run --include-hooks $(if $(ENV),--env=$(ENV))

viz-build: $(VENV)/demo  ## the same as a static site in build/
	@$(if $(ENV),KEDRO_ENV=$(ENV)) PYTHONWARNINGS=ignore $(RUN) viz build --include-hooks --include-previews

docs: $(VENV)/docs  ## the documentation, in site/
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet && echo "documentation: site/index.html"

soak: $(VENV)/dev  ## reliability, the long version: runs killed at random, mutated audio, every file damaged
	@$(VENV)/bin/python benchmarks/soak.py
	@$(VENV)/bin/python -m pytest -m "slow or not slow" tests/project/test_damage.py

bench: $(VENV)/dev  ## speed and memory of the critical parts beside the plain way, in one table
	@rm -f benchmarks/results.json
	@for bench in benchmarks/bench_*.py; do OMP_NUM_THREADS=1 $(VENV)/bin/python $$bench > /dev/null || exit 1; done
	@$(VENV)/bin/python benchmarks/table.py

# Never data/01_raw, never the trained encoders in data/06_models.
clean:  ## delete derived data
	@PYTHONPATH=src $(PYTHON) -W ignore -m unfused.core.locks data
	@find data/02_intermediate data/03_primary data/04_feature data/05_model_input data/07_model_output \
	    data/08_reporting -mindepth 1 ! -name .gitkeep -delete
	@rm -rf build site .pytest_cache .ruff_cache .mypy_cache

$(VENV)/demo $(VENV)/dev $(VENV)/docs: $(VENV)/%: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing unfused[$*] into $(VENV) (about 5 GB with PyTorch; 2-5 minutes the first time)"
	@$(INSTALL) -e ".[$*]"
	@touch $@
