"""Runs in Airflow's environment: parses DAG files, or tests one DAG, and prints JSON.

driver.py parse
driver.py classes
driver.py test DAG_ID [CONF_JSON]
"""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

FOLDER = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def parse() -> dict:
    from airflow.dag_processing.dagbag import DagBag

    sys.path.insert(0, str(FOLDER))
    found = {}
    for file in sorted(FOLDER.glob("*.py")):
        began = time.monotonic()
        bag = DagBag(str(file))
        found[file.stem] = {
            "seconds": time.monotonic() - began,
            "errors": list(bag.import_errors.values()),
            "dags": {
                dag_id: {
                    "timetable": type(dag.timetable).__name__,
                    "retries": [task.retries for task in dag.tasks],
                    "retry_seconds": [task.retry_delay.total_seconds() for task in dag.tasks],
                    "pools": [task.pool for task in dag.tasks],
                    "tells": [bool(task.on_failure_callback) for task in dag.tasks],
                    "heavy": sorted({"pandas", "feast", "numpy", "mlflow"} & set(sys.modules)),
                }
                for dag_id, dag in bag.dags.items()
            },
        }
    return found


def classes() -> dict:
    from airflow.configuration import conf
    from airflow.executors.executor_loader import ExecutorLoader

    executor, _ = ExecutorLoader.import_default_executor_cls()
    return {
        "executor": executor.__name__,
        "auth_manager": conf.getimport("core", "auth_manager").__name__,
    }


def test(dag_id: str, conf: dict) -> dict:
    from airflow.dag_processing.dagbag import DagBag

    sys.path.insert(0, str(FOLDER))
    dag = DagBag(str(FOLDER / f"{dag_id}.py")).dags[dag_id]
    for task in dag.tasks:
        task.retry_delay = timedelta(seconds=1)
        task.retry_exponential_backoff = False
        task.retries = int(os.environ.get("DRIVER_RETRIES", task.retries))
        if seconds := os.environ.get("DRIVER_TIMEOUT"):
            task.execution_timeout = timedelta(seconds=int(seconds))
    run = dag.test(run_conf=conf)
    tasks = run.get_task_instances()
    return {
        "state": str(run.state),
        "tasks": {task.task_id: str(task.state) for task in tasks},
        "tries": {task.task_id: task.try_number for task in tasks},
        "answers": {task.task_id: answer(task) for task in tasks},
        "interval": [str(run.data_interval_start), str(run.data_interval_end)],
    }


def answer(task):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(XComModel.value).where(
            XComModel.run_id == task.run_id,
            XComModel.dag_id == task.dag_id,
            XComModel.task_id == task.task_id,
            XComModel.key == "return_value",
        )
        stored = session.scalars(query).first()
    return json.loads(stored) if isinstance(stored, str) else stored


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    # Airflow logs to standard output: what we print goes past it.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if command in ("parse", "classes"):
        result = {"parse": parse, "classes": classes}[command]()
    else:
        result = test(rest[0], json.loads(rest[1]) if rest[1:] else {})
    out.write(json.dumps(result, default=str))
