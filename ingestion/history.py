"""The history of videos' metadata: a row per change, whatever order the observations come in."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, text

from feature_repo.schemas import VIDEO_METADATA
from ingestion.appending import AppendCounts, stage

# Who saw it when is no part of what the creator wrote; the state of a broadcast is not written,
# but features tell it, so that a change of it makes a row too.
_NOT_WRITTEN = {
    "video_id",
    "observed_at",
    "ingested_at",
    "world",
    "raw_ref",
    "loaded_at",
    "live_broadcast_content",
}
_WRITTEN = [name for name in VIDEO_METADATA.names if name not in _NOT_WRITTEN]
_CONTENT = ", ".join(_WRITTEN)
_SEEN = "video_id, observed_at, ingested_at, world, raw_ref, loaded_at, live_broadcast_content"


def _same(table: str) -> str:
    """Give what makes two looks at one moment the same look, in the order that decides."""
    return f"({table}.ingested_at, {table}.digest, coalesce({table}.live_broadcast_content, ''))"


_LOCK = "SELECT pg_advisory_xact_lock(hashtext('video_metadata'), hashtext(current_schema()))"

# Two versions at one moment (edge caches): the one that reached us first stays, so that the past
# is never rewritten; of two that came together the smaller digest, so that order plays no part.
_REMEMBER = f"""
    CREATE TEMP TABLE touched ON COMMIT DROP AS
    WITH best AS (
        SELECT DISTINCT ON (video_id, observed_at) {_SEEN}, digest FROM incoming
        ORDER BY video_id, observed_at, ingested_at, digest, coalesce(live_broadcast_content, '')
    ), remembered AS (
        INSERT INTO video_metadata_seen AS kept ({_SEEN}, digest)
        SELECT {_SEEN}, digest FROM best ORDER BY video_id, observed_at
        ON CONFLICT (video_id, observed_at) DO UPDATE SET
            ingested_at = excluded.ingested_at, world = excluded.world, raw_ref = excluded.raw_ref,
            loaded_at = excluded.loaded_at, digest = excluded.digest,
            live_broadcast_content = excluded.live_broadcast_content
        WHERE {_same("excluded")} < {_same("kept")}
        RETURNING video_id, (xmax = 0) AS is_new
    ) SELECT * FROM remembered
"""

# A look that found what the look before it had found adds nothing, unless it was known earlier.
_CHANGES = f"""
    CREATE TEMP TABLE changes ON COMMIT DROP AS
    SELECT {_SEEN}, digest FROM (
        SELECT {_SEEN}, digest,
            lag(digest) OVER looks AS digest_before, lag(ingested_at) OVER looks AS known_before,
            lag(live_broadcast_content) OVER looks AS broadcast_before
        FROM video_metadata_seen WHERE video_id IN (SELECT video_id FROM touched)
        WINDOW looks AS (PARTITION BY video_id ORDER BY observed_at)
    ) seen
    WHERE digest IS DISTINCT FROM digest_before OR ingested_at < known_before
        OR live_broadcast_content IS DISTINCT FROM broadcast_before
"""

# What the rows to come will say, found before any row that says it goes.
_CONTENTS = f"""
    CREATE TEMP TABLE contents ON COMMIT DROP AS
    WITH missing AS (
        SELECT DISTINCT video_id, changes.digest FROM changes
        LEFT JOIN video_metadata kept USING (video_id, observed_at)
        WHERE {_same("kept")} IS DISTINCT FROM {_same("changes")}
    ), arrived AS (
        SELECT video_id, digest, min(position) AS position FROM incoming
        JOIN missing USING (video_id, digest) GROUP BY video_id, digest
    ), known AS (
        SELECT video_id, digest, min(observed_at) AS observed_at FROM video_metadata
        JOIN missing USING (video_id, digest) GROUP BY video_id, digest
    )
    SELECT video_id, digest, {_CONTENT} FROM incoming
    JOIN arrived USING (video_id, digest, position)
    UNION ALL
    SELECT video_id, digest, {_CONTENT} FROM video_metadata
    JOIN known USING (video_id, digest, observed_at)
    WHERE (video_id, digest) NOT IN (SELECT video_id, digest FROM arrived)
"""

_FORGET = f"""
    DELETE FROM video_metadata kept
    WHERE video_id IN (SELECT video_id FROM touched) AND NOT EXISTS (
        SELECT FROM changes WHERE changes.video_id = kept.video_id
        AND changes.observed_at = kept.observed_at AND {_same("changes")} = {_same("kept")})
"""

_WRITE = f"""
    INSERT INTO video_metadata ({_SEEN}, digest, {_CONTENT})
    SELECT {_SEEN}, digest, {_CONTENT}
    FROM changes JOIN contents USING (video_id, digest) ORDER BY video_id, observed_at
    ON CONFLICT (video_id, observed_at) DO NOTHING
"""

_DIFFERING = """
    SELECT count(*) FROM incoming JOIN video_metadata_seen seen USING (video_id, observed_at)
    WHERE incoming.digest <> seen.digest
"""


def append(connection: Connection, table: pa.Table) -> AppendCounts:
    """Append looks at metadata, and rewrite the history of videos for which one was news."""
    connection.execute(text(_LOCK))
    connection.execute(
        text("DROP TABLE IF EXISTS pg_temp.touched, pg_temp.contents, pg_temp.changes")
    )
    stage(connection, "video_metadata", table.append_column("digest", digests(table)))
    connection.execute(text(_REMEMBER))
    news, loaded = connection.execute(
        text("SELECT count(*), count(*) FILTER (WHERE is_new) FROM touched")
    ).one()
    if news:
        for statement in (
            "ANALYZE touched",
            _CHANGES,
            "ANALYZE changes",
            _CONTENTS,
            _FORGET,
            _WRITE,
        ):
            connection.execute(text(statement))
    conflicting = int(connection.scalar(text(_DIFFERING)) or 0)
    return AppendCounts(loaded, table.num_rows - loaded - conflicting, conflicting)


def digests(table: pa.Table) -> pa.Array:
    """Name what the creator wrote, per row of VIDEO_METADATA; equal texts have equal names."""
    parts = [pc.fill_null(_as_text(table[name]), "\x00") for name in _WRITTEN]
    written = pc.binary_join_element_wise(*parts, "\x1f").to_pylist()
    return pa.array(
        [hashlib.md5(row.encode(), usedforsecurity=False).hexdigest() for row in written]
    )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_list(column.type):
        return pc.binary_join(column, "\x1e")
    return column.cast(pa.string())
