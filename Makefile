# Two commands for a fresh machine with git, make and Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
IN_MEMORY := tests/support/in-memory
# For packagers; $(PYTHON) has build and installer.
DESTDIR ?=
PREFIX ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/user
BUILD_FLAGS ?=
# The suite starts hundreds of interpreters, each of which would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast coverage lint fuzz soak mutations bench growth real measure install clean

demo: .venv/.ready
	$(BIN)/python tests/demo.py

test: .venv/.ready
	$(IN_MEMORY) $(BIN)/pytest

test-fast: .venv/.ready
	$(IN_MEMORY) $(BIN)/pytest -m "not journey" tests/unit

coverage: .venv/.ready
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto -m "not journey" tests/unit
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	if command -v shellcheck >/dev/null; then shellcheck tests/support/user-manager tests/support/in-memory .ci/run .ci/clean-system; fi

# FUZZ_EXAMPLES are those of all tests together; the suite tries some hundred of each.
fuzz: .venv/.ready
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-100000} $(BIN)/pytest --timeout 0 tests/journeys/test_fuzz.py \
	  tests/journeys/test_fuzz_input.py tests/unit/repositories/test_layout.py \
	  tests/unit/repositories/test_state.py \
	  tests/unit/repositories/test_held_name_files.py \
	  tests/unit/repositories/test_salvaged_names.py tests/unit/server/exporting/test_record.py

# In an hour or more; SOAK_RESTARTS=50 SOAK_KILLS=10 SOAK_SIGKILLS=25 are smaller counts.
soak: .venv/.ready
	SOAK_REPOSITORIES=10 $(BIN)/pytest -n 2 --dist loadfile -s tests/bench/soak_serving.py \
	  tests/bench/soak_update.py tests/bench/soak_export.py tests/journeys/test_watchers.py

# Hours, as each of more than a hundred lines is broken in turn; MUTATIONS="fast box" tries some.
mutations: .venv/.ready
	$(BIN)/python tests/bench/mutations.py $(MUTATIONS)

# `make bench growth` measures how costs grow with repositories and files, in an hour or more.
bench: .venv/.ready
	$(BIN)/python tests/bench/bench.py $(filter growth,$(MAKECMDGOALS))
growth: bench

# REPOSITORIES has bare clones with their tags, NS/PROJ.git; REAL="--releases 1 NS/PROJ" are further words.
real: .venv/.ready
	$(BIN)/python tests/bench/real.py '$(or $(REPOSITORIES),$(error call `make real REPOSITORIES=DIR`))' $(REAL)

measure: .venv/.ready
	$(BIN)/python tests/bench/measure.py

# Debian's Python has a layout of its own for packages; others do not know the variable.
install: export DEB_PYTHON_INSTALL_LAYOUT ?= deb
install:
	wheel=$$(mktemp -d) && trap 'rm -r "$$wheel"' EXIT && \
	$(PYTHON) -m build --wheel $(BUILD_FLAGS) --outdir "$$wheel" . && \
	$(PYTHON) -m installer $(if $(DESTDIR),--destdir '$(DESTDIR)') --prefix '$(PREFIX)' "$$wheel"/*.whl
	test -x '$(DESTDIR)$(PREFIX)/bin/pypi-insiders'
	install -d '$(DESTDIR)$(UNITDIR)'
	$(PYTHON) .ci/units '$(PREFIX)/bin/pypi-insiders' '$(DESTDIR)$(UNITDIR)'
	install -Dm644 -t '$(DESTDIR)$(PREFIX)/share/licenses/pypi-insiders' LICENSE

.venv/.ready: pyproject.toml .ci/venv pypi_insiders/__init__.py
	$(PYTHON) .ci/venv

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
