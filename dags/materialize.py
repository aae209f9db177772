"""After new feature rows: bring the latest of each entity online."""

from airflow.sdk import dag
from foreview_dags.assets import FEATURE_ROWS, ONLINE_FEATURES
from foreview_dags.commands import command
from foreview_dags.defaults import DAG_DEFAULTS


@dag(schedule=[FEATURE_ROWS], **DAG_DEFAULTS)
def materialize() -> None:
    """Materialize the window of all rows built by now: a late row may be of any age.

    The command asks the feature tables for that window and names it to Feast explicitly; an
    online value is never replaced by an older one.
    """
    command.override(task_id="materialize", outlets=[ONLINE_FEATURES])(
        ["features", "materialize"], ["start", "end"]
    )


materialize()
