# make demo        open the chat page              make test      all tests (Chromium too, where there is one)
# make check       ruff and mypy                   make eval-dev  numbers on the development images (DATA=...)
# make train-nano  train one like the bundled one  make bench     speed and quality (bench-cpu: ratios that must hold)
# make pictures    the README's pictures of the page, taken anew (needs a Chromium)
# make space       a Hugging Face Space's folder (KIND=cpu, gpu or zerogpu; OUT=build/space; ARGS="--model onevision-7b")
# Each of them makes .venv by itself the first time; afterwards .venv/bin/agvas is the command line.

# the first Python that is new enough; python3 where none is, for the sentence about it
PYTHON ?= $(or $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done),python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.agvas-runtime
DEV    := $(VENV)/.agvas-dev
# labelled images in MVTec layout: in the checkout, or beside it
DATA   ?= $(firstword $(wildcard shared/dev_data ../shared/dev_data) shared/dev_data)
ENGINE ?= agvas-nano
ARGS   ?=
KIND   ?= cpu
OUT    ?= build/space
export OMP_NUM_THREADS ?= 2

.PHONY: demo test check eval-dev train-nano bench bench-cpu pictures space clean help

help:
	@sed -n '1,6s/^# //p' Makefile

demo: $(STAMP)
	$(BIN)/agvas demo $(ARGS)

# files side by side in two processes of one thread each: half the time of one process with two threads
test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -n 2 --dist loadfile $(ARGS)

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/mypy

eval-dev: $(DEV)
	$(BIN)/agvas evaluate --data $(DATA) --engine $(ENGINE) $(ARGS)

train-nano: $(STAMP)
	$(BIN)/agvas train --preset nano --stage dense --run-dir runs/nano --steps 6000 --batch 8 --lr 1e-3 --sizes 192,256 $(ARGS)
	$(BIN)/agvas train --preset nano --stage words --run-dir runs/nano --steps 1500 --batch 24 --lr 1e-3 $(ARGS)
	$(BIN)/agvas train --preset nano --stage joint --run-dir runs/nano --steps 3000 --batch 8 --lr 8e-4 --sizes 192,256 $(ARGS)
	$(BIN)/agvas train --preset nano --stage export --run-dir runs/nano --out checkpoints/mine --batch 8 --sizes 192,256 $(ARGS)

# fails on ratios only (cached against uncached, one pass against a token loop), never on seconds
bench-cpu: $(STAMP)
	$(BIN)/python bench/serving.py --check --image-px 256 --repeats 5 $(ARGS)

# those that measure; what trains (train_larger, expert_ablations) is started by name
MEASURES := attention synthesis startup latency serving replicas false_alarms ablations agreement close_look failures
bench: $(STAMP)
	@for name in $(MEASURES); do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

pictures: $(DEV)
	$(BIN)/python -m tests.browser.pictures $(ARGS)

space: $(STAMP)
	$(BIN)/agvas space --kind $(KIND) --out $(OUT) $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "AG-VAS Chat needs Python 3.11 or newer, and $(PYTHON) is older: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make a virtual environment: install its venv package first (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml requirements.txt | $(BIN)/python
	@echo "Installing into $(VENV): some minutes, most of them for PyTorch."
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(DEV): pyproject.toml requirements.txt | $(BIN)/python
	@echo "Installing into $(VENV), with what the tests need: some minutes."
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(STAMP)
