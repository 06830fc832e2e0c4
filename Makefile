# Everything here works on a machine with only Python (3.11 or newer), make and a package index.
PYTHON ?= python3
# CPU build where pip finds one; newer releases pull several GB of CUDA that a distillation has no use for.
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
EMBED_VENV := .venv-embed

# uv where it is installed, else the standard library's venv and pip. uv compiles only where it is told to, pip always
# does: without bytecode the first import of mlflow takes 8 s in place of 2.
UV := $(shell command -v uv 2>/dev/null)
define install
	@echo "setting up $(1): this takes a minute, once" >&2
	$(if $(UV),test -d $(1) || uv venv --quiet --seed --python $(PYTHON) $(1),test -d $(1) || $(PYTHON) -m venv $(1))
	$(if $(UV),uv pip install --quiet --compile-bytecode --python $(1)/bin/python $(2),$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2))
	@touch $@
endef

# In variables, because call would split at their commas.
DEMO_PACKAGES := -e '.[train]'
DEV_PACKAGES := -e '.[serve,train,label,dev]'
EMBED_PACKAGES := '$(TORCH)' -e '.[embed]' 'pytest>=8.3'

.PHONY: help demo test test-embed test-browser test-postgres test-pipeline check fix bench benchmark model clean

help:
	@echo "make demo        fit a router on a small synthetic history, and route three prompts"
	@echo "make test        the whole test suite"
	@echo "make test-browser  pages in headless Chromium, examples with node and curl (Debian: chromium chromium-driver nodejs curl)"
	@echo "make test-postgres  a history in a real PostgreSQL (Debian: postgresql)"
	@echo "make test-pipeline  the weekly pipeline and collections, killed at each of their steps"
	@echo "make test-embed  the tests of the distillation, with CPU torch"
	@echo "make check       what CI checks, changing nothing"
	@echo "make fix         format, and mend what can be mended"
	@echo "make bench       speed, memory and size; certificates, guards, weekly runs"
	@echo "make benchmark   quality: every estimator on every history (DATA=folder), into docs/BENCHMARKS.md"
	@echo "make model       fit the default model again (DATA=folder with the histories)"

$(VENV)/.demo: pyproject.toml
	$(call install,$(VENV),$(DEMO_PACKAGES))

$(VENV)/.dev: pyproject.toml
	$(call install,$(VENV),$(DEV_PACKAGES))

$(EMBED_VENV)/.ready: pyproject.toml
	$(call install,$(EMBED_VENV),$(EMBED_PACKAGES))

demo: $(VENV)/.demo
	@$(BIN)/python -m training synthetic --out demo >/dev/null
	@$(BIN)/python -m training fit --history demo/history.parquet --tiers demo/tiers.toml --out demo/model >demo/fit.json
	@$(BIN)/python -m eval report --model demo/model --history demo/history.parquet --tiers demo/tiers.toml \
		--out demo/report >demo/report.json; code=$$?; case $$code in 0|10|11|12) ;; *) exit $$code ;; esac
	@echo; echo "The report as a page: demo/report/report.html"
	@echo; echo "Three prompts, routed by the model just fitted:"
	@for prompt in \
		"Extract the order number from: order A-2291 was shipped on Monday." \
		"Translate into French: the invoice is due on Friday." \
		"Plan a rota for six nurses over two weeks: no one works three nights in a row, two are part-time, and every shift needs one senior. Show each step."; \
	do echo; echo "\"$$prompt\""; $(BIN)/tierwise route --model demo/model "$$prompt" || exit 1; done
	@echo; echo "The history is synthetic (training/synthetic.py). Next: your own, see README.md."

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto tests

test-browser: $(VENV)/.dev
	$(BIN)/python -m pytest -m browser tests/browser tests/examples

test-postgres: $(VENV)/.dev
	$(BIN)/python -m pytest -m postgres tests/training

test-pipeline: $(VENV)/.dev
	$(BIN)/python -m pytest -m pipeline -n auto tests/training tests/examples

test-embed: $(EMBED_VENV)/.ready
	@# Cut off from tests/conftest.py, whose fixtures need what this environment does not have.
	$(EMBED_VENV)/bin/python -m pytest -m embed --confcutdir tests/embed tests/embed

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m eval benchmark --check

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

DATA ?= ../shared/data
bench: $(VENV)/.dev
	$(BIN)/python -m bench.footprint
	$(BIN)/python -m bench.latency --data $(DATA)
	$(BIN)/python -m bench.http --data $(DATA)
	$(BIN)/python -m bench.certificate --data $(DATA)
	$(BIN)/python -m bench.guard --data $(DATA)
	$(BIN)/python -m bench.fit --data $(DATA) --sizes 10000 30000 100000
	$(BIN)/python -m bench.censored
	$(BIN)/python -m bench.collect
	$(BIN)/python -m bench.grade
	$(BIN)/python -m bench.duplicates
	$(BIN)/python -m bench.retrain --sizes 6000 100000
	$(BIN)/python -m bench.year

benchmark: $(VENV)/.demo
	$(BIN)/python -m eval benchmark --data $(DATA)

model: $(VENV)/.demo
	$(BIN)/python -m training fit --history $(DATA)/mmlu_pro.parquet $(DATA)/zeroeval.parquet $(DATA)/llmrouter_uiuc.parquet \
		--tiers training/recipes/default.tiers.toml --notes training/recipes/default.md --name "tierwise default" \
		--split group --embedding models/default --out models/default

clean:
	rm -rf $(VENV) $(EMBED_VENV) demo out report build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
