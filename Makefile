# The words of this house; README.md says what each does. PYTHON=python3.12 chooses another interpreter for the set-up.
PYTHON ?= python3
UV = uv==0.13.9
BIN = .venv/bin
READY = .venv/.ready

.PHONY: setup up tour test check soak format migration bench clean
.DEFAULT_GOAL := up

setup: $(READY)

# Again whenever the lock changes. The mark is made last, so that a set-up that was cut off is simply done again.
$(READY): uv.lock pyproject.toml sandbox/npm/package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Clofy Cloud needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". make PYTHON=... takes another.")'
	@echo "Setting up .venv with $$($(PYTHON) --version): once, and again when uv.lock changes."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing $(UV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(UV)'
	@echo "Installing what uv.lock names ..."
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv sync --frozen --active --quiet
	@echo "Installing Azurite ..."
	@$(BIN)/python -m sandbox.azurite || true
	@touch $@

up: $(READY)
	@$(BIN)/python -m sandbox up

tour: $(READY)
	@$(BIN)/python -m sandbox tour $(if $(STATE),--state $(STATE))

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m sandbox with-postgres -- sh -c '$(BIN)/alembic upgrade head && $(BIN)/alembic check && $(BIN)/python -m core.privacy.completeness'

# Two at a time, each with a PostgreSQL, a Redis and stand-ins of its own; a file's tests stay together.
test: check
	$(BIN)/pytest -n 2 --dist loadfile

# Histories of money that Hypothesis makes up, two hours beside other work; EXAMPLES=50 tries so many.
soak: $(READY)
	CLOFY_SOAK=$(or $(EXAMPLES),2000),50 $(BIN)/pytest -q --timeout 0 tests/core/billing/test_any_history.py

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

migration: $(READY)
	$(BIN)/python -m sandbox with-postgres -- sh -c '$(BIN)/alembic upgrade head && $(BIN)/alembic revision --autogenerate -m "$(m)"'

bench: $(READY)
	$(BIN)/python -m bench $(if $(QUICK),--quick)

clean:
	rm -rf .sandbox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
