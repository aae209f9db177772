"""What was asked of late: logged vectors, answers, and the truths that came in."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from observability.database import Connection

FloatArray = NDArray[np.float64]

_MOST_VIDEOS = 5_000

# One vector a video, its latest: a video that is asked about a thousand times is one video.
_VECTORS = """
    SELECT video_id, channel_id, as_of, layout, features, definition, format FROM (
        SELECT DISTINCT ON (video_id) video_id, channel_id, as_of, layout, features
        FROM forecast_log
        WHERE world = %(world)s AND situation = 'published' AND asked_at >= %(start)s
            AND asked_at <= %(end)s AND layout = ANY(%(layouts)s)
        ORDER BY video_id, asked_at DESC
    ) AS latest
    LEFT JOIN LATERAL (
        SELECT view_definition AS definition, format FROM video_snapshots AS look
        WHERE look.video_id = latest.video_id AND look.observed_at <= latest.as_of
        ORDER BY observed_at DESC, ingested_at DESC LIMIT 1
    ) AS start ON true
    ORDER BY md5(video_id) LIMIT %(most)s
"""
_FORECASTS = """
    SELECT DISTINCT ON (metric, days, video_id) metric, (answered->>'horizon_days')::int AS days,
        log10((1 + (answered->>'p50')::float) / (1 + (answers->>'current')::float))
    FROM forecast_log,
        json_each(answer->'metrics') AS asked (metric, answers),
        json_array_elements(answers->'forecasts') AS answered
    WHERE world = %(world)s AND situation = 'published' AND video_id = ANY(%(videos)s)
        AND asked_at >= %(start)s AND asked_at <= %(end)s AND answered->>'p50' IS NOT NULL
    ORDER BY metric, days, video_id, asked_at DESC
"""
# Where truths fell among the quantiles: below, lower and upper half of the interval, above. Counts
# are whole: one that equals a quantile is half on each side of it, and quantiles that are one
# number divide nothing.
_TRUTHS = """
    SELECT metric, days, count(DISTINCT channel_id),
        sum(below_p10), sum(below_p50 - below_p10), sum(below_p90 - below_p50), sum(1 - below_p90)
    FROM (
        SELECT metric, days, channel_id,
            (1 + sign(p10 - truth)) / 2 AS below_p10,
            (1 + sign(p50 - truth)) / 2 AS below_p50,
            (1 + sign(p90 - truth)) / 2 AS below_p90
        FROM (
            SELECT DISTINCT ON (metric, horizon_days, video_id) metric, horizon_days AS days,
                channel_id, p10, p50, p90, round(observed_count) AS truth
            FROM forecast_outcomes
            WHERE world = %(world)s AND situation = 'published' AND status = 'scored'
                AND due_at >= %(start)s AND due_at <= %(end)s
            ORDER BY metric, horizon_days, video_id, due_at DESC
        ) AS latest
        WHERE p10 < p50 AND p50 < p90
    ) AS placed
    GROUP BY metric, days
"""


def layouts(connection: Connection, columns: Sequence[str]) -> dict[UUID, list[int]]:
    """Find the layouts of logged vectors that hold all these columns, and where each is in them."""
    query = "SELECT layout, names FROM vector_layouts WHERE names @> %s::text[]"
    return {
        layout: [names.index(name) for name in columns]
        for layout, names in connection.execute(query, [list(columns)])
    }


class Vectors(NamedTuple):
    """Features as the model got them, a row a video.

    Attributes:
        features: Shape (rows, columns); NaN where null.
        as_of: Epoch seconds.
        definition: Of a view, at the observation asked about; empty where unknown.
    """

    video_id: NDArray[np.str_]
    channel_id: NDArray[np.str_]
    as_of: FloatArray
    features: FloatArray
    definition: NDArray[np.str_]
    format: NDArray[np.str_]


def vectors(
    connection: Connection, world: str, columns: tuple[str, ...], start: datetime, end: datetime
) -> Vectors:
    """Read the vectors asked about in [start, end] that hold all these columns."""
    places = layouts(connection, columns)
    asked = {
        "world": world, "start": start, "end": end, "layouts": list(places), "most": _MOST_VIDEOS,
    }  # fmt: skip
    rows = connection.execute(_VECTORS, asked).fetchall()
    features = np.array(
        [[row[4][at] for at in places[row[3]]] for row in rows], dtype=np.float32
    )  # as the model had them, though PostgreSQL tells them by fewer digits
    return Vectors(
        np.array([row[0] for row in rows], dtype=str),
        np.array([row[1] or "" for row in rows], dtype=str),
        np.array([row[2].timestamp() for row in rows], dtype=np.float64),
        features.astype(np.float64).reshape(len(rows), len(columns)),
        np.array([row[5] or "" for row in rows], dtype=str),
        np.array([row[6] or "unknown" for row in rows], dtype=str),
    )


def forecast_growth(
    connection: Connection, world: str, videos: list[str], start: datetime, end: datetime
) -> dict[tuple[str, int], FloatArray]:
    """Give the median growth answered for videos, by metric and horizon, in decades."""
    asked = {"world": world, "videos": videos, "start": start, "end": end}
    grown: dict[tuple[str, int], list[float]] = {}
    for metric, days, growth in connection.execute(_FORECASTS, asked):
        grown.setdefault((metric, days), []).append(growth)
    return {key: np.array(values) for key, values in grown.items()}


def truth_places(
    connection: Connection, world: str, start: datetime, end: datetime
) -> dict[tuple[str, int], tuple[FloatArray, int]]:
    """Count where truths due in [start, end] fell among p10, p50 and p90, and of how many channels.

    Returns:
        By metric and horizon: four places, from below the interval to above it, and channels.
    """
    asked = {"world": world, "start": start, "end": end}
    return {
        (metric, days): (np.array(counts, dtype=np.float64), channels)
        for metric, days, channels, *counts in connection.execute(_TRUTHS, asked)
    }
