# Mags-RL kit. `make` prints what there is.
PROFILE ?= cpu
NAME    ?=
SET     ?=
DATA    ?=
TRAIN   ?=
CURATED ?=
IMAGE   ?=
QUESTION ?=
MODEL   ?= embedded
ADAPTER ?=
BENCH   ?=
N       ?=
A       ?=
B       ?=
REPO    ?=
KILLS   ?= 30
# A `$` on make's command line stays one; recipes take words from the environment, so that no shell runs any of them.
$(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$(eval override export $v := $$(value $v))))
# A word that no recipe takes is a slip, unless it is for the environment (OMP_NUM_THREADS=1)
KNOWN := PROFILE NAME SET DATA TRAIN CURATED IMAGE QUESTION MODEL ADAPTER BENCH N A B REPO KILLS VENV PYTHON MAGS_RUNS CHROMIUM OFFLINE
$(foreach v,$(.VARIABLES),$(if $(filter override,$(origin $v)),$(if $(or $(filter $(KNOWN),$v),$(findstring _,$v)),,$(warning $v= is no setting of this Makefile; expected one of $(KNOWN)))))
# What the command line says, else a target's own default
given = $(if $(filter override,$(origin $1)),$($1),$2)
export PROFILE NAME SET DATA TRAIN CURATED IMAGE QUESTION MODEL ADAPTER BENCH N A B REPO KILLS

VENV    ?= .venv
FITS    := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))
PYTHON  ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
PY      := $(VENV)/bin/python
UV      := $(VENV)/bin/uv
READY   := $(VENV)/.mags-kit-ready
RUN     := $(PY) -m mags_kit run --profile="$$PROFILE" --name="$$NAME" --set="$$SET" --own="$$DATA" \
           --train="$$TRAIN" --curated-ids="$$CURATED"

# A rule's target can't hold a space; every other path may.
ifneq ($(words $(VENV)),1)
$(error VENV=$(VENV): make can't build in a folder with a space in its name; name another)
endif

# Many containers set it, and each process would then compile anew what it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help env reproduce curate evaluate smoke reference results ablations rule base status plan measure bench merge look inspect rescore compare check test test-long test-browser chaos fuzz lab lock check-lock address clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo "settings: PROFILE=smoke|cpu|reference|paper|qwen3-vl-4b|…  NAME=run-folder  SET='{seed: 1}'  DATA=own.jsonl  TRAIN=own.jsonl  CURATED=ids.txt  MAGS_RUNS=folder-of-runs"

env: $(READY) ## set up .venv: exact versions, basicsr, the kit

reproduce: $(READY) ## the main job: notebooks 01 to 04 into runs/, ends with the path of the report
	@$(RUN)

curate: $(READY) ## notebook 01 alone: the data that training in several processes starts from (docs/large-models.md)
	@$(RUN) --job curate

evaluate: PROFILE := $(call given,PROFILE,)
evaluate: $(READY) ## a model alone: MODEL= [ADAPTER=] and DATA=own.jsonl or BENCH=vsr,tallyqa,gqa [N=questions]; trains nothing
	@$(PY) -m mags_kit evaluate --own="$$DATA" --bench="$$BENCH" --model="$$MODEL" --adapter="$$ADAPTER" \
		--questions="$${N:-0}" --profile="$$PROFILE" --name="$$NAME" --set="$$SET"

# Notebooks 00 and 07 need none of the others, so they run beside them; what they say is shown where one fails.
smoke: PROFILE := $(call given,PROFILE,smoke)
smoke: $(READY) ## every cell of every notebook, with tiny sizes
	@export OMP_NUM_THREADS=1; log=$$(mktemp); \
	$(PY) -m mags_kit run --profile smoke --name="$${NAME:-smoke}-beside" --set="$$SET" --job beside >$$log 2>&1 & \
	trap "kill $$!" INT TERM; \
	$(RUN) --job smoke; rest=$$?; wait $$!; beside=$$?; [ $$beside = 0 ] || tail -n 5 $$log; rm $$log; exit $$((rest + beside))

reference: PROFILE := $(call given,PROFILE,reference)
reference: $(READY) ## the reference results: 2,000 candidates, 900 questions, five seeds (an estimated two hours on two cores)
	@$(RUN) --job reference

results: $(READY) ## copy what the README shows of run NAME= (by default the reference run) into results/
	@$(PY) scripts/publish.py --name="$${NAME:-reference}"

ablations: PROFILE := $(call given,PROFILE,reference)
ablations: $(READY) ## does the curriculum matter? orders and numbers of samples, by seed (35 trainings, an estimated three hours on two cores)
	@$(RUN) --job ablations

rule: PROFILE := $(call given,PROFILE,rule)
rule: $(READY) ## when to look: RL where a look costs something, and what makes it give up looking (16 trainings, an estimated hour and a half on two cores)
	@$(RUN) --job rule

base: NAME := $(call given,NAME,base)
base: SET := $(call given,SET,{seed: 1})
base: $(READY) ## train the embedded base model again from nothing (notebook 00, an estimated 55 minutes on two cores)
	@$(RUN) --job base

status: $(READY) ## each step of run NAME=: done, stale and why, or missing
	@$(PY) -m mags_kit status --name="$${NAME:-$$PROFILE}"

plan: $(READY) ## what PROFILE= will need (GPU memory, disk) beside what is here; starts nothing
	@$(PY) -m mags_kit plan --profile="$$PROFILE" --set="$$SET"

measure: PROFILE := $(call given,PROFILE,paper)
measure: $(READY) ## memory and seconds of a step of PROFILE= on this GPU, beside the plan, on random weights: results/gpu/
	@$(PY) scripts/bench.py --random --profile="$$PROFILE" --set="$$SET"

bench: $(READY) ## rollouts by batch size, one call per sample, TRL's loop, a training step by part: runs/bench/bench.json
	@$(PY) scripts/bench.py --profile="$$PROFILE" --set="$$SET"

merge: $(READY) ## the best adapter of run NAME= merged into its base: runs/NAME/merged/, with model cards
	@$(PY) -m mags_kit merge --name="$${NAME:-$$PROFILE}"

look: $(READY) ## two rounds on one image: IMAGE=photo.jpg QUESTION="…" [MODEL=…] [ADAPTER=…]
	@$(PY) -m mags_kit look --image="$$IMAGE" --question="$$QUESTION" --model="$$MODEL" --adapter="$$ADAPTER" --set="$$SET"

inspect: $(READY) ## the inspector and the playground of run NAME= as a page on this machine alone; Ctrl-C stops it
	@export MAGS_RUN="$${NAME:-$$PROFILE}"; test -e "$${MAGS_RUNS:-runs}/$$MAGS_RUN/config.json" \
		|| { printf "expected NAME= a folder under runs/, got %s\n" "$$MAGS_RUN"; exit 1; }; \
	MAGS_RUNS="$$(cd "$${MAGS_RUNS:-runs}" && pwd)" exec $(PY) -m voila mags_kit/viz/inspect.ipynb \
		--Voila.config_file_paths=mags_kit/viz --no-browser

rescore: $(READY) ## score the stored trajectories of run NAME= anew, without a model: the same, or what differs
	@$(PY) -m mags_kit rescore --name="$${NAME:-$$PROFILE}"

compare: $(READY) ## two runs A= and B= question by question: what differs, and how surely
	@test "$$A" && test "$$B" || { echo "expected two runs, A= and B=, by the names of their folders under runs/"; exit 1; }
	@$(PY) -m mags_kit compare -- "$$A" "$$B"

check: $(READY) ## hold run NAME= against the README's claims (results/claims.yaml)
	@$(PY) -m mags_kit check --name="$${NAME:-$$PROFILE}"

# The browser is the system's: Debian's `chromium`, or one that CHROMIUM= names.
test-browser: $(READY) ## the widgets in a real Chromium, in JupyterLab and by Voilà; pictures in runs/browser/
	$(PY) scripts/install.py pip install --quiet --constraint requirements.lock --requirement pyproject.toml --extra browser
	@$(PY) -m pytest tests/browser -m browser

test: $(READY) ## the tests
	@$(PY) -m pytest --numprocesses auto --dist loadfile

test-long: $(READY) ## the long tests: killed runs, hostile replies, several processes, the paper profile on a tiny model
	@$(PY) -m pytest --numprocesses auto --dist loadfile -m long

chaos: $(READY) ## kill a small run KILLS= times at random, and compare it with one that was left alone (an hour and more)
	@$(PY) tests/chaos.py --kills="$$KILLS"

fuzz: $(READY) ## 100,000 hostile replies of two kinds of model each through rollout and TRL's loop (an hour on one core)
	@REPLIES=100000 OMP_NUM_THREADS=1 $(PY) -m pytest tests/test_fuzz.py -m long

lab: $(READY) ## JupyterLab on the notebooks
	@$(PY) -m jupyterlab notebooks --ServerApp.tornado_settings='{"websocket_max_message_size": 104857600}'

# All extras but vllm: what that needs keeps NumPy below the locked one.
LOCKED := dev inspect browser

lock: | $(UV) ## write requirements.lock from pyproject.toml, for every platform; versions that still fit stay
	@$(UV) pip compile --quiet --universal --python-version 3.11 $(LOCKED:%=--extra %) --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

PLATFORMS := x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin x86_64-pc-windows-msvc

# torch and bitsandbytes have wheels for macOS 14 and later.
check-lock: | $(UV) ## is there a wheel of each locked version for each platform and Python? (asks the index)
	@for python in 3.11 3.12; do for platform in $(PLATFORMS); do \
		MACOSX_DEPLOYMENT_TARGET=14.0 $(UV) pip compile --quiet --no-build --python-version $$python \
			--python-platform $$platform requirements.lock >/dev/null || exit 1; \
		echo "$$python $$platform: yes"; done; done

address: ## write REPO=owner/name, the address of your copy on GitHub, into the badges and the notebooks' install cells
	@case "$$REPO" in */*/*|*[!A-Za-z0-9._/-]*|/*|*/) false;; */*) true;; *) false;; esac \
		|| { printf "REPO=%s: expected owner/name, as on GitHub\n" "$$REPO"; exit 1; }
	@old=$$(sed -n 's#.*https://github.com/\([^/]*/[^/]*\)/actions/.*#\1#p' README.md | head -n 1); \
	sed -i.old "s#github.com/$$old#github.com/$$REPO#g; s#/github/$$old/#/github/$$REPO/#g" README.md notebooks/*.ipynb \
		&& rm README.md.old notebooks/*.ipynb.old

clean: ## delete the run folder (NAME=, else PROFILE's), nothing else
	@case "$${NAME:-$$PROFILE}" in ""|.*|*/*) \
		printf "NAME=%s: expected the name of a folder in runs/\n" "$$NAME"; exit 1;; esac
	rm -rf "$${MAGS_RUNS:-runs}/$${NAME:-$$PROFILE}"

# basicsr's sdist asks for torch at build time; in isolation a second one, several GB, would be fetched.
# Its own list of needs is left out (--no-deps): pyproject.toml has those that are used.
$(READY): requirements.lock pyproject.toml | $(UV)
	$(PY) scripts/install.py pip install --quiet --constraint requirements.lock --requirement pyproject.toml --extra dev --extra inspect
	$(PY) scripts/install.py pip install --quiet --no-build-isolation --no-deps basicsr==1.4.2 --editable .
	@touch $(READY)

$(UV): found = $(or $(wildcard $(PY)),$(PYTHON))
$(UV):
	@"$(found)" -c '$(FITS)' 2>/dev/null || { echo "expected Python 3.11 or 3.12, found $(or $(found),none)" \
		"($$("$(found)" --version 2>/dev/null || echo does not run)); set PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	$(PY) -m pip install --quiet --constraint requirements.lock uv
