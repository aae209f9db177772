"""Recorded data on disk: which files there are, of what kind, and when their counts were read."""

import csv
import functools
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import zstandard

from ingestion.errors import LandingError, UnreadableFile
from ingestion.landed import parse_json, require_list
from ingestion.landing import unpack

SNAPSHOTS = "snapshots.parquet"
PAIR = ("video_versions.parquet", SNAPSHOTS)
SIDECAR = "observed_at.csv"
_BODY_SUFFIXES = (".json", ".json.gz", ".json.zst", ".zst")
_CSV_SUFFIXES = (".csv", ".csv.gz", ".csv.zst")


class Kind(Enum):
    """What a recorded file holds."""

    BODY = "API body"
    CSV = "trending export"
    PARQUET = "snapshots or metadata versions"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class RecordedBody:
    """An API answer read from a file.

    Attributes:
        content: The answer's bytes, unpacked.
        body: The answer, parsed.
        observed_at: When its counts were read.
        raw_ref: Its place in a landing, where the file is an object of one.
        world: The world it was fetched from, where the file tells.
        region: The region whose chart it is, where the file tells.
    """

    content: bytes
    body: Any
    observed_at: datetime
    raw_ref: str | None = None
    world: str | None = None
    region: str | None = None


def find_files(paths: Sequence[Path]) -> list[tuple[Path, Kind]]:
    """Give what is to be loaded, each file once, in a stable order.

    A directory with snapshots.parquet and video_versions.parquet is read for those two, any other
    for the API bodies and CSV exports below it. A file that is named is always among them.
    """
    found: dict[Path, tuple[Path, Kind]] = {}
    for path in paths:
        for file in _below(path) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), (file, kind_of(file)))
    return list(found.values())


def kind_of(path: Path) -> Kind:
    """Tell the kind of a file by its name."""
    if path.name.endswith(_CSV_SUFFIXES):
        return Kind.CSV
    if path.name.endswith(_BODY_SUFFIXES):
        return Kind.BODY
    return Kind.PARQUET if path.suffix == ".parquet" else Kind.UNKNOWN


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacked where its name says it is packed; raises UnreadableFile."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(raw)
        if path.suffix == ".zst":
            return zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise UnreadableFile("corrupt_file", f"cannot be read: {error}") from error
    return raw


def read_body(path: Path) -> RecordedBody:
    """Read an API answer and find out when it was observed; raises UnreadableFile."""
    landed = _landed(path)
    if landed is not None:
        return landed
    content = read_bytes(path)
    body = require_list(parse_json(content))
    return RecordedBody(content, body, _told(path)[0])


def observation(path: Path) -> tuple[datetime, str | None]:
    """Tell when a body was observed, and of which region it is a chart; raises UnreadableFile."""
    landed = _landed(path)
    return (landed.observed_at, landed.region) if landed is not None else _told(path)


def _below(directory: Path) -> Iterator[Path]:
    if all((directory / name).is_file() for name in PAIR):
        yield from (directory / name for name in PAIR)
        return
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            yield from _below(path)
        elif path.name != SIDECAR and kind_of(path) in (Kind.BODY, Kind.CSV):
            yield path


def _told(path: Path) -> tuple[datetime, str | None]:
    told = _sidecar(path.parent).get(path.name)
    if told is None:
        raise UnreadableFile(
            "observed_at_missing",
            f"nothing tells when it was observed: list it in {SIDECAR} beside it "
            "(columns file,region_code,observed_at)",
        )
    return told


def _landed(path: Path) -> RecordedBody | None:
    """Read an object of a raw landing; null for any other file."""
    if path.suffix != ".zst" or "." in path.stem or len(path.stem) != 64:
        return None
    try:
        landed = unpack(path.read_bytes(), path.stem)
    except (LandingError, OSError) as error:
        raise UnreadableFile("corrupt_file", str(error)) from error
    if landed.fetched_at is None:
        raise UnreadableFile("observed_at_missing", "its envelope does not say when it was fetched")
    body = require_list(parse_json(landed.body))
    raw_ref = f"{landed.fetched_at:%Y/%m/%d}/{path.stem}"
    region = landed.request.get("regionCode")
    return RecordedBody(landed.body, body, landed.fetched_at, raw_ref, landed.world, region)


@functools.lru_cache(maxsize=8)
def _sidecar(directory: Path) -> dict[str, tuple[datetime, str | None]]:
    """Read when the files of a directory were observed, and where; a line without is left out."""
    path = directory / SIDECAR
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        rows = [
            (r.get("file"), r.get("observed_at"), r.get("region_code"))
            for r in csv.DictReader(lines)
        ]
    known = ((file, _instant(text), region) for file, text, region in rows if file and text)
    return {file: (at, region or None) for file, at, region in known if at is not None}


def _instant(text: str) -> datetime | None:
    """Read a sidecar's moment; one without an offset is in UTC, as everything recorded here."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
