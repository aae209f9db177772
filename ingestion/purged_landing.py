"""Retention in the raw landing: old answers go; a video is cut out of the answers it is in."""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Engine, text

from ingestion.landing import LandedBody, Landing, enveloped
from ingestion.purged_files import PARQUET_MAGIC

_POINTING = (
    "video_snapshots",
    "video_metadata",
    "video_metadata_seen",
    "channel_snapshots",
    "quarantine",
)
_CLAIM = text("""
    INSERT INTO ingested_responses (raw_ref, world, ingested_at)
    SELECT :new, world, ingested_at FROM ingested_responses WHERE raw_ref = :old
    ON CONFLICT DO NOTHING
""")


def purge_landing(
    engine: Engine,
    landing: Landing,
    video_id: str | None,
    before: datetime | None,
    *,
    dry_run: bool,
) -> int:
    """Delete or rewrite objects; give how many."""
    if video_id is not None:
        return _purge_video(engine, landing, video_id, dry_run=dry_run)
    assert before is not None
    return _purge_old(landing, before, dry_run=dry_run)


def _purge_old(landing: Landing, before: datetime, *, dry_run: bool) -> int:
    found = 0
    for ref in _dated(landing, before):
        body = landing.get(ref)
        collected = body.world == "real" and "method" in body.request
        if collected and body.fetched_at is not None and body.fetched_at < before:
            found += 1
            if not dry_run:
                landing.delete(ref)
    return found


def _dated(landing: Landing, before: datetime) -> Iterator[str]:
    """Give what was fetched until the day of a moment, by its name."""
    last = f"{before.astimezone(UTC):%Y/%m/%d}~"
    return (ref for ref in list(landing.refs()) if ref[0].isdigit() and ref <= last)


def _purge_video(engine: Engine, landing: Landing, video_id: str, *, dry_run: bool) -> int:
    times, found = landing.ingestion_times(), 0
    for ref in list(landing.refs()):
        body = landing.get(ref)
        if not _tells_of(body, video_id):
            continue
        found += 1
        if dry_run:
            continue
        rewritten = _without(body, video_id)
        if rewritten is not None:
            _rewrite(engine, landing, body, rewritten, _forgetful(body.request, video_id), times)
        landing.delete(ref)
    return found


def _rewrite(
    engine: Engine,
    landing: Landing,
    body: LandedBody,
    content: bytes,
    request: Mapping[str, Any],
    times: Mapping[str, datetime],
) -> None:
    """Land an answer as it is without a video, and point to it; doing it again changes nothing."""
    ref = body.raw_ref
    envelope: dict[str, Any] = {
        "request": request,
        "headers": body.headers,
        "etag": body.etag,
        "fetched_at": body.fetched_at,
        "world": body.world,
    }
    new_ref, _ = enveloped(content, **envelope)
    # Known under both names, and since when, before it is there: whoever finds it after this was
    # cut short must not take it for an answer that was never brought in.
    with engine.begin() as connection:
        connection.execute(_CLAIM, {"new": new_ref, "old": ref})
    if ref in times:
        landing.put_manifest([new_ref], times[ref], body.world)
    landing.put(content, **envelope)
    _point(engine, ref, new_ref)


def _tells_of(body: LandedBody, video_id: str) -> bool:
    if video_id.encode() in body.body or video_id in str(body.request):
        return True
    return body.body.startswith(PARQUET_MAGIC) and _is_in_parquet(body.body, video_id)


def _is_in_parquet(content: bytes, video_id: str) -> bool:
    """Tell whether a file has rows of a video, which compression hides from a search of bytes."""
    # Of a damaged file the rows before the damage count: no replay can read those behind it.
    with contextlib.suppress(pa.ArrowException):
        file = pq.ParquetFile(pa.BufferReader(content))
        if "video_id" in file.schema_arrow.names:
            batches = file.iter_batches(columns=["video_id"])
            return any(pc.any(pc.equal(batch["video_id"], video_id)).as_py() for batch in batches)
    return False


def _without(body: LandedBody, video_id: str) -> bytes | None:
    """Give an answer without a video's items; null where it is no answer, or nothing is left."""
    try:
        document = orjson.loads(body.body)
        items = document["items"]
    except (ValueError, KeyError, TypeError):
        return None  # an imported file: the copy goes, its owner has the original
    kept = [item for item in items if video_id not in str(item)]
    return orjson.dumps({**document, "items": kept}) if kept else None


def _forgetful(request: Any, video_id: str) -> dict[str, Any]:
    return {
        name: ",".join(part for part in value.split(",") if part != video_id)
        if isinstance(value, str)
        else value
        for name, value in request.items()
    }


def _point(engine: Engine, old: str, new: str) -> None:
    with engine.begin() as connection:
        for name in _POINTING:
            connection.execute(
                text(f"UPDATE {name} SET raw_ref = :new WHERE raw_ref = :old"),
                {"new": new, "old": old},
            )
