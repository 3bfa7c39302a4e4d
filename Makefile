# `make demo` and `make test` set everything up by themselves: Python 3.11 or later is all they need.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
CODE := supervisor actors transport tests bench
# Half of the time tests wait: for networks to come back, browsers to paint, processes to start.
AT_ONCE := $(shell expr 2 '*' "$$(getconf _NPROCESSORS_ONLN)")

.DEFAULT_GOAL := help
.PHONY: help demo test lint types check bench lock sbom audit clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'PYTHON=python3.12 picks the interpreter; ARGS="…" goes to the demo, to pytest or to the bench.'

demo: $(READY)  ## watch a session survive its recogniser
	@$(BIN)/voxtree demo $(ARGS)

test: $(READY)  ## the whole test suite, on all cores
	@$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY)  ## ruff: rules and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)  ## mypy --strict, and pyright on the two libraries
	@$(BIN)/mypy
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test  ## all three

bench: $(READY)  ## the measurements (ARGS names one)
	@$(BIN)/python -m bench $(ARGS)

COMPILE = PATH="$(BIN):$$PATH" uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--exclude-newer '8 days' --custom-compile-command 'make lock'
IN_IMAGE := $(addprefix --extra ,server uvloop postgres encrypted tracing)

lock: $(READY)  ## pin the newest dependencies that are at least eight days old, for tests and for the image
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) --upgrade --extra all pyproject.toml requirements/build.in --output-file requirements/test.txt
	@$(COMPILE) --upgrade --constraint requirements/test.txt $(IN_IMAGE) pyproject.toml \
		--output-file requirements/server.txt
	@$(COMPILE) --upgrade --constraint requirements/test.txt requirements/build.in --output-file requirements/build.txt

# Tools of their own, which the project itself does not need: kept out of its lock, in an environment of their own.
sbom: $(READY)  ## the dependencies as CycloneDX, from the lock: dist/sbom.json
	@mkdir -p dist
	@$(call tool,cyclonedx-bom==7.5.0) && build/tools/bin/cyclonedx-py requirements requirements/test.txt \
		--pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.json
	@echo 'dist/sbom.json'

audit: $(READY)  ## known vulnerabilities of the locked dependencies (asks a database on the network)
	@$(call tool,pip-audit==2.10.1) && { build/tools/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/test.txt || \
		{ echo 'pip-audit has found something, or could not reach its database: the lines above say which' >&2; exit 1; }; }

tool = test -x build/tools/bin/python || $(BIN)/python -m venv build/tools; \
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check $(1)

clean:  ## remove everything that make made
	@rm -rf $(VENV) $(VENV).log build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/test.txt requirements/make-venv.sh pyproject.toml
	@requirements/make-venv.sh $(VENV)
