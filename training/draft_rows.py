"""Videos as they were first seen -> drafts to ask about, and what then became true; pure.

The moment asked about is the publication: only what the creator knew and the channel's history by
then may be used. What was seen first is the label that daily lists have for every video. When a
video enters a list is a fact about the list and not offered as a feature: its horizon is NaN. Later
looks, and the first one once more, are labels with their real horizon.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.targets import COUNT_COLUMN, MAX_HORIZON_DAYS, METRICS
from training.entity_rows import DAY, PROTOCOL_TOLERANCE_DAYS, EntityRows
from training.params import EntityRowParams

# A video first seen after so long a silence of the record may have been there all the time.
LONGEST_SILENCE = pd.Timedelta(hours=30)

REQUEST_FIELDS = (
    "title", "description", "tags", "draft_category_id", "draft_duration_seconds",
)  # fmt: skip

BoolArray = NDArray[np.bool_]


class _Looks(NamedTuple):
    """Looks at videos that were drafts once, sorted by video and time.

    Attributes:
        frame: The looks, with what is known of their videos.
        first: Marks the first look at each video.
        horizon_days: Days since publication.
    """

    frame: pd.DataFrame
    first: BoolArray
    horizon_days: NDArray[np.float64]


def draft_training_rows(
    snapshots: pd.DataFrame, videos: pd.DataFrame, params: EntityRowParams, seed: int
) -> EntityRows:
    """Draw drafts with a label at first sight, and some at their real horizons.

    Args:
        snapshots: As for `training.entity_rows.training_rows`.
        videos: video_id, channel_id, published_at and the request fields of a draft; one per video.
        params: How many labels with a horizon a draft keeps.
        seed: Of the draw.
    """
    looks = _looks(snapshots, videos)
    lottery = np.random.default_rng(seed).random(len(looks.first))
    usable = looks.horizon_days >= params.min_horizon_days
    rank = pd.Series(np.where(usable, lottery, np.inf)).groupby(looks.frame["video_id"]).rank()
    kept = usable & (rank.to_numpy() <= params.labels_per_draft)
    sight = np.flatnonzero(looks.first & ~_censored(looks.frame))
    later = np.flatnonzero(kept)
    unknown = np.full(len(sight), np.nan)
    return _entity_rows(
        looks,
        np.concatenate([sight, later]),
        np.concatenate([unknown, looks.horizon_days[later]]),
    )


def draft_protocol_rows(
    snapshots: pd.DataFrame,
    videos: pd.DataFrame,
    horizons: tuple[int, ...],
    asked_about: pd.DataFrame | None = None,
) -> EntityRows:
    """Draw the drafts of protocol snap-v1: judged at first sight, and whole days after publication.

    Left-censored first looks are dropped: those at the start of the record, or after a gap in it.

    Args:
        snapshots: As for `draft_training_rows`.
        videos: As for `draft_training_rows`.
        horizons: Whole days.
        asked_about: video_id, event_timestamp of the observations to score; all when left out.
    """
    looks = _looks(snapshots, videos)
    wanted = np.ones(len(looks.first), dtype=bool)
    if asked_about is not None:
        keys = pd.MultiIndex.from_frame(asked_about[["video_id", "event_timestamp"]])
        wanted = pd.MultiIndex.from_frame(looks.frame[["video_id", "event_timestamp"]]).isin(keys)
    censored = np.ones(len(wanted), dtype=bool)
    censored[wanted] = _censored(looks.frame[wanted])
    sight = np.flatnonzero(looks.first & wanted & ~censored)
    whole = np.rint(looks.horizon_days)
    off = np.abs(looks.horizon_days - whole)
    later = np.flatnonzero(wanted & np.isin(whole, horizons) & (off <= PROTOCOL_TOLERANCE_DAYS))
    nearest = pd.DataFrame(
        {"video": looks.frame["video_id"].to_numpy()[later], "day": whole[later], "off": off[later]}
    )
    later = later[np.sort(nearest.sort_values("off").drop_duplicates(["video", "day"]).index)]
    unknown = np.full(len(sight), np.nan)
    return _entity_rows(
        looks, np.concatenate([sight, later]), np.concatenate([unknown, whole[later]])
    )


def _looks(snapshots: pd.DataFrame, videos: pd.DataFrame) -> _Looks:
    """Sort looks, of a corrected one the last version; drop videos seen before they went live.

    What is known of the channel by then would hold such a video itself.
    """
    frame = snapshots.drop(columns="channel_id").merge(videos, on="video_id")
    frame = frame.sort_values(["video_id", "event_timestamp", "created_timestamp"])
    frame = frame.drop_duplicates(["video_id", "event_timestamp"], keep="last")
    frame["published_at"] = frame["published_at"].dt.ceil("s")
    first = ~frame["video_id"].duplicated()
    horizon = (frame["event_timestamp"] - frame["published_at"]).dt.total_seconds() / DAY
    was_draft = (horizon > 0).groupby(frame["video_id"]).transform("all")
    live = was_draft & (horizon <= MAX_HORIZON_DAYS + 0.5)
    return _Looks(
        frame[live].reset_index(drop=True),
        first[live].to_numpy(),
        np.asarray(horizon[live], dtype=np.float64),
    )


def _censored(frame: pd.DataFrame) -> BoolArray:
    """Mark looks before which nothing at all was looked at for long."""
    moments = frame["event_timestamp"].drop_duplicates().sort_values()
    starts = pd.DatetimeIndex(moments[moments.diff().isna() | (moments.diff() > LONGEST_SILENCE)])
    looked = pd.DatetimeIndex(frame["event_timestamp"])
    since = looked - starts[starts.searchsorted(looked, side="right") - 1]
    # A round of looks takes a while: all of its first hours are as blind as its first look.
    return np.asarray(since < pd.Timedelta(hours=6))


def _entity_rows(
    looks: _Looks, chosen: NDArray[np.int64], horizon_days: NDArray[np.float64]
) -> EntityRows:
    labelled = looks.frame.iloc[chosen]
    rows = labelled.drop_duplicates("video_id").reset_index(drop=True)
    moments = rows["published_at"]
    described = rows[["video_id", "channel_id", *REQUEST_FIELDS]]
    rows = described.assign(event_timestamp=moments, as_of=moments, is_first=True)
    position = pd.Index(rows["video_id"]).get_indexer(labelled["video_id"])
    counts = {m: labelled[COUNT_COLUMN[m]].to_numpy(np.float64) for m in METRICS}
    labels = pd.DataFrame(
        {
            "row": position,
            "horizon_days": horizon_days,
            "observed_at": labelled["event_timestamp"].array,
            **counts,
        }
    )
    return EntityRows(rows, labels)
