"""Tells Alertmanager of a task that failed for good; silent where none is set up."""

import json
import logging
import os
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError

_TIMEOUT_SECONDS = 5
_log = logging.getLogger(__name__)


def tell_alertmanager(context: Mapping[str, Any]) -> None:
    """Raise the alert `AirflowTaskFailed` at the address `FOREVIEW_ALERTMANAGER_URL`.

    Airflow calls this once all retries are used up. It never fails: the task has failed already,
    and its log must show why, not that nobody could be told.
    """
    address = os.environ.get("FOREVIEW_ALERTMANAGER_URL")
    if not address:
        return
    body = json.dumps([alert(context)]).encode()
    request = urllib.request.Request(
        f"{address.rstrip('/')}/api/v2/alerts", body, {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
    except (URLError, OSError):
        _log.exception("Alertmanager at %s was not told", address)


def alert(context: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a failed task as Alertmanager's API wants it."""
    task = context["task_instance"]
    return {
        "labels": {
            "alertname": "AirflowTaskFailed",
            "severity": "warning",
            "dag_id": task.dag_id,
            "task_id": task.task_id,
        },
        "annotations": {
            "summary": f"{task.dag_id}.{task.task_id} failed after {task.try_number} tries",
            "description": str(context.get("exception") or "see the task's log"),
            "run_id": str(task.run_id),
        },
    }
