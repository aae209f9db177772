"""Entity rows -> training set, by Feast's point-in-time join."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo import segments
from feature_repo.bundle import Column
from feature_repo.sources import video_metadata_table
from feature_repo.store import read_source, read_table
from feature_repo.targets import COUNT_COLUMN, METRICS, log_count
from training.draft_rows import REQUEST_FIELDS
from training.entity_rows import EntityRows
from training.errors import TooLittleData

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore

FloatArray = NDArray[np.float64]

TIER_COLUMN = "channel_early_log10_views"
AGE_COLUMN = "age_at_observation_hours"
FIRST_SIGHT = "first_sight"
SERVICES = {"published": "published_v2", "draft": "draft_v2"}


KEYS = {
    "published": ["video_id", "channel_id", "event_timestamp", "as_of"],
    "draft": ["channel_id", "event_timestamp", "as_of", *REQUEST_FIELDS],
}
NOTHING_TO_ASK = {
    "published": "no video was observed twice: collect or load more",
    "draft": "no video was seen in its first days: collect or load more",
}


class Record(NamedTuple):
    """What a world has shown.

    Attributes:
        snapshots: video_id, channel_id, event_timestamp, created_timestamp, view_definition and the
            counts, a row per observation.
        videos: video_id, channel_id, published_at and the request fields of a draft, a row per
            video, as it was first seen.
    """

    snapshots: pd.DataFrame
    videos: pd.DataFrame


class TrainingSet(NamedTuple):
    """Questions with their features, crossed with labels.

    Attributes:
        features: float32 (questions, columns), as the model will see them; NaN where null.
        columns: The feature service's columns, in order.
        rows: The entity rows, one per question.
        labels: row, horizon_days (NaN: at first sight), observed_at and, per metric, log growth;
            NaN without a label.
        present: log10(1 + count) at the last observation per metric, one per question; 0 for a
            draft, whose growth is the log count itself.
        situation: `published` or `draft`.
    """

    features: NDArray[np.float32]
    columns: tuple[Column, ...]
    rows: pd.DataFrame
    labels: pd.DataFrame
    present: dict[str, FloatArray]
    situation: str = "published"

    def where(self, chosen: NDArray[np.bool_]) -> "TrainingSet":
        """Keep some of the labels; the questions stay."""
        return self._replace(labels=self.labels[chosen].reset_index(drop=True))

    def of(self, video_ids: Collection[str]) -> NDArray[np.bool_]:
        """Mark the labels of some videos."""
        chosen = self.rows["video_id"].isin(video_ids).to_numpy()
        return np.asarray(chosen[self.labels["row"].to_numpy()])

    def without(self, video_ids: Collection[str]) -> "TrainingSet":
        """Leave out the labels of some videos; the questions stay."""
        return self.where(~self.of(video_ids)) if video_ids else self

    def reading(self, columns: tuple[Column, ...]) -> "TrainingSet":
        """Keep only these columns, in this order: what another model reads."""
        order = [self.columns.index(column) for column in columns]
        return self._replace(features=self.features[:, order], columns=columns)

    def matrix(self, labels: pd.DataFrame) -> NDArray[np.float32]:
        """Cross questions with the horizons of labels: the model's input, horizon last."""
        horizon = labels["horizon_days"].to_numpy(np.float32)[:, np.newaxis]
        return np.hstack([self.features[labels["row"].to_numpy()], horizon])

    def tiers(self) -> NDArray[np.str_]:
        """Give the tier of each question's channel."""
        names = [column.name for column in self.columns]
        return segments.tier(self.features[:, names.index(TIER_COLUMN)].astype(np.float64))

    def groups(self) -> NDArray[np.str_]:
        """Give the group whose errors each label's interval comes from."""
        row, tiers = self.labels["row"].to_numpy(), self.tiers()
        if self.situation == "draft":
            unknown = np.isnan(self.labels["horizon_days"].to_numpy())
            return np.where(unknown, np.char.add(tiers[row], f"@{FIRST_SIGHT}"), tiers[row])
        names = [column.name for column in self.columns]
        age = self.features[:, names.index(AGE_COLUMN)].astype(np.float64)
        return segments.interval_group(tiers, age)[row]

    def truth(self, metric: str) -> FloatArray:
        """Give log10(1 + count) as it became, one per label; NaN without one."""
        row = self.labels["row"].to_numpy()
        return self.present[metric][row] + self.labels[metric].to_numpy()

    def digest(self) -> str:
        """Give the SHA-256 of everything a model is fitted on."""
        digest = hashlib.sha256(self.features.tobytes())
        keys = self.rows[["video_id", "event_timestamp"]]
        for frame in (keys, self.labels):
            digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        return digest.hexdigest()


def read_record(store: "FeatureStore", world: str, window: tuple[datetime, datetime]) -> Record:
    """Read everything a world has shown in a window."""
    return Record(read_snapshots(store, world, window), _read_videos(store, world, window))


def read_snapshots(
    store: "FeatureStore", world: str, window: tuple[datetime, datetime]
) -> pd.DataFrame:
    """Read a world's observations from the feature tables, each with its video's channel.

    Returns:
        video_id, channel_id, event_timestamp, created_timestamp, view_definition and the counts.
    """
    counts = [COUNT_COLUMN[metric] for metric in METRICS]
    performance = read_source(
        store, "video_performance", ["view_definition", *counts], window
    ).to_pandas()
    profile = read_source(store, "video_profile", ["channel_id", "world"], window).to_pandas()
    profile = profile[profile["world"] == world].sort_values("event_timestamp")
    return pd.merge_asof(
        performance.sort_values("event_timestamp"),
        profile[["video_id", "event_timestamp", "channel_id"]],
        on="event_timestamp",
        by="video_id",
    ).dropna(subset=["channel_id"])


DESCRIBED = (
    "video_id", "channel_id", "world", "published_at", "title", "description", "tags",
    "category_id", "duration_seconds",
)  # fmt: skip


def _read_videos(
    store: "FeatureStore", world: str, window: tuple[datetime, datetime]
) -> pd.DataFrame:
    return videos_of(read_table(store, video_metadata_table, DESCRIBED, window), world)


def videos_of(table: "pa.Table", world: str) -> pd.DataFrame:
    """Give the videos of a world as they were first seen, from rows of their metadata.

    Args:
        table: The columns DESCRIBED, `observed_at` and `ingested_at`.
        world: Whose videos.
    """
    tags = [None if tags is None else _joined(tags) for tags in table["tags"].to_pylist()]
    videos = table.drop_columns(["tags"]).to_pandas().assign(tags=tags)
    videos = videos[videos["world"] == world].sort_values(["observed_at", "ingested_at"])
    videos = videos.drop_duplicates("video_id").reset_index(drop=True)
    # As Feast's request fields have it: a text that is not there is empty, a number 0.
    return pd.DataFrame(
        {
            "video_id": videos["video_id"],
            "channel_id": videos["channel_id"],
            "published_at": pd.to_datetime(videos["published_at"], utc=True),
            "title": videos["title"].fillna(""),
            "description": videos["description"].fillna(""),
            "tags": videos["tags"].fillna(""),
            "draft_category_id": videos["category_id"].astype(float).fillna(0.0),
            "draft_duration_seconds": videos["duration_seconds"].astype(float).fillna(0.0),
        }
    )


def _joined(tags: Sequence[str]) -> str:
    """Join tags by newlines; one within a tag, which real ones have, must not make two of it."""
    return "\n".join(tag.replace("\n", " ") for tag in tags)


def training_set(store: "FeatureStore", situation: str, entity_rows: EntityRows) -> TrainingSet:
    """Join the features of a situation to entity rows as they were known at each moment.

    Raises:
        TooLittleData: There is no row to ask about.
    """
    if entity_rows.rows.empty:
        raise TooLittleData(f"{situation}: {NOTHING_TO_ASK[situation]} before training")
    service_name = SERVICES[situation]
    joined = store.get_historical_features(
        entity_rows.rows[KEYS[situation]],
        store.get_feature_service(service_name),
        filter_by_created_timestamp=True,
    ).to_df()
    if len(joined) != len(entity_rows.rows):
        raise AssertionError(f"{len(entity_rows.rows)} rows went in, {len(joined)} came out")
    columns = service_columns(store, service_name)
    features = joined[[column.name for column in columns]].to_numpy(np.float32, na_value=np.nan)
    present = {m: _present(joined, situation, m) for m in METRICS}
    rows = entity_rows.rows.drop(columns=[*REQUEST_FIELDS], errors="ignore")
    labels = _growth(entity_rows.labels, present)
    return TrainingSet(features, columns, rows, labels, present, situation)


def _present(joined: pd.DataFrame, situation: str, metric: str) -> FloatArray:
    if situation == "draft":
        return np.zeros(len(joined))
    return log_count(joined[COUNT_COLUMN[metric]].to_numpy(np.float64))


def service_columns(store: "FeatureStore", service_name: str) -> tuple[Column, ...]:
    """Give the columns of a feature service in order: what a model of it reads."""
    on_demand = {view.name for view in store.list_on_demand_feature_views()}
    return tuple(
        Column(
            name=feature.name,
            view=projection.name,
            kind="request" if projection.name in on_demand else "stored",
        )
        for projection in store.get_feature_service(service_name).feature_view_projections
        for feature in projection.features
    )


def _growth(labels: pd.DataFrame, present: dict[str, FloatArray]) -> pd.DataFrame:
    """Turn counts into growth of log10(1 + count) since the last observation."""
    row = labels["row"].to_numpy()
    grown = {m: log_count(labels[m].to_numpy(np.float64)) - present[m][row] for m in METRICS}
    return labels.assign(**grown)


def names(columns: Sequence[Column]) -> list[str]:
    """Give the names of columns, in order."""
    return [column.name for column in columns]


def latest_world(store: "FeatureStore", window: tuple[datetime, datetime]) -> str:
    """Give the world whose videos were described last before the end of a window.

    Raises:
        TooLittleData: Nothing was described in the window.
    """
    profile = read_source(store, "video_profile", ["world"], window).to_pandas()
    if profile.empty:
        raise TooLittleData(
            f"no feature rows before {window[1]:%F %T} UTC: run `foreview features build`, "
            "and set FOREVIEW_CLOCK to the instant that `foreview load` printed"
        )
    return str(profile.loc[profile["event_timestamp"].idxmax(), "world"])
