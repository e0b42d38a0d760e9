.DEFAULT_GOAL := help
PORT := $(or $(REALTIME_PORT),8081)

# The first Python that is new enough.
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: help run cluster test check chaos soak compose-test audit lock bench bench-full bench-peers docs format clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# What is installed is what is locked, by hash; the project itself is built with what is locked, too.
INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check

.venv/installed: pyproject.toml requirements/build.txt requirements/main.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes --requirement requirements/build.txt --requirement requirements/main.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-test .venv/installed-bench: .venv/installed-%: requirements/%.txt .venv/installed
	$(INSTALL) --require-hashes --requirement $<
	@touch $@

.venv/tools/installed: .ci/tools.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	test -x .venv/tools/bin/python || $(PYTHON) -m venv .venv/tools
	.venv/tools/bin/python -m pip install --quiet --disable-pip-version-check --requirement .ci/tools.txt
	@touch $@

run: .venv/installed ## All services in one process, nothing else needed: ws://localhost:8081/ws
	@exec .venv/bin/realtime serve

cluster: .venv/installed ## Two gateways, routers and presence services over RabbitMQ
	@exec .venv/bin/python -m standalone.local_cluster

check: .venv/installed-test ## Format, lint, types, unit tests; needs no service
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pytest -q tests/unit

test: .venv/installed-test .venv/tools/installed ## Everything
	.venv/bin/pytest -q

chaos: .venv/installed-test ## Every fault in a cluster under load, and a verdict: 15 minutes
	.venv/bin/pytest -q -m bars tests/chaos
	.venv/bin/python -m tests.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),7)

soak: .venv/installed-test ## The same for longer, on one RabbitMQ node and on three: MINUTES=60 SEED=2
	.venv/bin/python -m tests.chaos --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))
	.venv/bin/python -m tests.chaos --nodes 3 --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))

compose-test: .venv/installed-test ## The compose file in real containers: up, talk, scale, kill, restart, down
	.venv/bin/pytest -q -m containers tests/compose

audit: .venv/tools/installed ## Fail on known vulnerabilities in what is locked; AUDIT=off where advisories cannot be had
	.ci/audit

lock: .venv/tools/installed ## Renew requirements/: the newest versions that pyproject.toml allows
	.ci/lock

bench: .venv/installed-bench ## What it costs: fan-out, all at once, idle, latency; into benchmarks/RESULTS.md
	.venv/bin/python -m benchmarks

bench-full: .venv/installed-bench ## All that the benchmark measures
	.venv/bin/python -m benchmarks all

bench-peers: .venv/installed-bench ## Beside what one would pick instead, of what can be installed
	.venv/bin/python -m benchmarks peers

docs: .venv/installed-test ## Write the documents that are made from the code
	.venv/bin/realtime openapi > docs/openapi.json
	.venv/bin/realtime asyncapi > docs/asyncapi.json
	.venv/bin/realtime settings > docs/settings.md
	.venv/bin/realtime settings --env > .env.example

format: .venv/installed-test ## Put the code into its format
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

clean: ## Remove what was installed and generated
	rm -rf .venv .realtime .mypy_cache .pytest_cache .ruff_cache .hypothesis
