"""A task that runs one `foreview` command in the core environment, which Airflow cannot share."""

import os
from pathlib import Path
from typing import Any

from airflow.sdk import task

CORE_PYTHON = os.environ.get(
    "FOREVIEW_PYTHON", str(Path(__file__).parents[2] / ".venv" / "bin" / "python")
)


@task.external_python(python=CORE_PYTHON, expect_airflow=False, expect_pendulum=False)
def command(args: list[str], keep: list[str] | None = None) -> dict[str, Any]:
    """Run `foreview ARGS --json`; safe to repeat, as every command is."""
    from foreview.jobs import end_unheard, run

    end_unheard()
    return run(*args, keep=keep or ())
