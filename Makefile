# A thin face. Every target sets up `.venv` from the lock file first; nothing is written outside this folder.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check bench bench-caps bench-faults bench-features bench-journeys bench-kills serve setup lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it, or run make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -c "import lightgbm" 2>/dev/null || { echo "LightGBM cannot load: install the OpenMP runtime (Debian: apt-get install libgomp1)"; exit 1; }
	@touch $@

demo: $(READY)
	OPPORTUNE_HOME=$${OPPORTUNE_HOME:-.demo} $(BIN)/opportune demo

serve: $(READY)
	$(BIN)/opportune serve

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The speed table, then features at small sizes; the full ones take most of an hour: make bench-features.
bench: $(READY)
	$(BIN)/python -m benchmarks.run
	$(MAKE) bench-features SIZE=

bench-faults: $(READY)
	$(BIN)/python -m benchmarks.faults

# Small sizes: make bench-features SIZE=
SIZE ?= --full
bench-features: $(READY)
	$(BIN)/python -m benchmarks.features $(SIZE)
	$(BIN)/python -m benchmarks.arrival $(if $(SIZE),1000000,20000)

bench-kills: $(READY)
	$(BIN)/python -m benchmarks.kills

bench-journeys: $(READY)
	OPPORTUNE_JOURNEY_EXAMPLES=2000 $(BIN)/python -m pytest -n 0 --durations 3 tests/unit/journeys/test_all_together.py

bench-caps: $(READY)
	OPPORTUNE_CAPS_PROOF=1 $(BIN)/python -m pytest -n 0 tests/machines
	$(BIN)/python -m benchmarks.caps --attempts 100000
	$(BIN)/python -m benchmarks.decisions

lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --group dev --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock

clean:
	rm -rf .venv .demo .opportune .pytest_cache .mypy_cache .ruff_cache .hypothesis
