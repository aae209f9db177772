"""The use cases of observability, top to bottom; each run is recorded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.rows import dict_row
from rich.console import Console

from feature_repo.clock import Clock, open_clock
from feature_repo.job_runs import job_run
from observability.champion import ModelRegistry
from observability.checks import Sources
from observability.database import connected
from observability.errors import NothingToCompare
from observability.outcomes import judge_due, refresh_scorecard
from observability.settings import ObservabilitySettings

Report = Callable[[str], None]

# What people are shown first: all models, tiers and formats together, by horizon.
_SHOWN = """
    SELECT world, situation, metric, horizon_days, closed, scored, late, never, deleted, waiting,
        label_coverage, mae_log10, mdape, skill, coverage_80, median_growth_scored,
        median_growth_unscored
    FROM scorecard
    WHERE model_version = 'all' AND tier = 'all' AND format = 'all'
    ORDER BY world, situation DESC, metric, horizon_days
"""


def outcomes(
    database_url: str, schema: str, clock: Clock, report: Report = lambda _: None
) -> dict[str, int]:
    """Judge what is due and refresh the scorecard; give what was judged, by status."""
    with job_run(database_url, schema, "outcomes", clock) as run:
        with connected(database_url, schema) as connection:
            counts = judge_due(connection, clock(), lambda done: report(f"{done:,} judged"))
            report("refreshing the scorecard")
            refresh_scorecard(connection)
        run.rows["read"], run.rows["scored"] = counts.total(), counts["scored"]
    return dict(sorted(counts.items()))


def scorecard(database_url: str, schema: str) -> list[dict[str, Any]]:
    """Give the scorecard by world, metric and horizon (0: all of them)."""
    with (
        connected(database_url, schema) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        return cursor.execute(_SHOWN).fetchall()


def sources(settings: ObservabilitySettings, registry: ModelRegistry) -> Sources:
    """Say where checks read, as the settings have it."""
    return Sources(
        settings.required_database_url,
        settings.database_schema,
        registry,
        open_clock(settings.clock),
    )


def latest_world(sources: Sources) -> str:
    """Name the world that was forecast last; raises NothingToCompare where none was."""
    query = "SELECT world FROM forecast_log ORDER BY asked_at DESC LIMIT 1"
    with connected(sources.database_url, sources.schema) as connection:
        found = connection.execute(query).fetchone()
    if found is None:
        raise NothingToCompare("no forecast was logged yet: ask for one first")
    return str(found[0])


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Show a spinner on standard error with the step under way."""
    with Console(stderr=True).status(title) as status:
        yield lambda step: status.update(f"{title}: {step}")
