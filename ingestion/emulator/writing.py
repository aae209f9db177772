"""Moments, durations, counts, etags and thumbnails as YouTube writes them."""

import hashlib
from datetime import UTC, datetime

from ingestion.emulator.draws import DAY, HOUR

_SIZES = {
    "default": ("default", 120, 90),
    "medium": ("mqdefault", 320, 180),
    "high": ("hqdefault", 480, 360),
    "standard": ("sddefault", 640, 480),
    "maxres": ("maxresdefault", 1280, 720),
}


def iso(time: float) -> str:
    """Write a moment as YouTube does, in whole seconds."""
    return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_duration(seconds: int) -> str:
    """Write a duration in ISO 8601: `PT1H2M3S`, `P1DT0S`."""
    days, rest = divmod(seconds, int(DAY))
    hours, rest = divmod(rest, int(HOUR))
    minutes, rest = divmod(rest, 60)
    units = ((hours, "H"), (minutes, "M"), (rest, "S"))
    clock = "".join(f"{count}{unit}" for count, unit in units if count)
    return "P" + (f"{days}D" if days else "") + "T" + (clock or "0S")


def rounded(count: int) -> int:
    """Round down to three figures, as subscriber counts are shown."""
    step = 10 ** max(len(str(count)) - 3, 0)
    return count // step * step


def etag(*what: object) -> str:
    """Give the etag of something: equal for equal content."""
    return hashlib.blake2b(repr(what).encode(), digest_size=20).hexdigest()[:27]


def thumbnails(video_id: str, has_maxres: bool) -> dict[str, dict[str, str | int]]:
    """Write the pictures of a video; not all have the largest size."""
    return {
        name: {"url": f"https://i.ytimg.com/vi/{video_id}/{file}.jpg", "width": w, "height": h}
        for name, (file, w, h) in _SIZES.items()
        if has_maxres or name != "maxres"
    }
