# Two commands do everything, each making its own virtual environment when there is none:
#   make demo    a real relay and three clients, on this machine
#   make test    format, lint, types, contracts and every test
# Beside them:
#   make coverage     the tests with branch coverage, and the share reached, file by file; without test_bites.py,
#                     which changes the source and has a time limit (TESTS=tests/wire for a part)
#   make interop      the MLS library in groups with other libraries, and a table of what passed; it installs those
#                     that need Node.js (`make interop-peers` does only that), without which their tests are skipped
#   make wheel        the wheel built, and the demo run from it in an environment of its own
#   make demo-picture docs/demo.svg, from what `clave demo` shows on a terminal
#   make screen-pictures   docs/screens/*.svg, from the scenes of the tests of the full screen
#   make soak         the long tests (SOAK=minutes of random group histories, 10 unless given)
#   make validation-page   docs/mls-validation.md and docs/mimi-validation.md, from the rules and their tests
#   make errors-page   docs/errors.md, from the errors of client and relay
#   make bad-nights   docs/bad-nights.md, from real runs (it needs root, for a full disk)
#   make evening    docs/evening.md, from a real run of three people
#   make by-link    docs/by-link.md, from a real run on a machine without clave
#   make screen-page  the tables in docs/screen.md, from the keys and commands of the full screen
#   make rpc-page     docs/rpc.openrpc.json and the lists in docs/rpc.md, from the methods of the RPC
#   make name-tables       wire/clave_wire/name_tables.py, from Unicode 14.0 (by Python 3.11 only)
#   make bench-mls    the MLS library measured beside mls-rs (bench/README.md)
#   make bench-client  how fast the commands start, and the memory of a client with many rooms
#   make bench-links  what links cost a room, by the number of its devices
#   make bench-pairing how long a new device takes until it is in the last of 100 rooms
#   make bench-search the search in a large history, and what its index costs (BENCH="--messages 1000000")
#   make bench-tui    the full screen: keys, opening, scrolling, start and memory (BENCH="--only keys,start")
#   make bench-relay  the relay measured beside other servers (BENCH="--quick" or other options)
#   make bench-storm  ten thousand people lose their relay and all come back (BENCH="--people 1000")
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test check format coverage interop interop-peers wheel demo-picture screen-pictures validation-page bad-nights evening by-link errors-page screen-page rpc-page name-tables \
	bench-mls bench-client bench-links bench-pairing bench-search bench-tui bench-relay bench-storm soak clean

demo: $(VENV)/.installed
	@$(BIN)/clave demo

test: check
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet --pedantic .github
	@if [ -x $(BIN)/actionlint ]; then $(BIN)/actionlint; \
		else echo "actionlint skipped: to have it, pip install -c constraints.txt --group actions"; fi

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: $(VENV)/.installed-dev
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 2 --ignore=tests/simulation/test_bites.py $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

interop: $(VENV)/.installed-dev
	@$(MAKE) --no-print-directory interop-peers \
		|| echo "core-crypto does not install here: its tests are skipped; they need Node.js 20 or newer with npm"
	$(BIN)/python -m pytest -n 2 -v tests/interop

interop-peers: tests/interop/node_modules/.package-lock.json

wheel: $(VENV)/bin/python
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		build/wheel/clave-*.whl
	cd build/wheel && venv/bin/clave demo </dev/null

demo-picture: $(VENV)/.installed-dev
	$(BIN)/python tests/demopicture.py

screen-pictures: $(VENV)/.installed-dev
	$(BIN)/python tests/screenpictures.py

soak: $(VENV)/.installed-dev
	CLAVE_SOAK_MINUTES=$(or $(SOAK),10) $(BIN)/python -m pytest -n 2 -m soak

validation-page: $(VENV)/.installed-dev
	$(BIN)/python tests/rulepage.py
	$(BIN)/python tests/mimirulepage.py

screen-page: $(VENV)/.installed-dev
	$(BIN)/python tests/screenpage.py

rpc-page: $(VENV)/.installed-dev
	$(BIN)/python tests/rpcpage.py

bad-nights: $(VENV)/.installed-dev
	$(BIN)/python tests/badnights.py

evening: $(VENV)/.installed-dev
	$(BIN)/python tests/evening.py

by-link: $(VENV)/.installed-dev
	$(BIN)/python tests/bylink.py

errors-page: $(VENV)/.installed-dev
	$(BIN)/python tests/errorpage.py

name-tables: $(VENV)/.installed-dev
	$(BIN)/python tests/nametables.py

bench-mls: $(VENV)/.installed-dev
	$(BIN)/python -m bench.mls

bench-client: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.client $(BENCH)

bench-links: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.client.links

bench-pairing: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.client.pairing

bench-search: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.client.searching $(BENCH)

bench-tui: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.tui $(BENCH)

bench-relay: $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group bench \
		|| echo "nats-server does not install here"
	@$(BIN)/python -m bench.relay $(BENCH)

bench-storm: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.relay.storm $(BENCH)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "clave needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "could not make a virtual environment; on Debian: apt install python3-venv"; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing clave into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group interop \
		|| echo "mls-rs does not install here: its tests in tests/interop are skipped, and make bench-mls does not run"
	@touch $@

tests/interop/node_modules/.package-lock.json: tests/interop/package-lock.json
	npm ci --no-audit --no-fund --prefix tests/interop
	@touch $@

clean:
	rm -rf $(VENV) tests/interop/node_modules .nox build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
