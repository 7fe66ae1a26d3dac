PYTHON ?= python3
BIN := .venv/bin
NATIVE := setup.py $(wildcard services/inference/engine/native/*.cpp services/inference/engine/native/*.h)

.PHONY: setup demo test lint protos clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt examples/requirements.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Flywheel needs Python 3.11; say which one: make PYTHON=python3.11")'
	@echo "Installing into .venv (torch first; a few minutes the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r examples/requirements.txt
	@ls services/inference/engine/native/*.so >/dev/null 2>&1 || echo "No C++ compiler: generation runs on torch alone, at about half the speed (README, Speed)"
	@touch $@

demo: setup
	@$(BIN)/flywheel demo --fresh

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy shared services benchmarks
	@cd protos && ../$(BIN)/buf lint

protos: setup
	@$(BIN)/python -m shared.contracts.generate

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build *.egg-info
