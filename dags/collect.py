"""Every hour: look at the videos that are due, and compute what follows from it."""

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable, dag
from foreview_dags.assets import FEATURE_ROWS, OBSERVATIONS
from foreview_dags.commands import command
from foreview_dags.defaults import DAG_DEFAULTS, QUOTA_POOL

# A collection that was killed still holds what it was looking at, for a quarter of an hour.
AFTER_LEASES = timedelta(minutes=16)


@dag(schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"), **DAG_DEFAULTS)
def collect() -> None:
    """Observe what is due now: the past cannot be observed, so nothing is ever caught up."""
    observed = command.override(
        task_id="collect", pool=QUOTA_POOL, outlets=[OBSERVATIONS], retry_delay=AFTER_LEASES
    )(["collect", "--once"])
    built = command.override(task_id="build_features", outlets=[FEATURE_ROWS])(
        ["features", "build"]
    )
    observed >> built


collect()
