# Two commands for a fresh machine with git, make and Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint fuzz bench clean

demo: .venv/.ready
	$(BIN)/python tests/demo.py

test: .venv/.ready
	$(BIN)/pytest

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	if command -v shellcheck >/dev/null; then shellcheck tests/user-manager .ci/run; fi

fuzz: .venv/.ready
	FUZZ_EXAMPLES=10000 $(BIN)/pytest tests/test_fuzz.py

bench: .venv/.ready
	$(BIN)/python tests/bench.py

.venv/.ready: pyproject.toml .ci/venv
	$(PYTHON) .ci/venv

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
