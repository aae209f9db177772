# Foreview's few commands. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
BIN := $(VENV)/bin
# Virtual environments are never moved: a stamp says what this one was made from.
STAMP := $(VENV)/.installed
TOOLS := .venv-tools
AIRFLOW := .venv-airflow
AIRFLOW_STAMP := $(AIRFLOW)/.installed
BENTOML := .venv-bentoml
BENTOML_STAMP := $(BENTOML)/.installed
CHECKOV := .venv-checkov
CHECKOV_STAMP := $(CHECKOV)/.installed
MODELS := tests/infrastructure/models
MODELS_STAMP := $(MODELS)/node_modules/.installed
UV := $(TOOLS)/bin/uv
UV_VERSION := 0.13.9
# The first Python 3.11 or 3.12 that runs (a shim may not) and has pip or can make it.
CHECK := import sys; v = sys.version_info[:2]; v in ((3, 11), (3, 12)) or sys.exit(1)
PYTHON ?= $(shell for python in python3.12 python3.11 python3 /usr/bin/python3.12 \
	/usr/bin/python3.11 /usr/bin/python3; do \
	"$$python" -c '$(CHECK); import ensurepip; print(sys.executable)' 2>/dev/null && break; done)

# Images are built as root.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo --preserve-env)
BASE ?= origin/main
# Of the benchmarks, those that take a minute.
BENCHES ?= historical_join freshness
export BOUND ?= 1.3
# Processes that share the tests, each with servers of its own: about 1.5 GB each.
WORKERS ?= $(if $(TEST_DATABASE_URL)$(TEST_REDIS_URL),1,2)
SHARED_OUT = $(if $(filter-out 1,$(WORKERS)),--numprocesses $(WORKERS) --dist loadfile)

# Only the system's Python, never a downloaded one.
export UV_PYTHON_DOWNLOADS := never
export UV_PYTHON_PREFERENCE := only-system
# Threads that spin while they wait slow each other down on a busy machine.
export OMP_WAIT_POLICY := passive
# What a tool reports home is switched off everywhere.
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1

LOCKS := requirements/dev.txt requirements/ingestion.txt requirements/training.txt \
	requirements/serving.txt requirements/features.txt requirements/observability.txt \
	requirements/jobs.txt
# Environments of their own: what builds images, Airflow, what reads manifests, benchmarks' peers.
OWN_LOCKS := requirements/build.txt requirements/airflow.txt requirements/checkov.txt \
	requirements/kernels.txt requirements/bentoml.txt requirements/stores.txt

.PHONY: help demo test test-full test-trial bench bench-regression bench-serving drill lint format up down install lock clean bench-ingestion

help: ## List these commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(STAMP) ## Show the whole platform on a synthetic world; KEEP=1 leaves it up until Ctrl-C.
	@exec $(BIN)/foreview demo $(if $(KEEP),--keep)

test: $(STAMP) ## Run the tests, on private servers of their own; WORKERS=1 for one at a time.
	@exec $(BIN)/python -m pytest -m "not full and not trial" $(SHARED_OUT) $(ARGS)

test-full: $(STAMP) $(AIRFLOW_STAMP) checkers ## Run the tests that need minutes: real data, the demo, alerts, chaos.
	@exec $(BIN)/python -m pytest -m full $(SHARED_OUT) $(ARGS)

test-trial: $(STAMP) $(AIRFLOW_STAMP) ## Run the longest: images in podman, DAGs end to end, drills, weeks.
	@exec $(BIN)/python -m pytest -m trial $(ARGS)

bench: $(STAMP) ## Run all benchmarks, a table each.
	@exec $(BIN)/foreview bench $(ARGS)

drill: $(STAMP) ## Break a running platform on purpose, under load, and print what that cost.
	@exec $(BIN)/python -m benchmarks.drills $(ARGS)

bench-regression: $(STAMP) ## Measure BASE (origin/main) and this tree in turn; BENCHES, BOUND: how much worse is too much.
	@exec benchmarks/regression "$(BASE)" $(BENCHES)

bench-serving: $(STAMP) $(BENTOML_STAMP) ## Compare forecasts by id with a constant FastAPI answer and with peers.
	@exec $(BIN)/foreview bench serving $(ARGS)
bench-ingestion: $(STAMP) ## Ingest 1 and 5 million snapshots beside COPY of the same rows.
	@exec $(BIN)/foreview bench ingestion

lint: $(STAMP) ## Check format, style, types and import rules.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Put the code into its format.
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

repro: $(STAMP) ## Run the stages of dvc.yaml that changed, and check the models they make.
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	@$(BIN)/foreview stage check --reports training/outputs/reports

up: $(STAMP) ## Start private PostgreSQL, Redis and MLflow for working.
	@exec $(BIN)/foreview up

down: $(STAMP) ## Stop them; their data stay.
	@exec $(BIN)/foreview down

.PHONY: airflow airflow-install images build-tools login publish sbom feast-plan feast-apply repro checkers pin cluster deploy
airflow: $(STAMP) $(AIRFLOW_STAMP) ## Install Airflow into an environment of its own, and run it with the DAGs.
	@exec dags/airflow.sh

airflow-install: $(AIRFLOW_STAMP) ## Install Airflow only.

build-tools: ## Install what builds images, of Debian's or Ubuntu's packages (root).
	@$(SUDO) apt-get install --yes --quiet --no-install-recommends buildah mmdebstrap debian-archive-keyring

login: ## Log in where images are pushed: REGISTRY, REGISTRY_USER and REGISTRY_PASSWORD.
	@printf '%s' "$$REGISTRY_PASSWORD" | $(SUDO) buildah login --username "$$REGISTRY_USER" --password-stdin "$(firstword $(subst /, ,$(REGISTRY)))"

feast-plan: $(STAMP) ## Say what the feature definitions change of BASE's (origin/main).
	@exec feature_repo/plan "$(BASE)"

feast-apply: $(STAMP) ## Register the feature definitions with the stores that FOREVIEW_* name; refused where a model would break.
	@$(BIN)/foreview features plan
	@exec $(BIN)/foreview features apply

publish: ## Push built images: make publish REGISTRY=ghcr.io/you; prints their digests for k8s/pin.
	@exec $(SUDO) k8s/publish "$(REGISTRY)" $(IMAGES)

pin: ## Write the digests that `make publish` printed into an overlay: OVERLAY, DIGESTS (a directory).
	@exec k8s/pin "$(OVERLAY)" $$(cat "$(DIGESTS)"/* | grep -v '^foreview-airflow=')

cluster: ## Let kubectl reach CLUSTER, of EKS, with the AWS credentials of the environment.
	@exec aws eks update-kubeconfig --name "$(CLUSTER)"

deploy: $(STAMP) ## Deploy OVERLAY, ask SMOKE_URL for forecasts of SMOKE_VIDEOS, and take it back where it fails.
	@exec k8s/deploy "$(OVERLAY)" "$(SMOKE_URL)" $(SMOKE_VIDEOS)

sbom: $(STAMP) ## Write into dist/sbom what each built image holds, as CycloneDX (root).
	@exec $(SUDO) k8s/sbom dist/sbom $(IMAGES)

checkers: $(CHECKOV_STAMP) $(MODELS_STAMP) ## Install what checks manifests: checkov, and operators' schemas (needs npm).

images: ## Build the container images (root, buildah, mmdebstrap); IMAGES="serving" builds some.
	@exec $(SUDO) k8s/build-images $(IMAGES)

install: $(STAMP) ## Install what is missing into .venv.

lock: $(UV) ## Resolve all dependencies anew, with hashes and without addresses.
	@for lock in $(LOCKS); do \
		echo "$$lock"; \
		UV_CUSTOM_COMPILE_COMMAND="make lock" "$(UV)" pip compile --quiet --universal --generate-hashes --no-emit-index-url \
			--no-annotate --python-version 3.11 --override requirements/overrides.txt \
			$$(ls "$${lock%.txt}.overrides" 2>/dev/null | sed 's/^/--override /') \
			--extra "$$(basename "$$lock" .txt)" --output-file "$$lock" $(if $(UPGRADE),--upgrade) \
			pyproject.toml; \
	done
	@for lock in $(OWN_LOCKS); do \
		echo "$$lock"; \
		UV_CUSTOM_COMPILE_COMMAND="make lock" "$(UV)" pip compile --quiet --universal --generate-hashes --no-emit-index-url \
			--no-annotate --python-version 3.11 --output-file "$$lock" $(if $(UPGRADE),--upgrade) \
			"$${lock%.txt}.in"; \
	done

clean: ## Delete private servers with their data, the environment and caches.
	@if [ -x $(BIN)/foreview ]; then $(BIN)/foreview down --delete-data; fi
	rm -rf $(VENV) $(TOOLS) $(AIRFLOW) $(BENTOML) $(CHECKOV) $(MODELS)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV):
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11 or 3.12 with its venv module was found: install one (Debian: apt install python3-venv) or say make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	@echo "installing uv into $(TOOLS)"
	@"$(PYTHON)" -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): $(UV) requirements/dev.txt requirements/overrides.txt pyproject.toml
	@echo "installing Foreview into $(VENV)"
	@[ -x $(BIN)/python ] && $(BIN)/python -c '' 2>/dev/null || "$(UV)" venv --quiet --clear --python "$(PYTHON)" $(VENV)
	@"$(UV)" pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes requirements/dev.txt
	@"$(UV)" pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -c "import serving.row_kernel, serving.tree_kernel, serving.tree_masks"  # compiles them once, so that servers start at once
	@$(BIN)/python -m compileall -q feature_repo foreview ingestion observability serving training  # where Python itself may keep nothing
	@touch $(STAMP)

$(CHECKOV_STAMP): $(UV) requirements/checkov.txt
	@echo "installing checkov into $(CHECKOV)"
	@[ -x $(CHECKOV)/bin/python ] && $(CHECKOV)/bin/python -c '' 2>/dev/null || "$(UV)" venv --quiet --clear --python "$(PYTHON)" $(CHECKOV)
	@"$(UV)" pip sync --quiet --python $(CHECKOV)/bin/python --compile-bytecode --require-hashes requirements/checkov.txt
	@touch $(CHECKOV_STAMP)

# Without npm tests of operators' kinds are skipped, and say so.
$(MODELS_STAMP): $(MODELS)/package.json
	@if command -v npm >/dev/null; then \
		echo "installing operators' schemas into $(MODELS)"; \
		npm install --prefix $(MODELS) --silent --no-audit --no-fund --no-package-lock --ignore-scripts && touch $(MODELS_STAMP) \
			|| echo "npm could not install them: tests of operators' kinds are skipped" >&2; \
	else echo "npm is not installed: tests of operators' kinds are skipped" >&2; fi

$(AIRFLOW_STAMP): $(UV) requirements/airflow.txt
	@echo "installing Airflow into $(AIRFLOW)"
	@[ -x $(AIRFLOW)/bin/python ] && $(AIRFLOW)/bin/python -c '' 2>/dev/null || "$(UV)" venv --quiet --clear --python "$(PYTHON)" $(AIRFLOW)
	@"$(UV)" pip sync --quiet --python $(AIRFLOW)/bin/python --compile-bytecode --require-hashes requirements/airflow.txt
	@touch $(AIRFLOW_STAMP)

$(BENTOML_STAMP): $(UV) requirements/bentoml.txt
	@echo "installing BentoML into $(BENTOML)"
	@[ -x $(BENTOML)/bin/python ] && $(BENTOML)/bin/python -c '' 2>/dev/null || "$(UV)" venv --quiet --clear --python "$(PYTHON)" $(BENTOML)
	@"$(UV)" pip sync --quiet --python $(BENTOML)/bin/python --compile-bytecode --require-hashes requirements/bentoml.txt
	@touch $(BENTOML_STAMP)
