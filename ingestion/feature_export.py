"""Feature tables -> Parquet on a directory or S3: a file per table and day, replaced whole."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import itemgetter
from typing import IO

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs
from sqlalchemy import Engine, text

from feature_repo import schemas
from feature_repo.tables_on_files import FILE, PARTITION, file_system
from ingestion.errors import IngestionError
from ingestion.locks import exporting_alone

Window = tuple[datetime, datetime]
Report = Callable[[str], None]

# Rows held in memory at once, and in each group of a file: the same rows make the same bytes.
ROW_GROUP = 50_000


class ExportFailed(IngestionError):
    """Files could not be written; days that were stay, and exporting again mends the others."""


def export(
    engine: Engine, location: str, window: Window, report: Report = lambda _: None
) -> dict[str, dict[str, int]]:
    """Write every feature row of the days of a window to Parquet; safe to repeat.

    A file holds a day of a table, by time and key, and takes the place of the one before as a
    whole. Days of the window without rows lose their file: what was purged leaves the export too.
    Memory is that of a few groups of rows, whatever a day holds.

    Args:
        engine: The warehouse.
        location: A directory or `s3://bucket/prefix`.
        window: Half-open; every day in UTC that it touches is written whole.
        report: Told each table and month.

    Returns:
        `rows`, `days` written and `removed` days, by table.

    Raises:
        ExportFailed: The directory or S3 cannot be written.
    """
    files, root = file_system(location)
    days = whole_days(window)
    try:
        with exporting_alone(engine):
            return {
                name: _export_table(engine, files, f"{root}/{name}", name, days, report)
                for name in schemas.FEATURE_TABLES
            }
    except OSError as error:
        raise ExportFailed(f"{location} cannot be written: {error}") from error


def whole_days(window: Window) -> tuple[date, date]:
    """Give the days that a half-open window touches, half-open."""
    last = window[1].astimezone(UTC) - timedelta(microseconds=1)
    return window[0].astimezone(UTC).date(), last.date() + timedelta(days=1)


def _export_table(
    engine: Engine,
    files: fs.FileSystem,
    path: str,
    name: str,
    days: tuple[date, date],
    report: Report,
) -> dict[str, int]:
    told = {"rows": 0, "days": 0, "removed": 0}
    for part in _months(days):
        report(f"{name} {part[0]:%Y-%m}")
        written = set()
        for day, pieces in groupby(_pieces(_stream(engine, name, part)), key=itemgetter(0)):
            folder = f"{path}/{PARTITION}={day:%F}"
            told["rows"] += _write_day(files, folder, name, (rows for _, rows in pieces))
            written.add(day)
        told["days"] += len(written)
        told["removed"] += _remove_others(files, path, part, written)
    return told


def _stream(engine: Engine, name: str, days: tuple[date, date]) -> Iterator[pa.Table]:
    """Read the rows of some days in order, in batches that PostgreSQL sends as they are asked."""
    schema = schemas.FEATURE_TABLES[name]
    with engine.connect() as connection:
        own = connection.scalar(text("SELECT current_schema()"))
    columns = ", ".join(f'"{column}"' for column in schema.names)
    query = (
        f'SELECT {columns} FROM "{own}".{name} WHERE event_timestamp >= $1'
        f" AND event_timestamp < $2 ORDER BY event_timestamp, {schema.names[0]}, created_timestamp"
    )
    bounds = [datetime.combine(day, time(), UTC) for day in days]
    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with adbc.connect(address) as connected, connected.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(query, bounds)
        for batch in cursor.fetch_record_batch():
            yield pa.Table.from_batches([batch]).replace_schema_metadata(None).cast(schema)


def _pieces(tables: Iterable[pa.Table]) -> Iterator[tuple[date, pa.Table]]:
    """Cut rows in order of time wherever a day ends."""
    for table in tables:
        start = 0
        for count in pc.value_counts(pc.cast(table["event_timestamp"], pa.date32(), safe=False)):
            length = count["counts"].as_py()
            yield count["values"].as_py(), table.slice(start, length)
            start += length


def _write_day(files: fs.FileSystem, folder: str, name: str, pieces: Iterable[pa.Table]) -> int:
    with tempfile.TemporaryFile() as file:
        with pq.ParquetWriter(file, schemas.FEATURE_TABLES[name], compression="zstd") as writer:
            rows = 0
            for group in _grouped(pieces):
                writer.write_table(group)
                rows += len(group)
        file.seek(0)
        _place(files, folder, file)
    return rows


def _grouped(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for piece in pieces:
        held.append(piece)
        while sum(len(rows) for rows in held) >= ROW_GROUP:
            whole = pa.concat_tables(held)
            yield whole.slice(0, ROW_GROUP)
            held = [whole.slice(ROW_GROUP)]
    rest = pa.concat_tables(held)
    if len(rest):
        yield rest


def _place(files: fs.FileSystem, folder: str, file: IO[bytes]) -> None:
    """Put a finished file in its place at once: readers see the old rows or the new ones.

    On S3 an object appears when it is whole; on a disk a file does when it is renamed.
    """
    on_disk = isinstance(files, fs.LocalFileSystem)
    files.create_dir(folder, recursive=True)
    target = f"{folder}/.{FILE}.partial" if on_disk else f"{folder}/{FILE}"
    with files.open_output_stream(target) as stream:
        shutil.copyfileobj(file, stream, 8 << 20)
    if on_disk:
        files.move(target, f"{folder}/{FILE}")


def _remove_others(
    files: fs.FileSystem, path: str, days: tuple[date, date], written: set[date]
) -> int:
    """Remove days that have no rows any longer."""
    removed = 0
    for found in files.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        key, _, value = found.base_name.partition("=")
        if key != PARTITION:
            continue
        day = date.fromisoformat(value)
        if days[0] <= day < days[1] and day not in written:
            files.delete_dir(found.path)
            removed += 1
    return removed


def _months(days: tuple[date, date]) -> Iterator[tuple[date, date]]:
    """Cut days at the ends of months, as the tables are partitioned."""
    start, end = days
    while start < end:
        following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield start, min(following, end)
        start = following
