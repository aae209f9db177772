"""Every day: delete what may not be kept any longer, and leave a certificate."""

from airflow.sdk import CronDataIntervalTimetable, dag
from foreview_dags.commands import command
from foreview_dags.defaults import DAG_DEFAULTS


@dag(schedule=CronDataIntervalTimetable("45 4 * * *", timezone="UTC"), **DAG_DEFAULTS)
def purge() -> None:
    """Needs FOREVIEW_RETENTION_DAYS, without which nothing real is collected either."""
    command.override(task_id="purge")(["purge"])


purge()
