# Each target creates .venv if it is missing. They need Python 3.11 to 3.14 and make only.
PYTHON ?= python3
VENV := .venv/bin
# Most tests wait for processes, so more of them run at once than there are cores.
WORKERS ?= 4
SIDE_BY_SIDE := -n $(WORKERS)

.PHONY: help setup demo test compat verify notebooks compose fuzzchecks lab build lint mutate bench soak fuzz gallery docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## create .venv or update it (every other target does this first)
	@$(PYTHON) tools/setup.py

demo: setup ## grade a demo class and print where the report is
	@$(VENV)/vaelab demo

test: lint ## lint, check types, run all tests side by side
	@$(VENV)/python -m pytest -q $(SIDE_BY_SIDE)

compat: ## run the quick tests with the lowest versions that pyproject.toml allows
	@$(PYTHON) tools/setup.py .venv-lowest requirements-lowest.txt
	@.venv-lowest/bin/python -m pytest -q $(SIDE_BY_SIDE) -m "not slow"

verify: setup ## test every assignment on its whole submission corpus, with all training (an hour)
	@$(VENV)/vaelab verify

notebooks: setup ## run every solved notebook to its end, without a display
	@VAELAB_ALL_EPOCHS=1 $(VENV)/python -m pytest -q -n 2 tests/autograder/test_reference_notebooks.py

compose: setup ## grade 2,000 right compositions of ways to write each part, 50 of them trained
	@$(VENV)/vaelab compose --train 50

fuzzchecks: setup ## let each function of each reference return odd values; no check may raise
	@$(VENV)/python -m autograder.quality.fuzz

lab: setup ## open the notebooks in JupyterLab
	@set --; \
	if [ "$$(id -u)" = 0 ]; then set -- "$$@" --allow-root; fi; \
	if ! $(VENV)/python -c "import webbrowser; webbrowser.get()" 2>/dev/null; then \
		echo "No browser found: open the http://127.0.0.1 address that JupyterLab prints below."; \
		set -- "$$@" --no-browser; \
	fi; \
	exec $(VENV)/python -m jupyterlab --log-level=ERROR "$$@" notebooks

build: setup ## write notebooks/ from solutions/
	@$(VENV)/vaelab build

lint: setup ## ruff and mypy
	@$(VENV)/python -m ruff check
	@$(VENV)/python -m ruff format --check
	@$(VENV)/python -m mypy

mutate: setup ## change the references by small errors; each must lose its points (20 min)
	@$(VENV)/vaelab mutate --keep out/mutation --report docs/mutation.md

bench: setup ## measure speed, memory and the cost of the sandbox
	@$(VENV)/python -m benchmarks

soak: setup ## run the long tests: 1,000 submissions, every attack in every tier, cold workers
	@VAELAB_EVERY_ATTACK=1 VAELAB_KILLS=3 $(VENV)/python -m pytest -q tests/attacks
	@PYTHONPATH=tests $(VENV)/python -m attacks.soak
	@$(VENV)/vaelab verify --quick --twice

fuzz: setup ## fuzz the three readers of untrusted bytes with atheris, a minute each
	@$(VENV)/python -m pip install -q --target build/atheris atheris==3.0.0
	@for reader in frames notebook result; do \
		PYTHONPATH=tests:build/atheris $(VENV)/python -m attacks.fuzzing $$reader -max_total_time=60 || exit 1; \
	done

gallery: setup ## plot every figure of vae_utils into one page, out/gallery/index.html
	@$(VENV)/python -m tools.gallery

docs: setup ## build the documentation into out/docs; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(VENV)/python -m mkdocs build --strict
	@echo "Documentation: $(CURDIR)/out/docs/index.html"
	@echo "Its search needs a web server: .venv/bin/python -m http.server -d out/docs -b 127.0.0.1"

clean: ## delete out/, build/ and the caches, but not .venv
	@rm -rf out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name '.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +
