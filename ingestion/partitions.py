"""Monthly partitions of the snapshot table, made when the first row of a month arrives."""

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine, text


def ensure(engine: Engine, table: str, observed_at: pa.ChunkedArray) -> None:
    """Create the partitions these moments need.

    In a transaction of its own: attaching one locks the table, and must not wait for a long append.
    """
    months = _months(observed_at)
    with engine.connect() as connection:
        names = text("SELECT to_regclass(:name) IS NULL")
        missing = [m for m in months if connection.scalar(names, {"name": _name(table, m)})]
    if not missing:
        return
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": table})
        for month in missing:
            connection.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {_name(table, month)} PARTITION OF {table} "
                    f"FOR VALUES FROM ('{month}T00:00:00Z') TO ('{_next(month)}T00:00:00Z')"
                )
            )


def _months(observed_at: pa.ChunkedArray) -> list[dt.date]:
    first_days = pc.unique(pc.floor_temporal(observed_at, unit="month"))
    return sorted(moment.date() for moment in first_days.to_pylist())


def _next(month: dt.date) -> dt.date:
    return (month + dt.timedelta(days=32)).replace(day=1)


def _name(table: str, month: dt.date) -> str:
    return f"{table}_y{month.year:04d}m{month.month:02d}"
