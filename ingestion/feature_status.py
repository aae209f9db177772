"""How features are doing, view by view: fresh or not, how many, how often null, at what cost."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from redis import Redis
from sqlalchemy import Connection, Engine, text

from feature_repo import online_layout as layout
from feature_repo import schemas

# Entities looked up in the online store: those with the newest rows, where a lag shows first.
SAMPLED = 200
_MOST_NULLS_TOLD = 5
# What feature rows are made of, by the table's key.
# What rows of a view are made of. A profile has a row per change: nothing new is no lag.
_OBSERVED = {
    "video_profile": ["video_metadata"],
    "video_performance": ["video_snapshots"],
    "channel_track_record": ["video_snapshots", "channel_snapshots"],
}


@dataclass(frozen=True)
class Online:
    """What the online store holds of the entities with the newest rows.

    Attributes:
        sampled: How many entities were looked up.
        present: How many of them have a row of the view.
        current: How many have the very row that is newest in the table, or a newer one.
        lag_seconds: The largest distance from a row online to the newest one in the table.
        bytes_per_entity: Memory an entity takes in Redis, on average, with all its views.
    """

    sampled: int
    present: int
    current: int
    lag_seconds: float
    bytes_per_entity: float | None


@dataclass(frozen=True)
class ViewStatus:
    """One feature view.

    Attributes:
        age_seconds: From the newest event to now; None without a row.
        lag_seconds: From the newest event to the newest observation, which no row was made of.
        null_share: Share of nulls by feature, over all rows.
        online: None where no online store is named.
    """

    name: str
    rows: int
    entities: int
    first_event: datetime | None
    last_event: datetime | None
    age_seconds: float | None
    lag_seconds: float | None
    null_share: dict[str, float]
    online: Online | None

    def as_json(self) -> dict[str, object]:
        """Give all of it as JSON has it."""
        told = asdict(self)
        for name in ("first_event", "last_event"):
            told[name] = told[name] and told[name].isoformat()
        return told

    def told(self) -> list[str]:
        """Tell it in a few lines."""
        if self.last_event is None:
            return [f"{self.name}: no rows yet (foreview features build)"]
        assert self.age_seconds is not None
        lines = [
            f"{self.name}: {self.rows:,} rows of {self.entities:,}; newest {self.last_event:%F %T}"
            f" UTC, {_span(self.age_seconds)} old, {_span(self.lag_seconds or 0)} behind what was"
            " observed"
        ]
        nulls = sorted(self.null_share.items(), key=lambda share: -share[1])[:_MOST_NULLS_TOLD]
        lines.append("  null most often: " + ", ".join(f"{n} {share:.0%}" for n, share in nulls))
        if self.online is not None:
            one = self.online
            size = "" if one.bytes_per_entity is None else f", {one.bytes_per_entity:,.0f} B each"
            lines.append(
                f"  online: of the {one.sampled} newest {one.present} present, {one.current} "
                f"current, at most {_span(one.lag_seconds)} behind{size}"
            )
        return lines


def read_status(engine: Engine, redis_url: str | None, now: datetime) -> list[ViewStatus]:
    """Look at every feature table, and at the newest entities of each in the online store."""
    with engine.connect() as connection:
        if redis_url is None:
            return [_view(connection, None, name, now) for name in schemas.FEATURE_TABLES]
        with Redis.from_url(redis_url) as client:
            return [_view(connection, client, name, now) for name in schemas.FEATURE_TABLES]


def _view(connection: Connection, client: Redis | None, name: str, now: datetime) -> ViewStatus:
    schema = schemas.FEATURE_TABLES[name]
    key, features = schema.names[0], schema.names[3:]
    counts = ", ".join(f'count("{feature}")' for feature in features)
    rows, entities, first, last, *known = connection.execute(
        text(
            f"SELECT count(*), count(DISTINCT {key}), min(event_timestamp), max(event_timestamp),"
            f" {counts} FROM {name}"
        )
    ).one()
    sources = ", ".join(f"(SELECT max(observed_at) FROM {table})" for table in _OBSERVED[name])
    observed = connection.scalar(text(f"SELECT greatest({sources})"))
    return ViewStatus(
        name,
        rows,
        entities,
        first,
        last,
        age_seconds=None if last is None else (now - last).total_seconds(),
        lag_seconds=max((observed - last).total_seconds(), 0.0) if observed and last else None,
        null_share={f: 1 - n / rows for f, n in zip(features, known, strict=True)} if rows else {},
        online=None if client is None else _online(connection, client, name, key),
    )


def _online(connection: Connection, client: Redis, name: str, key: str) -> Online:
    newest = connection.execute(
        text(
            f"SELECT {key}, max(event_timestamp) AS newest FROM {name}"
            f" GROUP BY {key} ORDER BY newest DESC LIMIT {SAMPLED}"
        )
    ).all()
    encode = layout.key_encoder(key)
    pipe: Any = client.pipeline(transaction=False)
    for entity_id, _ in newest:
        pipe.hget(encode(entity_id), layout.timestamp_field(name))
        pipe.memory_usage(encode(entity_id))
    replies = pipe.execute()
    moments = [layout.decode_timestamp(stamp) for stamp in replies[::2]]
    sizes = [size for size in replies[1::2] if size is not None]
    behind = [
        max(moment.timestamp() - stored, 0.0)
        for (_, moment), stored in zip(newest, moments, strict=True)
        if stored == stored  # not NaN: there is a row
    ]
    return Online(
        sampled=len(newest),
        present=len(behind),
        current=sum(lag == 0.0 for lag in behind),
        lag_seconds=max(behind, default=0.0),
        bytes_per_entity=sum(sizes) / len(sizes) if sizes else None,
    )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
