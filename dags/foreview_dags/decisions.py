"""A task that lets what follows happen, or not."""

from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowSkipException


@task
def proceed_if(answer: dict[str, Any], key: str) -> bool:
    """Succeed where an answer says so; else be skipped, and with it whatever the outlets start."""
    if not answer[key]:
        raise AirflowSkipException(f"{key} is false: {answer}")
    return True
