"""Offline -> online: copies the latest feature rows into Redis, and tells Feast's registry."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlalchemy import Engine, text

from feature_repo import schemas
from feature_repo.online_writer import ViewLayout, Written, write
from feature_repo.store import online_client
from ingestion.errors import IngestionError
from ingestion.online_expiry import Expiry

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

Window = tuple[datetime, datetime]


class NothingToMaterialize(IngestionError):
    """The feature tables hold no row."""


def materialize(
    store: "FeatureStore", window: Window, expiry: Expiry | None = None
) -> dict[str, Written]:
    """Copy each entity's latest row with an event in [start, end) to the online store.

    A row never replaces a newer one, so windows may be repeated and may come in any order. Rows
    are read and written part by part. As `feast materialize` does, it notes the window in the
    registry, where Feast's own commands look.

    Args:
        store: The feature store, its views applied.
        window: Half-open, of event times.
        expiry: Which videos are too old to be kept online; none when left out.

    Returns:
        What became of the rows, by view.
    """
    start, end = window[0], window[1] - timedelta(microseconds=1)
    done = {}
    client = online_client(store)
    views = {view.name: view for view in store.list_batch_feature_views()}
    for name in schemas.FEATURE_TABLES:  # profiles first: they tell how old a video is
        laid_out, done[name] = ViewLayout.of(name, store.project), Written()
        for rows in _latest_rows(store, views[name], start, end):
            lifetimes = expiry.lifetimes(client, laid_out, rows) if expiry else None
            done[name] += write(client, rows, laid_out, lifetimes)
        store.registry.apply_materialization(views[name], store.project, start, end)
    return done


def _latest_rows(
    store: "FeatureStore", view: "FeatureView", start: datetime, end: datetime
) -> Iterator[pa.Table]:
    source = view.batch_source
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(
        config=store.config,
        data_source=source,
        join_key_columns=view.join_keys,
        feature_name_columns=[field.name for field in view.features],
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        start_date=start,
        end_date=end,
    )
    batches = job.batches() if hasattr(job, "batches") else job.to_arrow().to_batches(10_000)
    for batch in batches:
        yield pa.table(batch)


def built_window(engine: Engine) -> Window:
    """Give the window that covers every feature row built so far."""
    parts = " UNION ALL ".join(
        f"SELECT min(event_timestamp) AS first, max(event_timestamp) AS last FROM {name}"
        for name in schemas.FEATURE_TABLES
    )
    with engine.connect() as connection:
        row = connection.execute(text(f"SELECT min(first), max(last) FROM ({parts}) tables")).one()
    if row[0] is None:
        raise NothingToMaterialize("no feature rows yet: run `foreview features build` first")
    return row[0].astimezone(UTC), row[1].astimezone(UTC) + timedelta(seconds=1)


def backfill(
    store: "FeatureStore",
    window: Window,
    chunk: timedelta,
    report: Callable[[Window, bool], None] = lambda _window, _done: None,
    expiry: Expiry | None = None,
    alone: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> int:
    """Materialize a long window chunk by chunk; chunks that were done before are passed over.

    Args:
        store: The feature store; its registry remembers which chunks were done.
        window: Half-open, cut into chunks from its start.
        chunk: Length of a chunk.
        report: Told each chunk, and whether it had been done before.
        expiry: Which videos are too old to be kept online.
        alone: Keeps purges out while a chunk is copied; one that waits comes before the next.

    Returns:
        How many chunks were materialized now.
    """
    fresh = 0
    for part in chunks(window, chunk):
        done = _is_materialized(store, part)
        report(part, done)
        if not done:
            with alone():
                materialize(store, part, expiry)
            fresh += 1
    return fresh


def chunks(window: Window, length: timedelta) -> Iterator[Window]:
    """Cut a half-open window into parts of a length; the last may be shorter."""
    start, end = window
    while start < end:
        yield start, min(start + length, end)
        start += length


def _is_materialized(store: "FeatureStore", part: Window) -> bool:
    start, end = part
    covered = [
        any(
            s <= start and end - timedelta(milliseconds=1) <= e
            for s, e in view.materialization_intervals
        )
        for view in store.list_batch_feature_views()
    ]
    return bool(covered) and all(covered)
