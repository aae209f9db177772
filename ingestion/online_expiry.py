"""How long videos are kept in the online store."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from redis import Redis

from feature_repo.online_writer import ViewLayout, latest, stored_numbers
from feature_repo.schemas import INSTANT
from feature_repo.statuses import age_limit_seconds
from ingestion.settings import IngestionSettings

FloatArray = NDArray[np.float64]

_PROFILE = "video_profile"


@dataclass(frozen=True)
class Expiry:
    """Videos are kept until they are so old; ages are told by the one clock, not by Redis's own.

    Channels are kept for good: there are few, and drafts ask for them at any time. `gone` are the
    videos whose profile was found too old: nothing else of them is kept either.
    """

    max_age: timedelta
    now: datetime
    gone: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, settings: IngestionSettings, now: datetime) -> "Expiry | None":
        """Give what the settings say; None where videos are kept for good."""
        days = settings.online_video_days
        return cls(timedelta(days=days), now) if days else None

    def lifetimes(self, client: Redis, view: ViewLayout, rows: pa.Table) -> FloatArray | None:
        """Give the seconds left to the video of each row; None for a view that is not of videos.

        Of a video whose profile is not online no forecast can be made: its row is kept as long as
        it may be read at all.
        """
        if view.join_key != "video_id":
            return None
        now, ids = self.now.timestamp(), rows["video_id"].to_pylist()
        if view.view == _PROFILE:
            left = _floats(rows["published_at"]) + self.max_age.total_seconds() - now
            for at in latest(rows, "video_id"):  # what an older version said does not count
                (self.gone.add if left[at] <= 0 else self.gone.discard)(ids[at])
            return left
        published = stored_numbers(client, ViewLayout.of(_PROFILE), "published_at", ids)
        left = published + self.max_age.total_seconds() - now
        event = rows["event_timestamp"].cast(INSTANT).cast(pa.int64()).to_numpy() / 1e6
        readable = event + age_limit_seconds(view.view) - now
        gone = np.array([video_id in self.gone for video_id in ids], dtype=bool)
        return np.where(np.isnan(left), np.where(gone, -1.0, readable), left)


def _floats(column: pa.ChunkedArray) -> FloatArray:
    result: FloatArray = column.to_pandas().to_numpy(dtype=np.float64)
    return result
