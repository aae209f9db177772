"""Warehouse rows -> feature rows, by the transformations; pure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo import schemas
from feature_repo.segments import SHORT_MAX_SECONDS, views_valid_until
from feature_repo.transformations.channel_rows import HABITS, ChannelRows
from feature_repo.transformations.format import format_features
from feature_repo.transformations.knowledge import known_versions
from feature_repo.transformations.performance import Snapshots, video_performance
from feature_repo.transformations.profile import written_features
from feature_repo.transformations.region import region_numbers
from feature_repo.transformations.sequences import (
    FloatArray,
    IntArray,
    is_first,
    latest_at,
    running_max,
)
from feature_repo.transformations.text import emoji_counts, uppercase_ratio
from feature_repo.transformations.titles import similarity_to_earlier, title_words
from feature_repo.transformations.track_record import channel_track_record

BoolArray = NDArray[np.bool_]


def profile_rows(
    metadata: pa.Table, channels: pa.Table, video_ids: Sequence[str] | None = None
) -> pa.Table:
    """Describe each version of each video's metadata.

    Args:
        metadata: Rows in schemas.VIDEO_METADATA, any order, with all of the videos' channels.
        channels: Rows in schemas.CHANNEL_SNAPSHOTS of their channels, for the country.
        video_ids: The videos to describe; None for all.

    Returns:
        Rows in schemas.VIDEO_PROFILE, one per version.
    """
    similarity = _title_similarity(metadata)
    if video_ids is not None:
        asked = pc.is_in(metadata["video_id"], value_set=pa.array(video_ids, pa.string()))
        metadata, similarity = metadata.filter(asked), similarity[asked.to_numpy()]
    published = _seconds(metadata["published_at"])
    features = (
        {"published_at": published}
        | written_features(
            metadata["title"].to_pylist(),
            metadata["description"].to_pylist(),
            metadata["tags"].to_pylist(),
            published,
            _countries(metadata, channels),
        )
        | format_features(
            _durations(metadata),
            _floats(metadata["category_id"]),
            metadata["live_broadcast_content"].to_pylist(),
            _matches(metadata["definition"], "hd"),
            _floats(metadata["has_captions"]),
            _floats(metadata["is_made_for_kids"]),
        )
        | {"title_similarity_to_channel": similarity}
    )
    keys = {
        "video_id": metadata["video_id"],
        "event_timestamp": metadata["observed_at"],
        "created_timestamp": metadata["ingested_at"],
        "channel_id": metadata["channel_id"],
        "world": metadata["world"],
    }
    return _table(keys, features, schemas.VIDEO_PROFILE)


def performance_rows(snapshots: pa.Table) -> pa.Table:
    """Describe each observation of each video, in every version of what was known of it.

    Args:
        snapshots: Rows in schemas.VIDEO_SNAPSHOTS, any order.

    Returns:
        Rows in schemas.VIDEO_PERFORMANCE.
    """
    video, names = _codes(snapshots["video_id"])
    observed, ingested = _seconds(snapshots["observed_at"]), _seconds(snapshots["ingested_at"])
    known = known_versions(video, observed, ingested)
    last = _is_last(known.entity, observed[known.rows])
    rows, entity, epoch = known.rows[last], known.entity[last], known.epoch[last]
    definition, _ = _codes(snapshots["view_definition"])
    features = video_performance(
        Snapshots(
            video=entity,
            observed=observed[rows],
            views=_floats(snapshots["view_count"])[rows],
            likes=_floats(snapshots["like_count"])[rows],
            comments=_floats(snapshots["comment_count"])[rows],
            definition=definition[rows],
        )
    )
    created = running_max(ingested[rows], entity)
    keys = {
        "video_id": pa.array(names[video[rows]]),
        "event_timestamp": _instants(observed[rows]),
        "created_timestamp": _instants(created),
        "view_definition": snapshots["view_definition"].take(pa.array(rows)),
    }
    return _table(keys, features, schemas.VIDEO_PERFORMANCE).filter(pa.array(created >= epoch))


def track_record_rows(metadata: pa.Table, snapshots: pa.Table, channels: pa.Table) -> pa.Table:
    """Describe each channel at each moment at which it or a video of it was observed.

    A video belongs to the channel that its metadata named when it was observed; a snapshot taken
    before its metadata was known tells nothing of a channel.

    Returns:
        Rows in schemas.CHANNEL_TRACK_RECORD.
    """
    facts = pd.concat(
        [
            part
            for part in (_video_facts(metadata, snapshots), _channel_facts(channels))
            if len(part)
        ]
        or [_channel_facts(channels)]
    )
    # Of what was seen at the same moment the older video comes first, whatever order rows come in.
    facts = facts.iloc[np.lexsort((facts["video"], facts["published"]))]
    channel, names = _codes(pa.array(facts["channel_id"], pa.string()))
    observed, ingested = facts["observed"].to_numpy(), facts["ingested"].to_numpy()
    known = known_versions(channel, observed, ingested)
    video = facts["video"].to_numpy(dtype=np.int64)
    current = _latest_arrival(known.entity, observed[known.rows], video[known.rows])
    rows, entity, epoch = known.rows[current], known.entity[current], known.epoch[current]
    values = {name: facts[name].to_numpy(dtype=np.float64)[rows] for name in _FACTS}
    habits = facts[list(HABITS)].to_numpy(dtype=np.float64)[rows]
    features = channel_track_record(
        ChannelRows(
            channel=entity,
            observed=observed[rows],
            video=video[rows],
            habits=habits,
            title=facts["title"].to_numpy(dtype=np.int64)[rows],
            title_words=title_words(metadata["title"].to_pylist()),
            **values,
        )
    )
    created = running_max(ingested[rows], entity)
    keys = {
        "channel_id": pa.array(names[channel[rows]]),
        "event_timestamp": _instants(observed[rows]),
        "created_timestamp": _instants(created),
    }
    wanted = _is_last(entity, observed[rows]) & (created >= epoch)
    return _table(keys, features, schemas.CHANNEL_TRACK_RECORD).filter(pa.array(wanted))


_FACTS = (
    "published",
    "views",
    "likes",
    "comments",
    "is_short",
    "valid_until",
    "country",
    "subscribers",
    "channel_views",
    "channel_videos",
)


def _video_facts(metadata: pa.Table, snapshots: pa.Table) -> pd.DataFrame:
    """Give each snapshot the channel and publication that were known when it was taken."""
    version = _version_known(metadata, snapshots, "video_id")
    found = version >= 0
    at, rows = np.flatnonzero(found), version[found]
    duration = _durations(metadata)[rows]
    short = np.where(np.isnan(duration), np.nan, duration <= SHORT_MAX_SECONDS)
    video, _ = _codes(snapshots["video_id"], in_order=True)
    return pd.DataFrame(
        {
            "channel_id": metadata["channel_id"].to_pandas().to_numpy()[rows],
            "observed": _seconds(snapshots["observed_at"])[at],
            "ingested": _seconds(snapshots["ingested_at"])[at],
            "video": video[at],
            "title": rows,
            "published": _seconds(metadata["published_at"])[rows],
            "views": _floats(snapshots["view_count"])[at],
            "likes": _floats(snapshots["like_count"])[at],
            "comments": _floats(snapshots["comment_count"])[at],
            "is_short": short,
            "valid_until": _valid_until(snapshots)[at],
        }
        | {name: values[rows] for name, values in _habits(metadata).items()}
        | dict.fromkeys(
            ("country", "subscribers", "channel_views", "channel_videos"),
            np.full(len(at), np.nan),
        )
    )


def _title_similarity(metadata: pa.Table) -> FloatArray:
    """Hold each version's title against those of its channel that were known when it was."""
    video, _ = _codes(metadata["video_id"], in_order=True)
    channel, _ = _codes(metadata["channel_id"])
    observed, ingested = _seconds(metadata["observed_at"]), _seconds(metadata["ingested_at"])
    # As in the track record: of what was seen at the same moment the older video comes first.
    order = np.lexsort((video, _seconds(metadata["published_at"])))
    known = known_versions(channel[order], observed[order], ingested[order])
    rows = order[known.rows]
    words = title_words(metadata["title"].to_pylist())
    told = similarity_to_earlier(known.entity, video[rows], observed[rows], words[rows])
    # A version belongs to the last copy of its channel that was made by the time it arrived.
    current = ingested[rows] >= known.epoch
    similarity = np.full(len(metadata), np.nan)
    similarity[rows[current]] = told[current]
    return similarity


def _habits(metadata: pa.Table) -> dict[str, FloatArray]:
    """Give what creators usually do, per version of metadata, as the profile describes it."""
    titles = metadata["title"].to_pylist()
    tags = pc.list_value_length(metadata["tags"])
    return {
        "title_length": np.array([len(title) for title in titles], dtype=np.float64),
        "title_uppercase_ratio": uppercase_ratio(titles),
        "title_emoji": emoji_counts(titles),
        "description_length": _floats(pc.utf8_length(metadata["description"])),
        "tag_count": _floats(tags),
        "duration_seconds": _durations(metadata),
    }


def _valid_until(snapshots: pa.Table) -> FloatArray:
    """Give the moment up to which each snapshot's views are counted as they are now."""
    pairs = pc.binary_join_element_wise(snapshots["format"], snapshots["view_definition"], "/")
    codes, names = _codes(pairs)
    moments = [views_valid_until(*name.split("/")) for name in names]
    return np.array(moments, dtype=np.float64)[codes]


def _countries(metadata: pa.Table, channels: pa.Table) -> FloatArray:
    """Give the number of the country each version's channel then stated, NaN for none."""
    look = _version_known(channels, metadata, "channel_id")
    numbers = region_numbers(channels["country"].to_pylist())
    return np.where(look >= 0, np.append(numbers, np.nan)[look], np.nan)


def _version_known(versions: pa.Table, asked_rows: pa.Table, key: str) -> IntArray:
    """Give for each row the version of its entity then in force, -1 where unknown.

    A version that reached us after the row did does not count.
    """
    if len(versions) == 0:
        return np.full(len(asked_rows), -1, dtype=np.int64)
    both = _codes(pa.chunked_array([*versions[key].chunks, *asked_rows[key].chunks]))
    entity, asked = both[0][: len(versions)], both[0][len(versions) :]
    observed, ingested = _seconds(versions["observed_at"]), _seconds(versions["ingested_at"])
    order = np.lexsort((ingested, observed, entity))
    moment, arrival = _seconds(asked_rows["observed_at"]), _seconds(asked_rows["ingested_at"])
    at = latest_at(entity[order], observed[order], asked, moment)
    found = np.where(at >= 0, order[at], -1)
    while (late := (found >= 0) & (ingested[found] > arrival)).any():
        at = np.where(late, at - 1, at)
        same = (at >= 0) & (entity[order[at]] == asked)
        found = np.where(late, np.where(same, order[at], -1), found)
    return found


def _channel_facts(channels: pa.Table) -> pd.DataFrame:
    unknown = dict.fromkeys((*_FACTS, *HABITS), np.full(len(channels), np.nan))
    return pd.DataFrame(
        {
            "channel_id": channels["channel_id"].to_pandas().to_numpy(),
            "observed": _seconds(channels["observed_at"]),
            "ingested": _seconds(channels["ingested_at"]),
            "video": np.full(len(channels), -1),
            "title": np.full(len(channels), -1),
        }
        | unknown
        | {
            "country": region_numbers(channels["country"].to_pylist()),
            "subscribers": _floats(channels["subscriber_count"]),
            "channel_views": _floats(channels["view_count"]),
            "channel_videos": _floats(channels["video_count"]),
        }
    )


def _latest_arrival(entity: IntArray, observed: FloatArray, video: IntArray) -> BoolArray:
    """Mark the last row to arrive of each entity, moment and video; rows sorted by arrival."""
    order = np.lexsort((np.arange(len(entity)), video, observed, entity))
    marked = np.zeros(len(entity), dtype=bool)
    marked[order[_is_last(entity[order], observed[order], video[order])]] = True
    return marked


def _is_last(*keys: NDArray[np.generic]) -> BoolArray:
    return np.append(is_first(*keys)[1:], True) if len(keys[0]) else np.zeros(0, dtype=bool)


def _codes(
    column: pa.ChunkedArray | pa.Array, *, in_order: bool = False
) -> tuple[IntArray, NDArray[np.object_]]:
    """Give each text a whole number, ascending with the texts if asked for, and the texts by it."""
    codes, names = pd.factorize(column.to_pandas().to_numpy(), sort=in_order)
    return codes.astype(np.int64), names


def _seconds(column: pa.ChunkedArray) -> FloatArray:
    """Give instants as epoch seconds; exact to the microsecond until the year 2255."""
    return column.cast(pa.int64()).to_numpy() / 1e6


def _instants(seconds: FloatArray) -> pa.Array:
    return pa.array(np.rint(seconds * 1e6).astype(np.int64)).cast(schemas.INSTANT)


def _floats(column: pa.ChunkedArray) -> FloatArray:
    """Give numbers or booleans as float64, NaN where null; rounded where it cannot hold one."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    numbers = column.cast(pa.float64(), safe=False)
    result: FloatArray = numbers.to_pandas().to_numpy(dtype=np.float64)
    return result


def _durations(metadata: pa.Table) -> FloatArray:
    """Give durations in seconds; NaN for streams and premieres, which YouTube gives length 0."""
    seconds = _floats(metadata["duration_seconds"])
    return np.where(seconds > 0, seconds, np.nan)


def _matches(column: pa.ChunkedArray, text: str) -> FloatArray:
    return np.array([np.nan if v is None else v == text for v in column.to_pylist()], dtype=float)


def _table(
    keys: dict[str, pa.Array], features: dict[str, FloatArray], schema: pa.Schema
) -> pa.Table:
    """Put keys and features in the order of a schema; NaN becomes null."""
    columns = keys | {name: pa.array(v, from_pandas=True) for name, v in features.items()}
    return pa.table([columns[name] for name in schema.names], schema=schema)


def feature_rows(
    metadata: pa.Table, snapshots: pa.Table, channels: pa.Table
) -> dict[str, pa.Table]:
    """Compute every table in schemas.FEATURE_TABLES for the videos and channels given."""
    return {
        "video_profile": profile_rows(metadata, channels),
        "video_performance": performance_rows(snapshots),
        "channel_track_record": track_record_rows(metadata, snapshots, channels),
    }
