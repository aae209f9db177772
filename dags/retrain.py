"""Every week, and on drift: train a challenger and let it replace the champion or not."""

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, dag
from foreview_dags.assets import DRIFT, MODEL
from foreview_dags.commands import command
from foreview_dags.defaults import DAG_DEFAULTS

# A large record on a small machine; whatever takes longer is ended, and nothing is registered.
LONGEST_TRAINING = timedelta(hours=6)
WEEKLY = CronDataIntervalTimetable("0 3 * * 1", timezone="UTC")


@dag(schedule=AssetOrTimeSchedule(timetable=WEEKLY, assets=[DRIFT]), **DAG_DEFAULTS)
def retrain() -> None:
    """Features of everything known, then the training: tuned, calibrated, judged, registered.

    `FOREVIEW_PROMOTION=manual` keeps a better challenger waiting for `foreview promote`.
    """
    built = command.override(task_id="build_features")(["features", "build"])
    registered = command.override(task_id="register_features")(["features", "apply"])
    trained = command.override(
        task_id="train", retries=1, outlets=[MODEL], execution_timeout=LONGEST_TRAINING
    )(["train"], ["models.model", "models.version", "models.promoted", "models.reason"])
    built >> registered >> trained


retrain()
