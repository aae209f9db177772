"""Every day: see whether the world moved away from the champion, and whether features agree."""

from airflow.sdk import CronDataIntervalTimetable, dag
from foreview_dags.assets import DRIFT
from foreview_dags.commands import command
from foreview_dags.decisions import proceed_if
from foreview_dags.defaults import DAG_DEFAULTS


@dag(schedule=CronDataIntervalTimetable("30 2 * * *", timezone="UTC"), **DAG_DEFAULTS)
def drift() -> None:
    """Drift starts `retrain` by way of its asset; skew fails the run, which tells Alertmanager."""
    command.override(task_id="skew")(["skew"], ["world", "skewed"])
    found = command.override(task_id="drift")(["drift"], ["world", "drifted"])
    proceed_if.override(task_id="want_retraining", outlets=[DRIFT])(found, "drifted")


drift()
