"""Builds the feature tables from the warehouse: whole, for some videos, or what is new of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine, text

from feature_repo import schemas
from ingestion import partitions, warehouse
from ingestion.copying import copy_in, copy_out
from ingestion.feature_rows import performance_rows, profile_rows, track_record_rows
from ingestion.locks import alone_at_features, between_purges

Report = Callable[[str], None]

SETTLED_AFTER = timedelta(hours=1)


def build(
    engine: Engine, video_ids: Sequence[str] | None = None, report: Report = lambda _: None
) -> dict[str, int]:
    """Compute feature rows from everything known and replace the stored ones by them.

    The key of a row names what it was computed from, so that building again changes nothing.

    Args:
        engine: The warehouse.
        video_ids: The videos to rebuild, with every channel they ever belonged to; None for all.
        report: Told the name of each table before it is computed.

    Returns:
        Rows written by table.
    """
    written = {}
    with between_purges(engine), alone_at_features(engine):
        for name, ids, rows in _computed(engine, video_ids):
            report(name)
            written[name] = replace(engine, name, rows(), ids)
    return written


def compute(
    engine: Engine, video_ids: Sequence[str], channel_ids: Sequence[str] = ()
) -> dict[str, pa.Table]:
    """Compute all rows of some videos, of their channels, and of other channels."""
    return {name: rows() for name, _, rows in _computed(engine, video_ids, channel_ids)}


def upsert(engine: Engine, tables: Mapping[str, pa.Table]) -> dict[str, int]:
    """Write of the rows of some entities those that are new or may have changed.

    For observations that came in as they were made, which take no earlier row away; `build` also
    does that.

    Returns:
        Rows written by table.
    """
    written = {}
    with alone_at_features(engine):
        for name, rows in tables.items():
            fresh = _unsettled(engine, name, rows)
            partitions.ensure(engine, name, fresh["event_timestamp"])
            _merge(engine, name, fresh)
            written[name] = len(fresh)
    return written


def _computed(
    engine: Engine, video_ids: Sequence[str] | None, more_channels: Sequence[str] = ()
) -> Iterator[tuple[str, Sequence[str] | None, Callable[[], pa.Table]]]:
    """Read what is needed and give, per table, the entities it is of and their rows."""
    channel_ids = (
        None if video_ids is None else sorted({*_channels_of(engine, video_ids), *more_channels})
    )
    family = None if channel_ids is None else _videos_of(engine, channel_ids, video_ids or ())
    metadata = warehouse.read_metadata(engine, video_ids=family)
    snapshots = warehouse.read_snapshots(engine, video_ids=family)
    channels = warehouse.read_channels(engine, channel_ids=channel_ids)
    own_snapshots = _only(snapshots, "video_id", video_ids)
    yield "video_profile", video_ids, lambda: profile_rows(metadata, channels, video_ids)
    yield "video_performance", video_ids, lambda: performance_rows(own_snapshots)
    yield (
        "channel_track_record",
        channel_ids,
        lambda: _track_records(metadata, snapshots, channels, channel_ids),
    )


def _unsettled(engine: Engine, name: str, rows: pa.Table) -> pa.Table:
    """Leave out the rows that are stored and were known well before the last stored ones were.

    Rows known at about one time may still change: what came in with them may not all be in yet.
    """
    key = list(rows.column_names[:3])
    query = f'SELECT {", ".join(key)} FROM {name} WHERE "{key[0]}" = ANY(%s)'
    ids = pc.unique(rows[key[0]]).to_pylist()
    with engine.connect() as connection:
        schema = pa.schema([rows.schema.field(column) for column in key])
        stored = copy_out(connection, query, [ids], schema).to_pandas()
    last = stored.groupby(key[0])["created_timestamp"].max().rename("last")
    asked = rows.select(key).to_pandas().join(last, on=key[0])
    known = asked.merge(stored, on=key, how="left", indicator=True)["_merge"] == "both"
    is_settled = known & (asked["created_timestamp"] < asked["last"] - SETTLED_AFTER)
    return rows.filter(pa.array(~is_settled.to_numpy()))


def _merge(engine: Engine, name: str, rows: pa.Table) -> None:
    key = rows.column_names[:3]
    values = ", ".join(f'"{column}" = excluded."{column}"' for column in rows.column_names[3:])
    named = ", ".join(f'"{column}"' for column in rows.column_names)
    incoming = f"incoming_{name}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TEMP TABLE {incoming} (LIKE {name}) ON COMMIT DROP"))
        copy_in(connection, incoming, rows)
        connection.execute(
            text(
                f"INSERT INTO {name} ({named}) SELECT {named} FROM {incoming}"
                f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {values}"
            )
        )


def replace(engine: Engine, name: str, rows: pa.Table, entity_ids: Sequence[str] | None) -> int:
    """Put rows in the place of all rows of some entities, or of the whole table, at once."""
    key = schemas.FEATURE_TABLES[name].names[0]
    partitions.ensure(engine, name, rows["event_timestamp"])
    with engine.begin() as connection:
        if entity_ids is None:
            connection.execute(text(f"DELETE FROM {name}"))
        else:
            wanted = {"ids": list(entity_ids)}
            connection.execute(text(f'DELETE FROM {name} WHERE "{key}" = ANY(:ids)'), wanted)
        copy_in(connection, name, rows)
    _analyze(engine, name)
    return len(rows)


def _analyze(engine: Engine, name: str) -> None:
    """Refresh what the planner knows: a join right after a build must not scan."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM (ANALYZE) {name}"))


def _channels_of(engine: Engine, video_ids: Sequence[str]) -> list[str]:
    """Name the channels of videos, with those they are no longer said to have been in."""
    query = " UNION ".join(
        f"SELECT channel_id FROM {table} WHERE video_id = ANY(:ids)"
        for table in ("video_metadata", "video_profile")
    )
    with engine.connect() as connection:
        return _column(connection, query, video_ids)


def _videos_of(engine: Engine, channel_ids: Sequence[str], video_ids: Sequence[str]) -> list[str]:
    query = "SELECT DISTINCT video_id FROM video_metadata WHERE channel_id = ANY(:ids)"
    with engine.connect() as connection:
        return sorted({*_column(connection, query, channel_ids), *video_ids})


def _column(connection: Connection, query: str, ids: Sequence[str]) -> list[str]:
    return list(connection.scalars(text(query), {"ids": list(ids)}))


def _track_records(
    metadata: pa.Table, snapshots: pa.Table, channels: pa.Table, channel_ids: Sequence[str] | None
) -> pa.Table:
    """Leave out channels that videos moved to or from: their other videos were not read."""
    rows = track_record_rows(metadata, snapshots, channels)
    return _only(rows, "channel_id", channel_ids)


def _only(table: pa.Table, key: str, ids: Sequence[str] | None) -> pa.Table:
    if ids is None:
        return table
    return table.filter(pc.is_in(table[key], value_set=pa.array(ids, pa.string())))
