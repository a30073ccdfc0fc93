# Every target sets up what it needs. `make` alone lists them. Settings: PROFILE=smoke|demo|paper, DATA=folder with real data
# sets (default: synthetic hospitals made on the spot), DEVICE=auto|cpu|cuda, LIMIT=recordings of each data set and
# EPOCHS=passes, to try a profile quickly; BACKBONE=tiny_vit, the other reading of the paper's encoder; TEXT_LAYERS=2, the
# text encoder's last two layers trained too; ENCODER=file.py:Class, an encoder of your own in every table; folder or hub name of TEXT=the text encoder, LM=the language model of Table 3, BERT=what
# BERTScore compares with; CHROMIUM=the browser of `make browser` and `make pdf`.
PROFILE ?= demo
DATA ?=
DEVICE ?= auto
TEXT ?=
BACKBONE ?=
TEXT_LAYERS ?=
ENCODER ?=
LM ?=
BERT ?=
CHROMIUM ?= /usr/bin/chromium
LIMIT ?=
EPOCHS ?=
PYTHON ?= python3
NB ?= table1_linear_probe
P ?=

BIN := .venv/bin
MERIT := $(if $(TEXT),MERIT_TEXT=$(TEXT) ,)$(if $(BACKBONE),MERIT_BACKBONE=$(BACKBONE) ,)$(if $(TEXT_LAYERS),MERIT_TEXT_LAYERS=$(TEXT_LAYERS) ,)$(if $(ENCODER),MERIT_ENCODER=$(ENCODER) ,)$(if $(LM),MERIT_LM=$(LM) ,)$(if $(BERT),MERIT_BERT=$(BERT) ,)$(if $(LIMIT),MERIT_LIMIT=$(LIMIT) ,)$(if $(EPOCHS),MERIT_EPOCHS=$(EPOCHS) ,)$(BIN)/python -m merit
RUN := --profile $(PROFILE) $(if $(DATA),--data $(DATA),)

.DEFAULT_GOAL := help
.PHONY: help setup book pdf notebook compare data pretrain evaluate reference test check browser bench clean

help: ## This list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "\033[1mmake %-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or later is needed; {sys.executable} is {v.major}.{v.minor}; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

setup: .venv/.ready ## Install the pinned packages into .venv. 3 minutes, 2.4 GB (CPU build of torch), package index needed.

book: setup ## Everything: data, pretraining, tables, HTML book. Demo: under 20 minutes on 2 cores; nothing changed: seconds.
	@$(MERIT) book $(RUN) --device $(DEVICE)

pdf: book ## The whole book as one PDF, _build/<run>/merit.pdf, by Debian's chromium (CHROMIUM=path). Under a minute once the book is there, 11 MB.
	@$(MERIT) pdf $(RUN) --chromium $(CHROMIUM)

notebook: setup ## One notebook again: make notebook NB=table1_linear_probe P="-p tasks form". Seconds to minutes.
	@$(MERIT) notebook $(NB) $(RUN) --device $(DEVICE) $(P)

compare: setup ## What differs between two executed notebooks: make compare A=one.ipynb B=other.ipynb. Seconds.
	@$(MERIT) compare $(A) $(B)

data: setup ## Only the recordings: synthetic hospitals or DATA=, and a store of each. Demo: a minute on 2 cores.
	@$(MERIT) data $(RUN)

pretrain: setup ## Only the four objectives. Demo: seven minutes on 2 cores; a killed run goes on where it was.
	@$(MERIT) pretrain $(RUN) --device $(DEVICE)

evaluate: setup ## Only linear probing, printed line by line. Demo: two minutes on 2 cores once pretrained.
	@$(MERIT) evaluate $(RUN) --device $(DEVICE)

reference: setup ## Five pretraining seeds of every objective, strength and peer's objective, every table, into book/reference. Demo: seven hours on 2 cores.
	@$(MERIT) reference $(RUN) --device $(DEVICE)

test: setup ## The tests. Four minutes on 2 cores; with MERIT_REAL_DATA=folder also on real recordings.
	@$(BIN)/python -m pytest -n auto --dist loadfile

check: setup ## Style and tests.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -n auto --dist loadfile

.venv/.browser: .venv/.ready requirements-browser.txt
	$(BIN)/pip install --quiet --requirement requirements-browser.txt
	@touch $@

browser: .venv/.browser ## Every built page in Debian's chromium without network, at two widths, in two themes (BOOK=folder of pages). Two minutes on 2 cores.
	@test -x "$(CHROMIUM)" || { echo "no browser at $(CHROMIUM): apt-get install chromium, or make browser CHROMIUM=path"; exit 1; }
	@MERIT_CHROMIUM=$(CHROMIUM) $(if $(BOOK),MERIT_BOOK=$(BOOK) ,)$(BIN)/python -m pytest -m browser -n auto tests/book/test_browser.py

bench: setup ## Speed of pretraining, ingest and probing as ratios, memory of what_is_kept, into artifacts/bench.json for page `cost`. Ten minutes on 2 cores.
	@$(MERIT) bench --out artifacts/bench.json --device $(DEVICE) $(if $(DATA),--data $(DATA),)

clean: ## Remove what was made: artifacts/ and _build/ (not .venv).
	rm -rf artifacts _build
