"""Observations -> rows to ask about, and what then became true of them; pure.

A label is a later snapshot of the same video. The moment asked about lies some days before it and
at or after an earlier observation was known, so that "hours since the last observation" is as
spread out as in production. A label never spans a change of what a view is.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.targets import COUNT_COLUMN, MAX_HORIZON_DAYS, METRICS
from training.params import EntityRowParams

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DAY = 86_400.0
LONGEST_RECORD = 200  # observations of one video that are paired with one another

# The published protocol: a label is off the whole day by no more than three hours.
PROTOCOL_TOLERANCE_DAYS = 3 / 24


class EntityRows(NamedTuple):
    """Left side of the point-in-time join, and the labels that cross with it.

    Attributes:
        rows: video_id, channel_id, event_timestamp, as_of (equal to it), is_first (the video had
            been seen once); one per question.
        labels: row (position in rows), horizon_days, observed_at, views, likes, comments; several
            per row. A count is NaN where hidden.
    """

    rows: pd.DataFrame
    labels: pd.DataFrame


def training_rows(snapshots: pd.DataFrame, params: EntityRowParams, seed: int) -> EntityRows:
    """Draw rows as production would ask: at any moment, for any number of days.

    Args:
        snapshots: video_id, channel_id, event_timestamp, created_timestamp, view_definition and
            the counts; one row per observation.
        params: How many rows are asked late, and how many labels a row keeps.
        seed: Of the draw; the same record and seed give the same rows.
    """
    ordered = _ordered(snapshots)
    random = np.random.default_rng(seed)
    asked = np.ceil(np.maximum(ordered.observed, ordered.created))
    late = np.where(
        random.random(len(asked)) < params.stale_share,
        np.ceil(random.random(len(asked)) * params.stale_hours * 3600.0),
        0.0,
    )
    # Asked before a later look at the video is known, or that one would be the one to start from.
    asked = np.where(asked + late < ordered.next_known, asked + late, asked)
    row, label = _pairs(ordered)
    horizon = (ordered.observed[label] - asked[row]) / DAY
    usable = (horizon >= params.min_horizon_days) & (horizon <= MAX_HORIZON_DAYS + 0.5)
    usable &= asked[row] < ordered.next_known[row]
    row, label = row[usable], label[usable]
    kept = _draw(row, params.labels_per_row, random)
    return _entity_rows(ordered, asked, row[kept], label[kept])


def protocol_rows(
    snapshots: pd.DataFrame, horizons: tuple[int, ...], asked_about: pd.DataFrame | None = None
) -> EntityRows:
    """Draw the rows of protocol snap-v1: asked at an observation, judged whole days later.

    Args:
        snapshots: As for `training_rows`.
        horizons: Whole days.
        asked_about: video_id, event_timestamp of the observations to score; all when left out.
    """
    ordered = _ordered(snapshots)
    asked = np.ceil(np.maximum(ordered.observed, ordered.created))
    row, label = _pairs(ordered)
    days = (ordered.observed[label] - ordered.observed[row]) / DAY
    whole = np.rint(days)
    wanted = np.isin(whole, horizons) & (np.abs(days - whole) <= PROTOCOL_TOLERANCE_DAYS)
    wanted &= asked[row] < ordered.next_known[row]
    wanted &= asked[row] < ordered.observed[label]  # a look known late may be asked too late
    if asked_about is not None:
        keys = pd.MultiIndex.from_frame(asked_about[["video_id", "event_timestamp"]])
        own = pd.MultiIndex.from_arrays([ordered.video_id, ordered.frame["event_timestamp"]])
        scored = own.isin(keys)
        wanted &= scored[row] & scored[label]
    row, label, days, whole = row[wanted], label[wanted], days[wanted], whole[wanted]
    nearest = _nearest(row, whole, np.abs(days - whole))
    entity_rows = _entity_rows(ordered, asked, row[nearest], label[nearest])
    entity_rows.labels["horizon_days"] = whole[nearest]
    return entity_rows


class _Ordered(NamedTuple):
    """Snapshots sorted by video and time, as arrays.

    Attributes:
        next_known: When the first of the later looks at the video was known; never is infinite.
    """

    frame: pd.DataFrame
    video: IntArray
    video_id: NDArray[np.object_]
    observed: FloatArray
    created: FloatArray
    next_known: FloatArray
    definition: IntArray


def _ordered(snapshots: pd.DataFrame) -> _Ordered:
    """Sort snapshots; of a corrected one the first to be known asks, the last is the truth."""
    frame = snapshots.sort_values(["video_id", "event_timestamp", "created_timestamp"])
    first_known = frame.groupby(["video_id", "event_timestamp"], sort=False)["created_timestamp"]
    frame = frame.assign(created_timestamp=first_known.transform("min"))
    frame = frame.drop_duplicates(["video_id", "event_timestamp"], keep="last")
    frame = frame.reset_index(drop=True)
    video = frame["video_id"].factorize()[0].astype(np.int64)
    known = np.maximum(_seconds(frame["event_timestamp"]), _seconds(frame["created_timestamp"]))
    backwards = pd.Series(known[::-1]).groupby(video[::-1])
    from_here = backwards.cummin().to_numpy()[::-1]  # of a look and all later ones
    same = np.append(video[1:] == video[:-1], False)
    return _Ordered(
        frame=frame,
        video=video,
        video_id=frame["video_id"].to_numpy(),
        observed=_seconds(frame["event_timestamp"]),
        created=_seconds(frame["created_timestamp"]),
        next_known=np.where(same, np.append(from_here[1:], np.inf), np.inf),
        definition=frame["view_definition"].factorize()[0].astype(np.int64),
    )


def _pairs(ordered: _Ordered) -> tuple[IntArray, IntArray]:
    """Give every (earlier, later) pair of a video's observations that may be compared."""
    rows, labels = [], []
    index = np.arange(len(ordered.video))
    for apart in range(1, min(LONGEST_RECORD, len(index))):
        row, label = index[:-apart], index[apart:]
        near = ordered.observed[label] - ordered.observed[row] <= (MAX_HORIZON_DAYS + 2) * DAY
        same = (ordered.video[row] == ordered.video[label]) & near
        if not same.any():
            break
        alike = same & (ordered.definition[row] == ordered.definition[label])
        rows.append(row[alike])
        labels.append(label[alike])
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([empty, *rows]), np.concatenate([empty, *labels])


def _draw(row: IntArray, most: int, random: np.random.Generator) -> IntArray:
    """Keep at most so many pairs of each row, drawn at random."""
    lottery = random.random(len(row))
    order = np.lexsort((lottery, row))
    rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    return np.sort(order[rank < most])


def _nearest(row: IntArray, whole: FloatArray, off: FloatArray) -> IntArray:
    """Keep of each row and horizon the label nearest to the whole day."""
    order = np.lexsort((off, whole, row))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(row[order]) != 0) | (np.diff(whole[order]) != 0)
    return np.sort(order[first])


def _entity_rows(
    ordered: _Ordered, asked: FloatArray, row: IntArray, label: IntArray
) -> EntityRows:
    used, position = np.unique(row, return_inverse=True)
    moments = pd.DatetimeIndex((asked[used] * 1e6).astype("datetime64[us]"), tz="UTC")
    rows = pd.DataFrame(
        {
            "video_id": ordered.video_id[used],
            "channel_id": ordered.frame["channel_id"].to_numpy()[used],
            "event_timestamp": moments,
            "as_of": moments,
            "is_first": np.append(True, ordered.video[1:] != ordered.video[:-1])[used],
        }
    )
    counts = {m: ordered.frame[COUNT_COLUMN[m]].to_numpy(np.float64)[label] for m in METRICS}
    labels = pd.DataFrame(
        {
            "row": position,
            "horizon_days": (ordered.observed[label] - asked[row]) / DAY,
            "observed_at": ordered.frame["event_timestamp"].array[label],
            **counts,
        }
    )
    return EntityRows(rows, labels)


def _seconds(moments: "pd.Series[pd.Timestamp]") -> FloatArray:
    return moments.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64) / 1e6
