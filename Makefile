# The only list of commands. Each sets up what it needs, on a machine with Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Here every branch is tested; elsewhere nine of ten.
WHOLE := */agenthub/domain/*,*/agenthub/wire/*,*/agenthub/gateway.py,*/agenthub/passage.py

.PHONY: soak-money run setup test check coverage soak bench mutants reference interop interop-table lock clean
.DEFAULT_GOAL := run

.venv/run.stamp: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "AgentHub needs Python 3.11 or later; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@

.venv/dev.stamp: requirements-dev.lock .venv/run.stamp
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements-dev.lock
	touch $@

run: .venv/run.stamp  ## start the hub with what ships with it; PORT=N, AGENTHUB_HOME=DIR
	$(BIN)/agenthub serve $(if $(PORT),--port $(PORT))

setup: .venv/dev.stamp  ## everything that development and tests need

.interop/stamp: tests/interop/install.py tests/interop/python.lock tests/interop/exchange.lock tests/interop/litellm.lock tests/interop/llama.lock tests/interop/node.lock tests/interop/package-lock.json .venv/dev.stamp
	$(BIN)/python tests/interop/install.py

interop: .interop/stamp  ## real clients and servers for tests/interop; without a network those are skipped

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python tools/mutants.py --fit

lock:  ## new versions into the lock files
	$(BIN)/uv pip compile -q --upgrade --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --upgrade --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header --group build --group dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --upgrade --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header tests/interop/python.in -o tests/interop/python.lock
	$(BIN)/uv pip compile -q --upgrade --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header tests/interop/exchange.in -o tests/interop/exchange.lock
	$(BIN)/uv pip compile -q --upgrade --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header tests/interop/litellm.in -o tests/interop/litellm.lock
	$(BIN)/uv pip compile -q --upgrade --no-deps --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header tests/interop/llama.in -o tests/interop/llama.lock
	$(BIN)/uv pip compile -q --upgrade --universal -p 3.11 --generate-hashes --no-emit-index-url --no-header tests/interop/node.in -o tests/interop/node.lock

test: setup interop check
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder --cov
	$(MAKE) coverage

coverage: setup
	$(BIN)/coverage report --fail-under=90 > /dev/null
	$(BIN)/coverage report --fail-under=100 --include='$(WHOLE)'

soak: setup  ## the tests that take minutes
	$(BIN)/pytest -m soak
	AGENTHUB_LONG_MACHINES=1 $(BIN)/pytest $$(grep -rl 'import machine$$' tests)

soak-money: setup  ## sixty kills of a hub under load, in front of a provider that keeps a journal
	$(BIN)/pytest -m soak -s tests/faults/test_money_kill.py

reference: setup  ## the pages of docs/reference that come from the code
	$(BIN)/python tools/reference.py

interop-table: setup interop  ## the tables of docs/reference/interop.md, from what the interop tests find
	AGENTHUB_WRITE_INTEROP=1 $(BIN)/pytest -q tests/interop

mutants: setup  ## break the code on purpose; every break must be noticed
	$(BIN)/python tools/mutants.py

bench: .venv/run.stamp  ## what the hub costs, beside the bare upstream and nginx; BENCH='--only traffic'
	$(BIN)/python bench/run.py $(BENCH)
