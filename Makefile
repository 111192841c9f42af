# Everything sets itself up: `make demo`, `make test`. PYTHON names the interpreter (3.11 or later).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench lock clean

demo: $(STAMP)
	$(BIN)/plantproof demo demo-plant

# Tests that wait for slow devices more than they compute run beside the others; their report comes last.
APART := $(addprefix tests/,test_modbus_faults.py test_modbus_neighbours.py test_modbus_serial.py \
	test_mqtt_browse.py test_mqtt_faults.py)

test: check
	@$(BIN)/python -m pytest $(APART) > .pytest-apart.log 2>&1 & apart=$$!; \
	$(BIN)/python -m pytest $(APART:%=--ignore=%); rest=$$?; \
	wait $$apart; code=$$?; cat .pytest-apart.log; exit $$((rest | code))

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name it with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

# The lock holds every extra, for every platform, with hashes; it is whole, so installing resolves nothing.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --all-extras \
		pyproject.toml build-requirements.in -o requirements.lock

clean:
	rm -rf $(VENV) demo-plant .pytest-apart.log .pytest_cache .ruff_cache .mypy_cache
