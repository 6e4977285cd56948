# Each target sets up .venv by itself the first time; it takes Python 3.11 to 3.14 and make, no more.
PYTHON ?= python3
VENV := .venv/bin

.PHONY: help setup demo test verify lab build lint bench soak fuzz gallery docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make .venv, or bring it up to date (the others do so first)
	@$(PYTHON) tools/bootstrap.py

demo: setup ## see the whole course at work on one machine
	@$(VENV)/vaelab demo

test: lint ## lint, check types, run all tests
	@$(VENV)/python -m pytest -q

verify: setup ## hold every assignment against its whole bank, everyone trained (an hour)
	@$(VENV)/vaelab verify

lab: setup ## open the notebooks in JupyterLab
	@set --; \
	if [ "$$(id -u)" = 0 ]; then set -- "$$@" --allow-root; fi; \
	if ! $(VENV)/python -c "import webbrowser; webbrowser.get()" 2>/dev/null; then \
		echo "No browser found: open the http://127.0.0.1 address that JupyterLab prints below."; \
		set -- "$$@" --no-browser; \
	fi; \
	exec $(VENV)/python -m jupyterlab "$$@" notebooks

build: setup ## write notebooks/ from solutions/
	@$(VENV)/vaelab build

lint: setup ## ruff and mypy
	@$(VENV)/python -m ruff check
	@$(VENV)/python -m ruff format --check
	@$(VENV)/python -m mypy

bench: setup ## measure speed, memory and the sandbox's cost
	@$(VENV)/python -m benchmarks

soak: setup ## the long tests: 1,000 submissions, a tenth hostile; every attack in every tier; warm = cold
	@VAELAB_EVERY_ATTACK=1 VAELAB_KILLS=3 $(VENV)/python -m pytest -q tests/attacks
	@PYTHONPATH=tests $(VENV)/python -m attacks.soak
	@$(VENV)/vaelab verify --quick --twice

fuzz: setup ## a minute of atheris on each of the two readers of untrusted bytes
	@$(VENV)/python -m pip install -q --target build/atheris atheris==3.0.0
	@for reader in frames notebook; do \
		PYTHONPATH=tests:build/atheris $(VENV)/python -m attacks.fuzzing $$reader -max_total_time=60 || exit 1; \
	done

gallery: setup ## draw the pictures that show what the models learn
	@$(VENV)/python -m vae_utils.gallery

docs: setup ## build the documentation into out/docs; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(VENV)/python -m mkdocs build --strict
	@echo "Documentation: $(CURDIR)/out/docs/index.html"

clean: ## remove out/, build/ and the caches (.venv stays: rm -r .venv takes it away)
	@rm -rf out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name .venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
