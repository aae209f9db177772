#!/usr/bin/env bash
# Runs Airflow with Foreview's DAGs: dags/airflow.sh [up | ARGUMENTS OF airflow...]
#
# `up`, the default, runs scheduler, DAG processor and web server on loopback until Ctrl-C.
# Anything else is handed to the `airflow` command: dags/airflow.sh dags test collect
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

export AIRFLOW_HOME="${AIRFLOW_HOME:-${FOREVIEW_STATE_DIR:-$root/.foreview}/airflow}"
export AIRFLOW__CORE__DAGS_FOLDER="$root/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__PARALLELISM="${AIRFLOW__CORE__PARALLELISM:-4}"
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS="${AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS:-admin:admin}"
export AIRFLOW__API__HOST="${AIRFLOW__API__HOST:-127.0.0.1}"
export AIRFLOW__API__PORT="${AIRFLOW__API__PORT:-8088}"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="${AIRFLOW__CORE__EXECUTION_API_SERVER_URL:-http://127.0.0.1:$AIRFLOW__API__PORT/execution/}"
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
export AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK=False
export FOREVIEW_PYTHON="${FOREVIEW_PYTHON:-$root/.venv/bin/python}"
export FOREVIEW_STATE_DIR="${FOREVIEW_STATE_DIR:-$root/.foreview}"
export OMP_WAIT_POLICY=passive
airflow="${FOREVIEW_AIRFLOW:-$root/.venv-airflow/bin/airflow}"

prepare() {
    mkdir -p "$AIRFLOW_HOME"
    "$airflow" db migrate >/dev/null
    "$airflow" pools import "$root/dags/pools.json" >/dev/null
}

up() {
    prepare
    trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
    "$airflow" api-server &
    "$airflow" dag-processor &
    # Without its log server, which listens on every interface.
    "$airflow" scheduler --skip-serve-logs &
    echo "Airflow at http://$AIRFLOW__API__HOST:$AIRFLOW__API__PORT, its password in $AIRFLOW_HOME"
    wait -n
}

case "${1:-up}" in
    up) up ;;
    prepare) prepare ;;
    *) exec "$airflow" "$@" ;;
esac
