# Everything sets itself up: `make demo`, `make test`. PYTHON names the interpreter (3.11 or later).
PYTHON ?= python3
# What is compiled once is kept: the tests start some hundred processes.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test soak check bench lock clean

demo: $(STAMP)
	$(BIN)/plantproof demo demo-plant

# Two groups run beside the others, as most of their time is waiting: for devices and brokers, and for disks and servers
# (with what reads stores and computes facts, and some more, so that all three take about as long). Their reports come last.
BESIDE := links stores
links := $(addprefix tests/test_,modbus_faults.py modbus_neighbours.py modbus_serial.py mqtt_browse.py mqtt_faults.py \
	assessment.py business.py indicator_commands.py indicator_findings.py server.py server_access.py server_evidence.py \
	server_pages.py server_push.py server_schema.py server_whole.py bundle.py trial.py guides.py reload.py sizing.py)
stores := $(addprefix tests/test_,compaction.py delivery.py influxdb_sink.py kill.py line_protocol.py parquet_file.py \
	parquet_sink.py power_cut.py spool.py spool_commands.py spool_faults.py spool_format.py stores.py week.py \
	facts_against_oracle.py factstore.py kpi_findings.py partitions.py evidence.py recorded.py traces.py \
	opcua_browse.py opcua_wire.py)

test: check
	@$(foreach group,$(BESIDE),$(BIN)/python -m pytest $($(group)) > .pytest-$(group).log 2>&1 & $(group)=$$!;) \
	$(BIN)/python -m pytest $(foreach group,$(BESIDE),$($(group):%=--ignore=%)); code=$$?; \
	$(foreach group,$(BESIDE),wait $$$(group); code=$$((code | $$?)); cat .pytest-$(group).log;) exit $$code

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Made from nothing: what an interrupted install left may lack programs of packages that pip takes for installed.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name it with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

# The lock holds every extra, for every platform, with hashes; it is whole, so installing resolves nothing.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --all-extras \
		pyproject.toml build-requirements.in -o requirements.lock

clean:
	rm -rf $(VENV) demo-plant .pytest-*.log .pytest_cache .ruff_cache .mypy_cache

# The tests with made-up cases, with ten times as many of them.
soaked := $(shell grep -l 'from tests.soak import cases' tests/test_*.py)

soak: $(STAMP)
	PLANTPROOF_CASES=10 $(BIN)/python -m pytest -o timeout=1200 $(soaked)
