"""What is collected: channels and videos, when each is due, and what is known of them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from psycopg2.extras import execute_values
from sqlalchemy import Connection, Engine, text

from ingestion.errors import IngestionError

# A handle is looked up once, and then a channel stands beside it.
Kind = Literal["video", "channel", "handle"]

_CHANNEL_ID = re.compile(r"UC[\w-]{22}")
_VIDEO_ID = re.compile(r"[\w-]{11}")
_HANDLE = re.compile(r"@[\w.·-]{2,60}")
_HOSTS = {"youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtu.be"}
_VIDEO_PATHS = {"shorts", "live", "embed", "v"}


class UnknownTarget(IngestionError):
    """What should be collected is no video or channel, or YouTube does not know it."""


@dataclass(frozen=True)
class Target:
    """A video or channel that is collected, or the handle of one that is to be.

    Attributes:
        kind: `video`, `channel` or `handle`.
        target_id: Its id, or the handle with its @.
        world: `real` or `synthetic`.
        added_at: When it was first known here.
        next_due_at: When it is next to be looked at; for a channel, when its uploads are read
            again even though its number of videos did not change.
        channel_id: Whose video, or handle, it is.
        uploads_playlist_id: The channel's uploads.
        last_observed_at: The last look, successful or not.
        published_at: When the video was published.
        missing_checks: Looks in a row at which YouTube left it out.
        gone_at: When it was given up.
        label_due_at: When a forecast of this video is to be held against the truth; null while no
            such moment is near.
        statistics_due_at: When a channel's own counts are to be read again.
        last_count: Views of a video, or number of videos of a channel, at the last look.
    """

    kind: Kind
    target_id: str
    world: str
    added_at: datetime
    next_due_at: datetime
    channel_id: str | None = None
    uploads_playlist_id: str | None = None
    last_observed_at: datetime | None = None
    published_at: datetime | None = None
    missing_checks: int = 0
    gone_at: datetime | None = None
    label_due_at: datetime | None = None
    statistics_due_at: datetime | None = None
    last_count: int | None = None


@dataclass(frozen=True)
class Reference:
    """What somebody wrote to name a video or channel."""

    kind: Kind
    value: str


def parse_reference(written: str) -> Reference:
    """Read an id, handle or address of a video or channel; raises UnknownTarget."""
    written = written.strip()
    plain = _plain_reference(written)
    if plain is not None:
        return plain
    address = urlsplit(written if "//" in written else f"https://{written}")
    if address.hostname in _HOSTS:
        found = _from_address(address.hostname, address.path, address.query)
        if found is not None:
            return found
    raise UnknownTarget(
        f"{written!r} is no video id, channel id, @handle or YouTube address of one"
    )


def load_targets(engine: Engine, world: str) -> list[Target]:
    """Read the targets of a world, also those that are gone."""
    query = text(f"SELECT {_NAMES} FROM collection_targets WHERE world = :world")
    with engine.connect() as connection:
        return [Target(**row) for row in connection.execute(query, {"world": world}).mappings()]


def save_targets(connection: Connection, targets: Iterable[Target]) -> None:
    """Write targets, new or changed; whoever held them lets them go."""
    changed = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in _KEY)
    _insert(connection, targets, f"DO UPDATE SET {changed}, leased_until = NULL")


def add_targets(connection: Connection, targets: Iterable[Target]) -> None:
    """Write targets that are new; those that are known stay as they are."""
    _insert(connection, targets, "DO NOTHING")


def _insert(connection: Connection, targets: Iterable[Target], on_conflict: str) -> None:
    rows = sorted(
        (tuple(getattr(target, name) for name in _COLUMNS) for target in targets),
        key=lambda row: row[:2],  # one order for all collectors: no deadlock
    )
    if rows:
        cursor: Any = connection.connection.cursor()
        execute_values(
            cursor,
            f"INSERT INTO collection_targets ({_NAMES}) VALUES %s "
            f"ON CONFLICT (kind, target_id) {on_conflict}",
            rows,
            page_size=1000,
        )


def listing(targets: Sequence[Target]) -> dict[str, list[dict[str, Any]]]:
    """Give the targets that are collected, as `foreview targets list --json` prints them."""
    present = sorted((t for t in targets if t.gone_at is None), key=lambda t: t.target_id)
    return {
        "videos": [
            {"video_id": t.target_id, "channel_id": t.channel_id}
            for t in present
            if t.kind == "video"
        ],
        "channels": [{"channel_id": t.target_id} for t in present if t.kind == "channel"],
    }


_COLUMNS = [field.name for field in fields(Target)]
_NAMES = ", ".join(_COLUMNS)
_KEY = ("kind", "target_id")


def _plain_reference(written: str) -> Reference | None:
    if _CHANNEL_ID.fullmatch(written):
        return Reference("channel", written)
    if _HANDLE.fullmatch(written):
        return Reference("handle", written)
    if _VIDEO_ID.fullmatch(written):
        return Reference("video", written)
    return None


def _from_address(host: str, path: str, query: str) -> Reference | None:
    parts = [part for part in path.split("/") if part]
    if host == "youtu.be":
        return _plain_reference(parts[0]) if parts else None
    if parts == ["watch"]:
        return _plain_reference(parse_qs(query).get("v", [""])[0])
    if len(parts) >= 2 and (parts[0] in _VIDEO_PATHS or parts[0] == "channel"):
        return _plain_reference(parts[1])
    return _plain_reference(parts[0]) if parts and parts[0].startswith("@") else None
