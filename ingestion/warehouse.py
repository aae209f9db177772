"""PostgreSQL: opens and migrates the warehouse, appends observations once, reads them back."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from feature_repo.schemas import CHANNEL_SNAPSHOTS, VIDEO_METADATA, VIDEO_SNAPSHOTS
from ingestion import history, partitions
from ingestion.appending import AppendCounts, Outcomes, append_observations, tally
from ingestion.copying import copy_out
from ingestion.errors import IngestionError, WarehouseUnavailable
from ingestion.quarantine import Rejected, quarantine

__all__ = [
    "AppendCounts",
    "Rejected",
    "append_channels",
    "append_each_channel",
    "append_each_snapshot",
    "append_metadata",
    "append_snapshots",
    "ensure_partitions",
    "migrate",
    "open_warehouse",
    "quarantine",
    "read_channels",
    "read_metadata",
    "read_snapshots",
    "transaction",
    "views_that_fell",
]

_MIGRATIONS = Path(__file__).parent / "migrations"
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,50}")


def open_warehouse(database_url: str, schema: str) -> Engine:
    """Give an engine whose connections work in `schema` and in UTC; connects to nothing yet."""
    if not _SCHEMA_NAME.fullmatch(schema):
        raise IngestionError(
            f"FOREVIEW_DATABASE_SCHEMA={schema!r}: use small letters, digits and underscores"
        )
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    options = f"-c search_path={schema} -c timezone=UTC -c datestyle=ISO"
    return create_engine(url, connect_args={"options": options}, pool_pre_ping=True)


def migrate(database: str | Engine, schema: str) -> None:
    """Bring the tables of `schema` to their newest form; safe to run from many processes at once.

    Also creates the schema `<schema>_registry`, where Feast keeps its registry.
    """
    engine = open_warehouse(database, schema) if isinstance(database, str) else database
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": schema})
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}_registry"))
            connection.commit()
            _upgrade(connection, schema)
            connection.commit()
            connection.execute(text("SELECT pg_advisory_unlock_all()"))
    except OperationalError as error:
        raise WarehouseUnavailable(
            f"PostgreSQL at {engine.url.host}:{engine.url.port} does not answer: "
            "check FOREVIEW_DATABASE_URL"
        ) from error
    finally:
        if isinstance(database, str):
            engine.dispose()


@contextmanager
def transaction(database: Engine | Connection) -> Iterator[Connection]:
    """Give a connection in a transaction: a new one of an engine, or the one that is given."""
    if isinstance(database, Connection):
        yield database
    else:
        with database.begin() as connection:
            yield connection


def append_snapshots(engine: Engine, table: pa.Table) -> AppendCounts:
    """Append video snapshots, each once; of two counts at one moment the larger views are kept."""
    return tally(append_each_snapshot(engine, table))


def append_each_snapshot(database: Engine | Connection, table: pa.Table) -> Outcomes:
    """Append video snapshots as `append_snapshots` does; give what became of each row.

    In a transaction of the caller's, the partitions must be there: `ensure_partitions` before it.
    """
    if isinstance(database, Engine):
        ensure_partitions(database, table)
    with transaction(database) as connection:
        return append_observations(
            connection,
            "video_snapshots",
            table.select(VIDEO_SNAPSHOTS.names),
            key=("video_id", "observed_at", "ingested_at"),
            counts=("view_count", "like_count", "comment_count"),
            ties=("live_broadcast_content", "format", "view_definition"),
        )


def ensure_partitions(engine: Engine, snapshots: pa.Table) -> None:
    """Create the partitions that some snapshots need, in a transaction of its own."""
    partitions.ensure(engine, "video_snapshots", snapshots["observed_at"])


def views_that_fell(engine: Engine, loaded_at: datetime) -> int:
    """Count the snapshots written at a moment that show fewer views than the look before them.

    YouTube corrects counts: such rows are kept as they are, and counted.
    """
    query = text("""
        SELECT count(*) FROM (
            SELECT loaded_at, view_count < lag(view_count) OVER looks AS fell FROM video_snapshots
            WHERE video_id IN (SELECT video_id FROM video_snapshots WHERE loaded_at = :loaded_at)
            WINDOW looks AS (PARTITION BY video_id ORDER BY observed_at, ingested_at)
        ) seen WHERE fell AND loaded_at = :loaded_at
    """)
    with engine.connect() as connection:
        return int(connection.scalar(query, {"loaded_at": loaded_at}) or 0)


def append_channels(engine: Engine, table: pa.Table) -> AppendCounts:
    """Append channel snapshots, by the rules of video snapshots."""
    return tally(append_each_channel(engine, table))


def append_each_channel(database: Engine | Connection, table: pa.Table) -> Outcomes:
    """Append channel snapshots; give what became of each row."""
    with transaction(database) as connection:
        return append_observations(
            connection,
            "channel_snapshots",
            table.select(CHANNEL_SNAPSHOTS.names),
            key=("channel_id", "observed_at", "ingested_at"),
            counts=("view_count", "subscriber_count", "video_count"),
            ties=("title", "country", "uploads_playlist_id"),
        )


def append_metadata(database: Engine | Connection, table: pa.Table) -> AppendCounts:
    """Append looks at videos' metadata; `video_metadata` gains a row where something changed."""
    with transaction(database) as connection:
        return history.append(connection, table.select(VIDEO_METADATA.names))


def read_snapshots(
    engine: Engine,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    video_ids: Sequence[str] | None = None,
    world: str | None = None,
) -> pa.Table:
    """Read snapshots observed in [start, end), sorted by video and time."""
    chosen = Selection("video_id", start, end, video_ids, world)
    return chosen.read(engine, "video_snapshots", VIDEO_SNAPSHOTS)


def read_metadata(
    engine: Engine,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    video_ids: Sequence[str] | None = None,
    world: str | None = None,
) -> pa.Table:
    """Read the metadata versions that began in [start, end), sorted by video and time."""
    chosen = Selection("video_id", start, end, video_ids, world)
    return chosen.read(engine, "video_metadata", VIDEO_METADATA)


def read_channels(
    engine: Engine,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    channel_ids: Sequence[str] | None = None,
    world: str | None = None,
) -> pa.Table:
    """Read channel snapshots observed in [start, end), sorted by channel and time."""
    chosen = Selection("channel_id", start, end, channel_ids, world)
    return chosen.read(engine, "channel_snapshots", CHANNEL_SNAPSHOTS)


@dataclass(frozen=True)
class Selection:
    """Which rows of a table of observations to read; None asks for all."""

    entity: str
    start: datetime | None
    end: datetime | None
    ids: Sequence[str] | None
    world: str | None

    def read(self, engine: Engine, name: str, schema: pa.Schema) -> pa.Table:
        """Read the rows, sorted by entity, observation and ingestion."""
        conditions = [
            ("observed_at >= %s", self.start),
            ("observed_at < %s", self.end),
            (f"{self.entity} = ANY(%s)", None if self.ids is None else list(self.ids)),
            ("world = %s", self.world),
        ]
        asked = [(sql, value) for sql, value in conditions if value is not None]
        where = " AND ".join(sql for sql, _ in asked) or "true"
        columns = ", ".join(
            f'to_json("{f.name}")' if pa.types.is_list(f.type) else f'"{f.name}"' for f in schema
        )
        order = f'"{self.entity}" COLLATE "C", observed_at, ingested_at'
        query = f"SELECT {columns} FROM {name} WHERE {where} ORDER BY {order}"
        with engine.connect() as connection:
            return copy_out(connection, query, [value for _, value in asked], schema)


def _upgrade(connection: Connection, schema: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, "head")
