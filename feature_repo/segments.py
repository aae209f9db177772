"""How videos and channels are told apart: format, definition of a view, tier."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.transformations.elementwise import where, whole

SHORT_MAX_SECONDS = 180.0

# YouTube changed what counts as a view: for Shorts first, then for every format.
SHORTS_CHANGE = datetime(2025, 3, 31, tzinfo=UTC)
EVERY_FORMAT_CHANGE = datetime(2026, 8, 27, tzinfo=UTC)

# Ages at which errors are of a kind: the first looks are the hardest to tell from.
AGE_BAND_EDGES_HOURS = (36.0, 96.0, 240.0)
AGE_BANDS = ("to_36h", "to_4d", "to_10d", "older")

TIERS = ("unknown", *(f"1e{exponent}" for exponent in range(9)))

_TIER_LABELS, _TOP_TIER = np.array(TIERS), len(TIERS) - 2.0

# Announced: what YouTube then tells as its views is the 0 of a video that nobody can see.
UPCOMING = "upcoming"

FORMATS = ("short", "long", "live", "premiere", "unknown")


def video_format(duration_seconds: float | None, live_broadcast_content: str | None) -> str:
    """Name the format of a video: short, long, live, premiere, or `unknown` without a duration.

    A video that is announced or running carries `live_broadcast_content`; with a duration it is a
    premiere (its length is known beforehand), without one it is a live stream.
    """
    has_duration = duration_seconds is not None and duration_seconds > 0
    if live_broadcast_content in ("live", UPCOMING):
        return "premiere" if has_duration else "live"
    if not has_duration:
        return "unknown"
    assert duration_seconds is not None
    return "short" if duration_seconds <= SHORT_MAX_SECONDS else "long"


def view_definition(format_: str, observed_at: datetime) -> str:
    """Name the definition of a view in force for a format at a moment.

    A video of unknown format may be a Short, so both changes bound its counts: `unknown_2`
    stands for "either the Shorts' new counting or the old one".
    """
    if observed_at >= EVERY_FORMAT_CHANGE:
        return "views_3"
    if observed_at >= SHORTS_CHANGE and format_ in ("short", "unknown"):
        return "views_2" if format_ == "short" else "unknown_2"
    return "views_1"


def views_valid_until(format_: str, definition: str) -> float:
    """Give the moment up to which views so counted may be compared with new ones, epoch seconds."""
    if definition == "views_3":
        return float("inf")
    if definition == "views_1" and format_ in ("short", "unknown"):
        return SHORTS_CHANGE.timestamp()
    return EVERY_FORMAT_CHANGE.timestamp()


def tier(log10_views: NDArray[np.float64]) -> NDArray[np.str_]:
    """Name the tier of channels: the log10 bucket of their normal views, `unknown` where null.

    Args:
        log10_views: log10(1 + median age-aligned views), shape (n,); NaN below three videos.

    Returns:
        One label per row: `unknown`, or `1e0` ... `1e8` (clipped to that range).
    """
    return _TIER_LABELS[tier_number(log10_views)]


def tier_number(log10_views: Any) -> Any:
    """Number the tier of channels, as TIERS has them, int64; see `tier`. Kernels call it too."""
    known = np.isfinite(log10_views)
    bucket = np.minimum(np.maximum(np.floor(where(known, log10_views, -1.0)), 0.0), _TOP_TIER)
    return whole(where(known, bucket + 1.0, 0.0))


def interval_group(tiers: NDArray[np.str_], age_hours: NDArray[np.float64]) -> NDArray[np.str_]:
    """Name the group whose errors a forecast's interval comes from: tier and age band.

    Args:
        tiers: Tiers of the channels, shape (n,).
        age_hours: Ages of the videos when they were last observed, shape (n,).

    Returns:
        One label per row, such as `1e5@to_36h`.
    """
    return np.char.add(np.char.add(tiers, "@"), np.array(AGE_BANDS)[age_band_number(age_hours)])


def age_band_number(age_hours: Any) -> Any:
    """Number the band of ages, as AGE_BANDS has them, int64; a null age counts as the last.

    Kernels call it too.
    """
    age = where(np.isnan(age_hours), np.inf, age_hours)
    passed = where(age >= AGE_BAND_EDGES_HOURS[0], 1.0, 0.0)
    for edge in AGE_BAND_EDGES_HOURS[1:]:
        passed = passed + where(age >= edge, 1.0, 0.0)
    return whole(passed)
