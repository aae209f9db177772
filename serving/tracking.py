"""Names of videos and channels as people have them, and what is told of a target; pure."""

import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from serving.contracts import Target
from serving.errors import InvalidTarget

_VIDEO = re.compile(r"[A-Za-z0-9_-]{11}")
_CHANNEL = re.compile(r"UC[A-Za-z0-9_-]{22}")
_HANDLE = re.compile(r"@[\w.·-]{2,60}")
_HOSTS = ("youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com")
_BEFORE_VIDEO = ("shorts", "live", "embed", "v")

# A round of collection, then features, are expected to be through by then.
_FIRST_FORECAST = timedelta(hours=1)


def parse_target(written: str) -> tuple[str, str]:
    """Read an id, handle or address of a video or channel: its kind and id.

    Raises:
        InvalidTarget: It is none of these.
    """
    written = written.strip()
    found = _kind_of(written) or _from_address(written)
    if found is None:
        raise InvalidTarget(
            f"{written[:60]!r} is no video id, channel id, @handle or YouTube address of one"
        )
    return found


def told(
    kind: str, target_id: str, row: dict[str, Any], quota_back_at: datetime | None, *, is_new: bool
) -> Target:
    """Say what was done and when a first forecast will exist."""
    next_look_at: datetime = row["next_due_at"]
    if quota_back_at is not None:
        next_look_at = max(next_look_at, quota_back_at)
    was_seen = row["last_observed_at"] is not None
    note = "It is observed already" if was_seen else "It can be forecast once it was observed"
    if kind == "handle" and not was_seen:
        note = "Its channel is looked up first; its videos can be forecast once they were observed"
    if quota_back_at is not None:
        note += "; the YouTube quota of today is used up, so not before it is renewed"
    return Target.model_validate(
        {
            "kind": kind,
            "target_id": target_id,
            "world": row["world"],
            "is_new": is_new,
            "next_look_at": next_look_at,
            "first_forecast_at": None if was_seen else next_look_at + _FIRST_FORECAST,
            "note": note,
        }
    )


def _kind_of(text: str) -> tuple[str, str] | None:
    if _CHANNEL.fullmatch(text):
        return "channel", text
    if _HANDLE.fullmatch(text):
        return "handle", text.lower()  # whatever its case, it is one
    return ("video", text) if _VIDEO.fullmatch(text) else None


def _from_address(text: str) -> tuple[str, str] | None:
    try:
        address = urlsplit(text if "//" in text else f"https://{text}")
        host = address.hostname
    except ValueError:
        return None
    parts = [part for part in address.path.split("/") if part]
    if host == "youtu.be":
        return _kind_of(parts[0]) if parts else None
    if host not in _HOSTS:
        return None
    if parts == ["watch"]:
        return _kind_of(parse_qs(address.query).get("v", [""])[0])
    if len(parts) >= 2 and parts[0] in (*_BEFORE_VIDEO, "channel"):
        return _kind_of(parts[1])
    return _kind_of(unquote(parts[0])) if parts and parts[0].startswith("@") else None
