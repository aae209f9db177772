"""The checks that are made of what was asked of late: drift and skew, each recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.clock import Clock
from feature_repo.job_runs import job_run
from feature_repo.targets import METRICS
from observability import asked, drift, skew
from observability.champion import Champion, ModelRegistry
from observability.database import Connection, connected
from observability.distances import matched_weights
from observability.drift import Drift
from observability.skew import Skew

if TYPE_CHECKING:
    from feast import FeatureStore

Report = Callable[[str], None]

SEED = 7
# Decades: five in a hundred. The alert on drift has the same.
MATTERS_LOG10 = 0.02
# More than half of what is asked about counts views otherwise: the definition changed.
_MOST = 0.5
_EFFECT_DAYS = 7


@dataclass(frozen=True)
class Sources:
    """Where a check reads."""

    database_url: str
    schema: str
    registry: ModelRegistry
    clock: Clock


def check_drift(
    sources: Sources,
    world: str,
    days: int = 7,
    html: Path | None = None,
    report: Report = lambda _: None,
) -> list[Drift]:
    """Compare what was asked, answered and found true in the last days with the champion's bundle.

    Returns:
        Nothing, and writes no page, where nothing was asked with the champion's features.

    Raises:
        NothingToCompare: The world has no champion.
    """
    with (
        job_run(sources.database_url, sources.schema, "drift", sources.clock, world) as run,
        connected(sources.database_url, sources.schema) as connection,
    ):
        now = sources.clock()
        report("fetching the champion")
        champion = sources.registry.champion(world)
        report("reading what was asked")
        start = now - timedelta(days=days)
        vectors = asked.vectors(connection, world, champion.columns, start, now)
        run.rows["compared"] = len(vectors.video_id)
        if len(vectors.video_id) == 0:
            return []
        found = _drifts(connection, champion, vectors, world, (start, now), report)
        _keep_drift(connection, world, now, champion.version, found)
        if html is not None:
            _write_html(html, champion, vectors, found)
    return found


def matters(found: Sequence[Drift]) -> bool:
    """Tell whether something drifted that moves forecasts, or forecasts or truths did."""
    drifted = [one for one in found if one.status == "drifted"]
    return any(one.kind != "feature" or (one.effect or 0.0) > MATTERS_LOG10 for one in drifted)


def check_skew(
    sources: Sources,
    store: "FeatureStore",
    world: str,
    hours: int = 24,
    sample: int = skew.SAMPLE,
) -> list[Skew]:
    """Compare a sample of logged vectors with what the historical join gives; worst first.

    Returns:
        Nothing where nothing was asked.

    Raises:
        NothingToCompare: The world has no champion.
    """
    with (
        job_run(sources.database_url, sources.schema, "skew", sources.clock, world) as run,
        connected(sources.database_url, sources.schema) as connection,
    ):
        now = sources.clock()
        contract = sources.registry.champion(world).contract
        names = [column.name for column in contract.columns]
        start = now - timedelta(hours=hours)
        logged = skew.logged(connection, world, names, start, now, sample)
        if not logged.video_id:
            run.rows["compared"] = 0
            return []
        offline = skew.recomputed(store, contract.feature_service, logged, contract.columns)
        lagging = skew.behind(connection, logged)
        found = skew.compare(contract.columns, logged.features, offline, lagging)
        _keep_skew(connection, world, now, found)
        run.rows["compared"] = sum(one.compared for one in found)
    return sorted(found, key=lambda one: -(one.mismatched + one.missing + one.extra))


def _drifts(
    connection: Connection,
    champion: Champion,
    vectors: asked.Vectors,
    world: str,
    window: tuple[datetime, datetime],
    report: Report,
) -> list[Drift]:
    weights = _weights(champion, vectors)
    trained_until = datetime.fromisoformat(champion.contract.trained_until)
    is_new = drift.counted_anew(vectors, trained_until) > _MOST
    horizons = champion.horizons("views")
    days = min(horizons, key=lambda day: abs(day - _EFFECT_DAYS))
    report("comparing features")
    found = drift.feature_drift(
        champion.columns,
        champion.reference,
        vectors,
        weights,
        partial(champion.growth, metric="views", days=days),
        is_counted_anew=is_new,
        seed=SEED,
    )
    report("comparing forecasts and truths")
    videos = [str(video_id) for video_id in vectors.video_id]
    channels = len(np.unique(vectors.channel_id))
    for (metric, day), growth in asked.forecast_growth(connection, world, videos, *window).items():
        if metric in METRICS and day in champion.horizons(metric):
            reference = champion.median_growth(champion.reference, metric, day)
            is_anew = is_new and metric == "views"
            name = f"{metric}_{day}d"
            found.append(
                drift.forecast_drift(name, reference, weights, growth, channels, is_new=is_anew)
            )
    truths = asked.truth_places(connection, world, *window)
    for (metric, day), (places, of_channels) in truths.items():
        found.append(drift.label_drift(f"{metric}_{day}d", places, of_channels))
    return found


def _weights(champion: Champion, vectors: asked.Vectors) -> asked.FloatArray:
    age = champion.contract.age_column
    if age is None:
        return np.ones(len(champion.reference))
    at = champion.columns.index(age)
    bands = (drift.age_bands(rows[:, at]) for rows in (champion.reference, vectors.features))
    return matched_weights(*bands)


def _write_html(
    path: Path, champion: Champion, vectors: asked.Vectors, found: Sequence[Drift]
) -> None:
    from observability.drift_report import write_html

    names = [one.name for one in found if one.kind == "feature"]
    order = [champion.columns.index(name) for name in names]
    weights = _weights(champion, vectors)
    write_html(path, names, champion.reference[:, order], weights, vectors.features[:, order])


def _keep_drift(
    connection: Connection, world: str, now: datetime, version: str, found: Sequence[Drift]
) -> None:
    rows = [
        (
            world, now, one.kind, one.name, version, one.status,
            one.reference_rows, one.current_rows, one.psi, one.ks, one.wasserstein, one.effect,
            one.changed_since, one.note,
        )
        for one in found
    ]  # fmt: skip
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM drift_results WHERE world = %s AND checked_at = %s", [world, now]
        )
        cursor.executemany(
            "INSERT INTO drift_results (world, checked_at, kind, name, model_version, status, "
            "reference_rows, current_rows, psi, ks, wasserstein, effect, changed_since, note) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


def _keep_skew(connection: Connection, world: str, now: datetime, found: Sequence[Skew]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM skew_results WHERE world = %s AND checked_at = %s", [world, now]
        )
        cursor.executemany(
            "INSERT INTO skew_results (world, checked_at, feature_view, feature, compared, "
            "mismatched, missing, extra, behind) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [(world, now, *one) for one in found],
        )
