"""Every day: set forecasts whose horizon has closed beside the truth."""

from airflow.sdk import CronDataIntervalTimetable, dag
from foreview_dags.assets import OUTCOMES
from foreview_dags.commands import command
from foreview_dags.defaults import DAG_DEFAULTS


@dag(schedule=CronDataIntervalTimetable("15 2 * * *", timezone="UTC"), **DAG_DEFAULTS)
def outcomes() -> None:
    """A truth once found stands; a forecast without one is looked at again the next day."""
    command.override(task_id="outcomes", outlets=[OUTCOMES])(["outcomes"], ["judged"])


outcomes()
