"""By hand: build features and bring a long window online, chunk by chunk."""

from airflow.sdk import Param, dag, task
from foreview_dags.assets import ONLINE_FEATURES
from foreview_dags.commands import command
from foreview_dags.defaults import DAG_DEFAULTS
from foreview_dags.windows import chunk_arguments

PARAMS = {
    "start": Param("2026-01-01", type="string", format="date", description="first day, UTC"),
    "end": Param("2026-02-01", type="string", format="date", description="day after the last"),
    "chunk_days": Param(7, type="integer", minimum=1, description="days materialized at once"),
}


@dag(schedule=None, params=PARAMS, **DAG_DEFAULTS)
def backfill() -> None:
    """A task per chunk: what is done stays done, and a retry goes on with the chunk that failed."""

    @task
    def plan(start: str, end: str, days: str) -> list[list[str]]:
        return chunk_arguments(["features", "materialize"], start, end, int(days))

    built = command.override(task_id="build_features")(["features", "build"])
    chunks = plan("{{ params.start }}", "{{ params.end }}", "{{ params.chunk_days }}")
    materialized = (
        command.override(
            task_id="materialize_chunk", outlets=[ONLINE_FEATURES], max_active_tis_per_dag=1
        )
        .partial(keep=["start", "end"])
        .expand(args=chunks)
    )
    built >> materialized


backfill()
