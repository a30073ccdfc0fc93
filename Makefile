# Every target sets up what it needs. `make` alone lists them. Settings: PROFILE=smoke|demo|paper, DATA=folder with real data sets
# (default: synthetic hospitals made on the spot), SET="model.mask_ratio=0.5 pretrain.seed=1", any field of merit/config.py by its
# path, DEVICE=auto|cpu|cuda, COMPILED=1, GRAPHS=1 and ATTENTION=flex, which compile pretraining; LIMIT=recordings of each data set
# and EPOCHS=passes, to try a profile quickly; BACKBONE=tiny_vit, the other reading of the paper's encoder; TEXT_LAYERS=2, the text
# encoder's last two layers trained too; ENCODER=file.py:Class, an encoder of your own in every table; folder or hub name of
# TEXT=the text encoder, LM=the language model of Table 3, BERT=what BERTScore compares with; CHROMIUM=the browser of
# `make browser` and `make pdf`. A value reaches its command as it is written, whatever is in it: neither make nor the shell
# reads it (`value`, and one quoted word or a variable of the environment).
PROFILE ?= demo
DEVICE ?= auto
CHROMIUM ?= /usr/bin/chromium
PYTHON ?= python3
NB ?= table1_linear_probe

GIVEN := PROFILE DATA SET DEVICE COMPILED GRAPHS ATTENTION LIMIT EPOCHS BACKBONE TEXT_LAYERS ENCODER TEXT LM BERT CHROMIUM \
	PYTHON NB P A B BOOK
unexport $(GIVEN)
$(foreach name,$(GIVEN),$(if $(value $(name)),$(eval export MERIT_$(name) = $$(value $(name)))))

BIN := .venv/bin
MERIT := env MERIT_MAKE=1 $(BIN)/python -m merit
RUN := --profile "$$MERIT_PROFILE" $${MERIT_DATA:+--data "$$MERIT_DATA"} $${MERIT_SET:+--set "$$MERIT_SET"}
ON := --device "$$MERIT_DEVICE"

.DEFAULT_GOAL := help
.PHONY: help setup book pdf notebook compare data pretrain evaluate reference test check browser bench clean

help: ## This list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "\033[1mmake %-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ready: requirements.txt pyproject.toml
	"$$MERIT_PYTHON" -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or later is needed; {sys.executable} is {v.major}.{v.minor}; try make PYTHON=python3.12")'
	"$$MERIT_PYTHON" -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

setup: .venv/.ready ## Install the pinned packages into .venv. 3 minutes, 2.4 GB (CPU build of torch), package index needed.

book: setup ## Everything: data, pretraining, tables, HTML book. Demo: under 20 minutes on 2 cores; nothing changed: seconds.
	@$(MERIT) book $(RUN) $(ON)

pdf: book ## The whole book as one PDF, _build/<run>/merit.pdf, by Debian's chromium (CHROMIUM=path). Under a minute once the book is there, 11 MB.
	@$(MERIT) pdf $(RUN) --chromium "$$MERIT_CHROMIUM"

notebook: setup ## One notebook again: make notebook NB=table1_linear_probe P="-p tasks form", SET= as for the book. Seconds to minutes.
	@if [ -z "$$MERIT_P" ]; then $(MERIT) notebook "$$MERIT_NB" $(RUN) $(ON); \
	else printf '%s\n' "$$MERIT_P" | xargs $(MERIT) notebook "$$MERIT_NB" $(RUN) $(ON); fi

compare: setup ## What differs between two executed notebooks: make compare A=one.ipynb B=other.ipynb. Seconds.
	@$(MERIT) compare "$$MERIT_A" "$$MERIT_B"

data: setup ## Only the recordings: synthetic hospitals or DATA=, and a store of each. Demo: a minute on 2 cores.
	@$(MERIT) data $(RUN)

pretrain: setup ## Only the four objectives. Demo: seven minutes on 2 cores; a killed run goes on where it was.
	@$(MERIT) pretrain $(RUN) $(ON)

evaluate: setup ## Only linear probing, printed line by line. Demo: two minutes on 2 cores once pretrained.
	@$(MERIT) evaluate $(RUN) $(ON)

reference: setup ## Five pretraining seeds of every objective, strength and peer's objective, every table, into book/reference. Demo: seven hours on 2 cores.
	@$(MERIT) reference $(RUN) $(ON)

test: setup ## The tests. Six minutes on 2 cores; with MERIT_REAL_DATA=folder also on real recordings.
	@$(BIN)/python -m pytest -n auto --dist loadfile

check: setup ## Style and tests.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -n auto --dist loadfile

.venv/.browser: .venv/.ready requirements-browser.txt
	$(BIN)/pip install --quiet --requirement requirements-browser.txt
	@touch $@

browser: .venv/.browser ## Every built page in Debian's chromium without network, at two widths, in two themes (BOOK=folder of pages). Two minutes on 2 cores.
	@test -x "$$MERIT_CHROMIUM" || { echo "no browser at $$MERIT_CHROMIUM: apt-get install chromium, or make browser CHROMIUM=path"; exit 1; }
	@$(BIN)/python -m pytest -m browser -n auto tests/book/test_browser.py

bench: setup ## Speed of pretraining, ingest and probing as ratios, memory of what_is_kept, into artifacts/bench.json for page `cost`. Ten minutes on 2 cores.
	@$(MERIT) bench --out artifacts/bench.json $(ON) $${MERIT_DATA:+--data "$$MERIT_DATA"}

clean: ## Remove what was made: artifacts/ and _build/ (not .venv).
	rm -rf artifacts _build
