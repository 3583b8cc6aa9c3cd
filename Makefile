# Mags-RL kit. `make` prints what there is.
PROFILE ?= cpu
NAME    ?=
SET     ?=
DATA    ?=
VENV    ?= .venv
PYTHON  ?= $(shell command -v python3.11 || command -v python3)
PY      := $(VENV)/bin/python
READY   := $(VENV)/.mags-kit-ready
RUN      = $(PY) -m mags_kit.pipeline --profile "$(PROFILE)" --name "$(NAME)" --set '$(SET)' --own "$(DATA)"

.DEFAULT_GOAL := help
.PHONY: help env reproduce curate smoke reference results ablations base plan merge test lab lock clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo "settings: PROFILE=smoke|cpu|reference|paper|paper-7b  NAME=run-folder  SET='{seed: 1}'  DATA=own.jsonl"

env: $(READY) ## set up .venv: exact versions, basicsr, the kit

reproduce: $(READY) ## the main job: notebooks 01 to 04 into runs/, ends with the path of the report
	@$(RUN)

curate: $(READY) ## notebook 01 alone: the data that training in several processes starts from (see README)
	@$(RUN) --job curate

# Notebook 00 needs none of the others, so it runs beside them; what it says is shown where it fails.
smoke: PROFILE = smoke
smoke: $(READY) ## every cell of every notebook, with tiny sizes
	@export OMP_NUM_THREADS=1; log=$$(mktemp); \
	$(PY) -m mags_kit.pipeline --profile smoke --name "$(or $(NAME),smoke)-base" --set '$(SET)' --job base >$$log 2>&1 & \
	trap "kill $$!" INT TERM; \
	$(RUN) --job smoke; rest=$$?; wait $$!; base=$$?; [ $$base = 0 ] || tail -n 5 $$log; rm $$log; exit $$((rest + base))

reference: PROFILE = reference
reference: $(READY) ## the reference results: 2,000 candidates, 900 questions, three seeds (an estimated hour on two cores)
	@$(RUN) --job reference

results: $(READY) ## copy what the README shows of the reference run into results/, pictures as WebP
	@mkdir -p results && cd runs/reference && for f in config.json manifest.json metrics.json seeds.json ablations.json; do \
		if [ -e "$$f" ]; then cp "$$f" ../../results/; fi; done
	@$(PY) -c 'import pathlib; from PIL import Image; \
		[Image.open(p).convert("RGB").save(f"results/{p.stem}.webp", quality=90) \
		for p in pathlib.Path("runs/reference/figures").glob("*.png")]'

ablations: PROFILE = reference
ablations: $(READY) ## does the curriculum matter? orders and numbers of samples, three seeds (an estimated hour and a half on two cores)
	@$(RUN) --job ablations

base: NAME = base
base: $(READY) ## train the embedded base model again from nothing (notebook 00, about 40 minutes on two cores)
	@$(RUN) --job base

plan: $(READY) ## what PROFILE= will need (GPU memory, disk, hours) beside what is here; starts nothing
	@$(PY) -m mags_kit.plan --profile "$(PROFILE)" --set '$(SET)'

merge: $(READY) ## the best adapter of run NAME= merged into its base: runs/NAME/merged/, with model cards
	@$(PY) -m mags_kit.export --name "$(or $(NAME),$(PROFILE))"

test: $(READY) ## the tests
	@$(PY) -m pytest --numprocesses auto --dist loadfile

lab: $(READY) ## JupyterLab on the notebooks
	@$(PY) -m jupyterlab notebooks

lock: $(READY) ## write requirements.lock from what .venv holds
	@{ grep '^#' requirements.lock; $(PY) -m pip freeze --exclude-editable | grep -viE '^(basicsr|mags)' | sed 's/+cpu$$//'; } > requirements.lock.part
	@mv requirements.lock.part requirements.lock

clean: ## delete the run folder (NAME=, else PROFILE's), nothing else
	rm -rf "runs/$(or $(NAME),$(PROFILE))"

# basicsr's sdist asks for torch at build time; in isolation pip would fetch a second one, several GB.
# pip's own version resolver is left out of it (--no-deps): requirements.lock holds what it needs.
$(READY): requirements.lock pyproject.toml
	@test -x $(PY) || { "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "expected Python 3.11, found $$("$(PYTHON)" --version 2>&1 || echo none); set PYTHON=/path/to/python3.11"; exit 1; }; \
		"$(PYTHON)" -m venv $(VENV); }
	$(PY) -m pip install --quiet --requirement requirements.lock
	$(PY) -m pip install --quiet --no-build-isolation --no-deps basicsr==1.4.2
	$(PY) -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $(READY)
