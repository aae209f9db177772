"""Trending CSV exports as people have them; every row becomes records, or says why it does not."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import pyarrow as pa

from feature_repo.segments import view_definition
from ingestion import tables
from ingestion.errors import UnparsableItem, UnreadableFile
from ingestion.expectations import CHUNK_ROWS
from ingestion.quarantine import Rejected
from ingestion.records import VideoMetadata, VideoSnapshot
from ingestion.tables import Provenance

Row = Mapping[str, str]
Records = tuple[VideoSnapshot, VideoMetadata | None]

# Layout of 2020 and later: instants, a channel id. Layout of 2017: `DD.MM` and names only.
_DATED = {"video_id", "trending_date", "publishedAt", "channelId", "title", "view_count", "likes"}
_UNDATED = {"video_id", "date", "views", "likes", "comment_total"}
_NO_TAGS = {"", "[none]"}
_DAY_MONTH = re.compile(r"(\d{2})\.(\d{2})")
_MAX_FIELD = 16 << 20


@dataclass(frozen=True)
class ExportChunk:
    """Some rows of an export.

    Attributes:
        snapshots: Their counts.
        metadata: Their metadata, row for row beside the snapshots; no rows in a layout that lacks
            the channel and the time of publication.
        rejected: The rows that could not be read.
    """

    snapshots: pa.Table
    metadata: pa.Table
    rejected: list[Rejected]


class TrendingExport:
    """An export in one of the two layouts; raises UnreadableFile for any other CSV."""

    def __init__(self, content: bytes, name: str) -> None:
        # What is not UTF-8 is kept as lone surrogates, by which a row is told from a sound one.
        text = content.decode("utf-8-sig", "surrogateescape")
        csv.field_size_limit(_MAX_FIELD)
        self._records = _records(text)
        self.lines = content.count(b"\n")
        self.columns = next(self._records, ([], ""))[0]
        self.is_dated = _DATED.issubset(self.columns)
        if not self.is_dated and not _UNDATED.issubset(self.columns):
            raise UnreadableFile("unknown_layout", "has the columns of no trending export known")
        year = re.search(r"(?<!\d)20\d{2}(?!\d)", name)
        self._year = None if year is None else int(year.group())

    def chunks(self, world: str, raw_ref: str, loaded_at: datetime) -> Iterator[ExportChunk]:
        """Give the rows in pieces of CHUNK_ROWS; blank lines are none."""
        while piece := list(islice(self._records, CHUNK_ROWS)):
            sound, rejected = [], []
            for fields, text in piece:
                try:
                    sound.append(self._parse(fields, text))
                except UnparsableItem as error:
                    rejected.append(Rejected(raw_ref, {"record": text}, (error.reason,)))
            origins = [
                Provenance(snapshot.observed_at, world, raw_ref, loaded_at) for snapshot, _ in sound
            ]
            yield ExportChunk(
                tables.video_snapshots([(s, o) for (s, _), o in zip(sound, origins, strict=True)]),
                tables.video_metadata(
                    [(m, o) for (_, m), o in zip(sound, origins, strict=True) if m]
                ),
                rejected,
            )

    def _parse(self, fields: list[str], text: str) -> Records:
        row = self._row(fields, text)
        return _parse_dated(row) if self.is_dated else _parse_undated(row, self._year)

    def _row(self, fields: list[str], text: str) -> Row:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UnparsableItem("text_not_utf8")
        if text.count('"') % 2:
            raise UnparsableItem("record_cut")
        if len(fields) != len(self.columns):
            more = len(fields) > len(self.columns)
            raise UnparsableItem("columns_extra" if more else "columns_missing")
        return dict(zip(self.columns, fields, strict=True))


def _records(text: str) -> Iterator[tuple[list[str], str]]:
    """Give each record with the text it was read from; lines inside quotes belong to it."""
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            consumed.append(line)
            yield line

    for fields in csv.reader(lines()):
        record = "".join(consumed)
        consumed.clear()
        if fields:
            yield fields, record


def _parse_dated(row: Row) -> Records:
    observed_at = _end_of_day(_instant(row, "trending_date"))
    likes = None if _is_true(row, "ratings_disabled") else _count(row, "likes")
    comments = None if _is_true(row, "comments_disabled") else _count(row, "comment_count")
    snapshot = _snapshot(row, observed_at, _count(row, "view_count"), likes, comments)
    tags = row.get("tags", "")
    metadata = VideoMetadata(
        video_id=snapshot.video_id,
        observed_at=observed_at,
        channel_id=row["channelId"],
        published_at=_instant(row, "publishedAt"),
        title=row["title"],
        description=row.get("description"),
        tags=None if tags.lower() in _NO_TAGS else tuple(tags.split("|")),
        category_id=_count(row, "categoryId", digits=9),
        default_language=None,
        default_audio_language=None,
        duration_seconds=None,
        definition=None,
        has_captions=None,
        is_made_for_kids=None,
        has_maxres_thumbnail=None,
        live_broadcast_content=None,
    )
    return snapshot, metadata


def _parse_undated(row: Row, year: int | None) -> Records:
    observed_at = _end_of_day(_day(row["date"], year))
    views, likes, comments = (_count(row, name) for name in ("views", "likes", "comment_total"))
    return _snapshot(row, observed_at, views, likes, comments), None


def _snapshot(
    row: Row, observed_at: datetime, views: int | None, likes: int | None, comments: int | None
) -> VideoSnapshot:
    return VideoSnapshot(
        video_id=row["video_id"],
        observed_at=observed_at,
        view_count=views,
        like_count=likes,
        comment_count=comments,
        live_broadcast_content=None,
        format="unknown",
        view_definition=view_definition("unknown", observed_at),
    )


def _end_of_day(moment: datetime) -> datetime:
    """Give the last second of a day: its hour is not told, and no count may be known too early."""
    start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return start + timedelta(days=1, seconds=-1)


def _instant(row: Row, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(row[name])
    except ValueError as error:
        raise UnparsableItem(f"{name}_malformed" if row[name] else f"{name}_missing") from error
    if not 1970 <= moment.year < 2200:
        raise UnparsableItem(f"{name}_malformed")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _day(text: str, year: int | None) -> datetime:
    """Read `DD.MM`; a spreadsheet makes 10.1 of 10.10, which then may be either."""
    if not text:
        raise UnparsableItem("date_missing")
    match = _DAY_MONTH.fullmatch(text)
    if match is None:
        raise UnparsableItem(
            "date_ambiguous" if re.fullmatch(r"\d+\.\d", text) else "date_malformed"
        )
    if year is None:
        raise UnparsableItem("date_without_year")
    try:
        return datetime(year, int(match[2]), int(match[1]), tzinfo=UTC)
    except ValueError as error:
        raise UnparsableItem("date_malformed") from error


def _count(row: Row, name: str, digits: int = 18) -> int | None:
    text = row.get(name, "")
    if text == "":
        return None
    if not re.fullmatch(rf"-?[0-9]{{1,{digits}}}", text):
        raise UnparsableItem(f"{name}_malformed")
    return int(text)


def _is_true(row: Row, name: str) -> bool:
    return row.get(name, "").lower() == "true"
