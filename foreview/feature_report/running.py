"""The report on features, top to bottom: questions, trials, what each part of it finds."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from feature_repo.store import read_source
from feature_repo.transformations.region import region_codes
from foreview.feature_report.ablation import ablation, fitted_without
from foreview.feature_report.importance import hurting, importance
from foreview.feature_report.redundancy import clusters, correlations
from foreview.feature_report.stability import by_country, by_month
from foreview.feature_report.trials import OTHER_COUNTRIES, left_out_countries, trials
from training.dataset import Record, read_record
from training.errors import TooLittleData
from training.params import Params
from training.pipeline import BEGINNING, each_situation, protocol_borders
from training.questions import SITUATIONS, questions
from training.splits import Borders

if TYPE_CHECKING:
    from feast import FeatureStore

Report = Callable[[str], None]
Row = dict[str, Any]


class Findings(NamedTuple):
    """What was found about the features of one situation; rows as their modules describe them."""

    situation: str
    left_out: list[str]
    ablation: list[Row]
    importance: list[Row]
    hurting: list[Row]
    months: list[Row]
    countries: list[Row]
    clusters: list[Row]
    correlations: "pd.DataFrame"

    def as_json(self) -> Row:
        """Give everything but the matrix of correlations."""
        told = self._asdict()
        del told["correlations"]
        return told


def find(
    store: "FeatureStore",
    world: str,
    now: datetime,
    params: Params,
    most: int,
    countries: "pd.Series[str] | None" = None,
    report: Report = lambda _: None,
) -> list[Findings]:
    """Study the features of each situation that a world has labels enough for.

    Args:
        store: The feature store.
        world: `real` or `synthetic`.
        now: What happened later is not looked at.
        params: The parameters of training.
        most: Labels to fit on, and to ask for, at most.
        countries: The country of each video by its id; that which its channel states when left out.
        report: Told each step.

    Raises:
        TooLittleData: There are too few labels in every situation.
    """
    report("reading observations")
    record = read_record(store, world, (BEGINNING, now))
    if record.snapshots.empty:
        raise TooLittleData(f"no observations of the {world} world: collect or load some first")
    if countries is None:
        countries = stated_countries(store, record, now)
    at = protocol_borders(record, params)

    def studied(situation: str) -> Findings:
        return _studied(store, situation, record, at, countries, params, most, report)

    return each_situation(SITUATIONS, studied, report)


def _studied(
    store: "FeatureStore",
    situation: str,
    record: Record,
    at: Borders,
    countries: "pd.Series[str]",
    params: Params,
    most: int,
    report: Report,
) -> Findings:
    report(f"{situation}: joining features to questions, point in time")
    asked = questions(store, situation, record, params)
    report(f"{situation}: choosing columns and window")
    tried = trials(asked, at, countries, params, most)
    if not tried:
        raise TooLittleData(f"{situation}: too few labels to try features on")
    found = Findings(
        situation, [], [], [], [],
        months=by_month(asked.drawn),
        countries=by_country(asked.drawn, countries),
        clusters=[],
        correlations=correlations(asked.drawn),
    )  # fmt: skip
    if OTHER_COUNTRIES in [trial.name for trial in tried]:
        found.left_out.extend(left_out_countries(countries))
    found.clusters.extend(clusters(found.correlations))
    wholes = []
    for trial in tried:
        report(f"{situation}, {trial.name}: with everything")
        whole = fitted_without(trial, (), params)
        wholes.append((trial, whole))
        found.ablation.extend(ablation(trial, whole, params, _prefixed(report, situation)))
        report(f"{situation}, {trial.name}: shuffling features")
        found.importance.extend(importance(trial, whole, params.seed))
    report(f"{situation}: fitting without features that seem to hurt")
    found.hurting.extend(hurting(wholes, found.importance, params))
    return found


def _prefixed(report: Report, situation: str) -> Report:
    return lambda step: report(f"{situation}, {step}")


def stated_countries(store: "FeatureStore", record: Record, now: datetime) -> "pd.Series[str]":
    """Give the country that each video's channel stated last; videos of others are left out."""
    rows = read_source(store, "channel_track_record", ["channel_country"], (BEGINNING, now))
    stated = rows.to_pandas().dropna(subset=["channel_country"]).sort_values("event_timestamp")
    stated = stated.drop_duplicates("channel_id", keep="last").set_index("channel_id")
    codes = pd.Series(region_codes(stated["channel_country"].to_numpy()), index=stated.index)
    of = record.videos.set_index("video_id")["channel_id"].map(codes)
    return of.dropna().astype(str)


def listed_countries(path: Path) -> "pd.Series[str]":
    """Give the country whose list each video was first seen on, from a recording's snapshots."""
    lists = pd.read_parquet(
        path / "snapshots.parquet", columns=["country", "video_id", "observed_at"]
    )
    first = lists.sort_values("observed_at", kind="stable").drop_duplicates("video_id")
    return first.set_index("video_id")["country"].astype(str)
