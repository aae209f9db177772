"""Logged vectors against what training would have seen at that moment, to the bit.

Feast's historical join gives the features of each logged question as of its moment. A view whose
online row was older than the newest one then known offline is `behind`: a matter of when it was
materialized, which other alerts watch, and not a skew of values.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from feature_repo.online_layout import JOIN_KEY_OF_VIEW
from observability.asked import layouts
from observability.database import Connection

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.bundle import Column

SAMPLE = 300
# Both sides tell instants to the microsecond; the log's went through a float.
_SAME_INSTANT_SECONDS = 0.001

_LOGGED = """
    SELECT video_id, coalesce(channel_id, ''), as_of, layout, features, feature_times
    FROM forecast_log
    WHERE world = %(world)s AND situation = 'published' AND asked_at >= %(start)s
        AND asked_at <= %(end)s AND layout = ANY(%(layouts)s)
        AND coalesce(vector->>'source', 'online_store') = 'online_store'
    ORDER BY md5(forecast_id::text) LIMIT %(sample)s
"""
_NEWEST = sql.SQL("""
    SELECT extract(epoch FROM (
        SELECT event_timestamp FROM {view} AS row WHERE row.{key} = asked.id
            AND event_timestamp <= asked.as_of AND created_timestamp <= asked.as_of
        ORDER BY event_timestamp DESC LIMIT 1))::float
    FROM unnest(%s::text[], %s::timestamptz[]) WITH ORDINALITY AS asked (id, as_of, number)
    ORDER BY number
""")


class Logged(NamedTuple):
    """Questions as they were logged, in one order.

    Attributes:
        features: The model's inputs, shape (rows, columns); NaN where null.
        times: Event times of the online rows, by view; NaN where there was no row.
    """

    video_id: list[str]
    channel_id: list[str]
    as_of: list[datetime]
    features: NDArray[np.float32]
    times: dict[str, NDArray[np.float64]]


class Skew(NamedTuple):
    """One feature, online against offline: how many values were compared, and what differed.

    `missing`: null online, known offline. `extra`: the reverse. `behind`: not compared.
    """

    feature_view: str
    feature: str
    compared: int
    mismatched: int
    missing: int
    extra: int
    behind: int

    @property
    def is_skewed(self) -> bool:
        """Tell whether any value differed."""
        return self.mismatched + self.missing + self.extra > 0


def logged(
    connection: Connection,
    world: str,
    columns: Sequence[str],
    start: datetime,
    end: datetime,
    sample: int = SAMPLE,
) -> Logged:
    """Draw logged questions of a window that hold all these columns."""
    places = layouts(connection, columns)
    asked = {
        "world": world, "start": start, "end": end, "layouts": list(places), "sample": sample,
    }  # fmt: skip
    rows = connection.execute(_LOGGED, asked).fetchall()
    features = [[row[4][at] for at in places[row[3]]] for row in rows]
    return Logged(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        np.array(features, dtype=np.float32).reshape(len(rows), len(columns)),
        {
            view: np.array([_epoch(row[5].get(view)) for row in rows], dtype=np.float64)
            for view in JOIN_KEY_OF_VIEW
        },
    )


def recomputed(
    store: "FeatureStore", service: str, asked: Logged, columns: Sequence["Column"]
) -> NDArray[np.float32]:
    """Give the vectors that Feast joins for the same questions, shape (rows, columns)."""
    import pandas as pd

    moments = pd.to_datetime(pd.Series(asked.as_of), utc=True)
    rows = pd.DataFrame(
        {
            "video_id": asked.video_id,
            "channel_id": asked.channel_id,
            "event_timestamp": moments,
            "as_of": moments,
        }
    )
    job = store.get_historical_features(rows, store.get_feature_service(service))
    joined = job.to_df()
    matrix = joined[[column.name for column in columns]].to_numpy(np.float32, na_value=np.nan)
    defaults = np.array([_or_nan(column.default) for column in columns], dtype=np.float32)
    return np.where(np.isnan(matrix), defaults, matrix)


def behind(connection: Connection, asked: Logged) -> dict[str, NDArray[np.bool_]]:
    """Tell, by stored view, which questions were answered from a row older than the newest."""
    found = {}
    for view, key in JOIN_KEY_OF_VIEW.items():
        ids = asked.video_id if key == "video_id" else asked.channel_id
        query = _NEWEST.format(view=sql.Identifier(view), key=sql.Identifier(key))
        rows = connection.execute(query, [ids, asked.as_of]).fetchall()
        newest = np.array([_or_nan(row[0]) for row in rows], dtype=np.float64)
        served = np.nan_to_num(asked.times[view], nan=-np.inf)
        found[view] = served < np.nan_to_num(newest, nan=-np.inf) - _SAME_INSTANT_SECONDS
    return found


def compare(
    columns: Sequence["Column"],
    online: NDArray[np.float32],
    offline: NDArray[np.float32],
    lagging: dict[str, NDArray[np.bool_]],
) -> list[Skew]:
    """Compare vectors to the bit, feature by feature; a request feature needs every view."""
    none = np.zeros(len(online), dtype=bool)
    any_behind: NDArray[np.bool_] = np.logical_or.reduce([none, *lagging.values()])
    found = []
    for at, column in enumerate(columns):
        late = lagging.get(column.view, any_behind)
        was, now = offline[~late, at], online[~late, at]
        null_was, null_now = np.isnan(was), np.isnan(now)
        differs = (was.view(np.uint32) != now.view(np.uint32)) & ~null_was & ~null_now
        found.append(
            Skew(
                column.view,
                column.name,
                len(now),
                int(differs.sum()),
                int((null_now & ~null_was).sum()),
                int((null_was & ~null_now).sum()),
                int(late.sum()),
            )
        )
    return found


def _epoch(text: str | None) -> float:
    return np.nan if text is None else datetime.fromisoformat(text).timestamp()


def _or_nan(value: Any) -> float:
    return np.nan if value is None else float(value)
