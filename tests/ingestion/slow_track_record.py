"""A channel's track record once more, video by video in plain Python: slow, and easy to read."""

import math
import re
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

import emoji
import numpy as np

from tests.worlds import Row, World

Looks = dict[str, list[dict[str, Any]]]
SHORTS_CHANGE = datetime(2025, 3, 31, tzinfo=UTC)
EVERY_FORMAT_CHANGE = datetime(2026, 8, 27, tzinfo=UTC)
# Decades above the views at half a day, for channels to 1e5, to 1e6 and above.
SHAPES = (
    (0.0, 0.22, 0.37, 0.507, 0.627, 0.727, 0.817),
    (0.0, 0.14, 0.265, 0.377, 0.472, 0.552, 0.622),
    (0.0, 0.12, 0.24, 0.34, 0.44, 0.52, 0.595),
)
HABITS = (
    "title_length",
    "title_uppercase_ratio",
    "title_emoji",
    "description_length",
    "tag_count",
    "duration_seconds",
)
AUDIENCE = (
    "channel_subscribers",
    "channel_view_count",
    "channel_video_count",
    "channel_subscribers_growth",
    "channel_views_growth",
    "are_subscribers_hidden",
    "channel_country",
)
COUNTRIES = {"AE": 0.0, "JP": 27.0, "US": 50.0}

AGES_DAYS = (0.5, 1, 2, 4, 8, 16, 32)
DAY = 86_400


def slow_track_record(observed: World, channel_id: str, moment: datetime) -> dict[str, float]:
    """Describe a channel at a moment from every row of `observed` seen by then."""
    videos = _looks_by_video(observed, channel_id, moment)
    first = sorted((looks[0] for looks in videos.values()), key=_order)
    second = sorted((looks[1] for looks in videos.values() if len(looks) > 1), key=_order)
    counted = [look for look in first if _is_counted(look, moment)]
    early = _known([look["log"] for look in _first_aged(videos, 0.5, 4, moment)])
    shorts = _known([look["is_short"] for look in first])
    enough = len(early) >= 3
    level = _median([look["log"] - _shape(1, look["age_days"]) for look in counted])
    return {
        **_normals(videos, level, moment),
        "channel_level_log10_views": level,
        "channel_early_log10_views": median(early) if enough else math.nan,
        "channel_early_spread": _spread(early) if enough else math.nan,
        "channel_first_log10_views": _median([look["log"] for look in counted]),
        "channel_first_age_days": _median([look["age_days"] for look in first]),
        "channel_log10_views_growth": _median([_growth(videos, look) for look in second]),
        "channel_likes_per_view": _median([_ratio(look, "like_count") for look in counted]),
        "channel_comments_per_view": _median([_ratio(look, "comment_count") for look in counted]),
        "channel_shorts_share": sum(shorts) / len(shorts) if shorts else math.nan,
        **{
            f"channel_{habit}": _median([look["habits"][habit] for look in first])
            for habit in HABITS
        },
        "channel_videos_seen": float(len(videos)),
        **_rhythm(videos, first, moment),
        **_audience(observed, channel_id, moment),
        **_pace(videos),
        **_word_counts([look["title"] for look in first]),
    }


def words(title: str) -> set[int]:
    """Give the buckets, of eighty, that a title's words fall into."""
    found, word = set(), ""
    for character in f"{title.casefold()} ":
        is_whole = bool(re.match("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]", character))
        if is_whole or not re.match(r"\w", character):
            found |= {word, character} if is_whole else {word}
            word = ""
        else:
            word += character
    return {zlib.crc32(one.encode(errors="surrogatepass")) % 80 for one in found - {""}}


def slow_similarity(observed: World, version: Row) -> float:
    """Hold a version's title against its channel's earlier ones, of the rows known with it."""
    first: dict[str, Row] = {}
    for row in sorted(observed.metadata.to_pylist(), key=_order):
        is_known = row["ingested_at"] <= version["ingested_at"]
        if row["channel_id"] == version["channel_id"] and is_known:
            first.setdefault(row["video_id"], row)
    seen = first[version["video_id"]]["observed_at"]
    last = [words(row["title"]) for row in first.values() if row["observed_at"] < seen][-20:]
    own = words(version["title"])
    shared = sum(len(own & earlier) for earlier in last)
    return shared / (len(own) * len(last)) if own and last else math.nan


def _word_counts(titles: list[str]) -> dict[str, float]:
    last = [words(title) for title in titles[-20:]]
    counts = [sum(bucket in of for of in last) for bucket in range(80)]
    packed = [sum(count * 32**at for at, count in enumerate(counts[n : n + 10]))
              for n in range(0, 80, 10)]  # fmt: skip
    told = [float(one) if titles else math.nan for one in packed]
    return {f"channel_title_words_{n}": one for n, one in enumerate(told)}


def _pace(videos: Looks) -> dict[str, float]:
    day, three = _exponents(videos, 0.75, 1.5), _exponents(videos, 2.5, 3.5)
    return {
        "channel_growth_exponent": _drawn_to_usual(day),
        "channel_median_growth_exponent": _median(day),
        "channel_latest_growth_exponent": day[-1] if day else math.nan,
        "channel_recent_growth_exponent": _recent(day),
        "channel_growth_videos": float(len(day)) if day else math.nan,
        "channel_growth_exponent_3d": _drawn_to_usual(three),
        "channel_recent_growth_exponent_3d": _recent(three),
    }


def _days_between(look: Row, later: Row) -> float:
    return (later["observed_at"].timestamp() - look["observed_at"].timestamp()) / DAY


def _exponents(videos: Looks, least_days: float, most_days: float) -> list[float]:
    found = []
    for first, *later in videos.values():
        again = [
            look
            for look in later
            if least_days <= _days_between(first, look) < most_days
            and first["age_days"] > 0
            and _is_counted(first, look["observed_at"])
        ]
        if again and not math.isnan(again[0]["log"] - first["log"]):
            older = float(np.log10(_age_seconds(again[0]) / _age_seconds(first)))
            gain = (again[0]["log"] - first["log"]) / older
            found.append((_order(again[0]), min(max(gain, -1.0), 5.0)))
    return [exponent for _, exponent in sorted(found)][-20:]


def _age_seconds(look: dict[str, Any]) -> float:
    return float(look["observed_at"].timestamp() - look["published"])


def _drawn_to_usual(exponents: list[float]) -> float:
    return (_total(exponents) + 2 * 0.5) / (len(exponents) + 2) if exponents else math.nan


def _recent(exponents: list[float]) -> float:
    weights = 0.65 ** np.arange(20)[: len(exponents)]
    weighed = [w * e for w, e in zip(weights, reversed(exponents), strict=True)]
    return _total(weighed[::-1]) / _total(weights.tolist()[::-1]) if exponents else math.nan


def _total(values: list[float]) -> float:
    """Sum in numpy's order, the latest first, as bits are compared."""
    return float(np.sum(np.array([*reversed(values), *[0.0] * (20 - len(values))])))


def _normals(videos: Looks, level: float, moment: datetime) -> dict[str, float]:
    size = 0 if level < 5 else 1 if level < 6 else 2
    normals = {}
    for age in AGES_DAYS:
        looks = _first_aged(videos, age / 2**0.5, age * 2**0.5, moment)
        own = _known([look["log"] for look in looks])
        usual = level + _shape(size, age)
        normal, spread = math.nan, math.nan
        if not math.isnan(level):
            normal = ((median(own) if own else 0.0) * len(own) + usual * 2) / (len(own) + 2)
        elif own:
            normal = median(own)
        if not math.isnan(normal):
            many = len(own) if len(own) >= 3 else 0
            spread = ((_spread(own) if many else 0.0) * many + 0.25 * 2) / (many + 2)
        hours = round(age * 24)
        normals[f"channel_normal_log10_views_{hours}h"] = normal
        normals[f"channel_normal_spread_{hours}h"] = spread
        normals[f"channel_normal_videos_{hours}h"] = float(len(own))
    return normals


def _shape(size: int, age_days: float) -> float:
    """Read the usual growth on a line between the ages of the grid."""
    points = list(zip(AGES_DAYS, SHAPES[size], strict=True))
    if age_days <= AGES_DAYS[0]:
        return points[0][1]
    for (young, below), (old, above) in pairwise(points):
        if young <= age_days < old:
            return (above - below) / (old - young) * (age_days - young) + below
    return points[-1][1]


def _is_counted(look: dict[str, Any], moment: datetime) -> bool:
    """Tell whether views of a look are counted as they are at a moment."""
    changes = [SHORTS_CHANGE] * (look["format"] in ("short", "unknown")) + [EVERY_FORMAT_CHANGE]
    return not any(look["observed_at"] < change <= moment for change in changes)


def _rhythm(videos: Looks, first: list[dict[str, Any]], moment: datetime) -> dict[str, float]:
    gaps, latest = [], -math.inf
    every = sorted((look for looks in videos.values() for look in looks), key=_order)
    for look in every:
        if any(look is one for one in first):
            gaps.append((look["published"] - latest) / DAY)
        latest = max(latest, look["published"])
    gaps = _known([gap if 0 < gap < math.inf else math.nan for gap in gaps])
    return {
        "channel_days_between_uploads": _median(gaps),
        "channel_upload_spread_days": _spread(gaps) if len(gaps) >= 3 else math.nan,
        "channel_last_upload_at": latest if every else math.nan,
        **{
            f"channel_uploads_{days}d": float(
                sum(look["published"] + days * DAY > moment.timestamp() for look in first)
            )
            for days in (7, 30)
        },
    }


def _looks_by_video(
    observed: World, channel_id: str, moment: datetime
) -> dict[str, list[dict[str, Any]]]:
    versions = observed.metadata.to_pylist()
    latest: dict[tuple[str, datetime], dict[str, Any]] = {}
    for row in observed.snapshots.to_pylist():
        known = _version_of(versions, row)
        if row["observed_at"] > moment or known is None or known["channel_id"] != channel_id:
            continue
        key = row["video_id"], row["observed_at"]
        if key not in latest or row["ingested_at"] > latest[key]["ingested_at"]:
            latest[key] = row | _described(row, known)
    videos: dict[str, list[dict[str, Any]]] = {}
    for (video_id, _), look in sorted(latest.items()):
        videos.setdefault(video_id, []).append(look)
    return videos


def _version_of(versions: list[Row], snapshot: Row) -> Row | None:
    known = [
        version
        for version in versions
        if version["video_id"] == snapshot["video_id"]
        and version["observed_at"] <= snapshot["observed_at"]
        and version["ingested_at"] <= snapshot["ingested_at"]
    ]
    return max(known, key=lambda version: version["observed_at"], default=None)


def _number(value: Any, measure: Callable[[Any], float]) -> float:
    return math.nan if value is None else float(measure(value))


def _described(row: Row, version: Row) -> dict[str, Any]:
    published = version["published_at"].timestamp()
    duration = version["duration_seconds"]
    views = math.nan if row["view_count"] is None else float(row["view_count"])
    letters = [c for c in version["title"] if c.isascii() and c.isalpha()]
    return {
        "title": version["title"],
        "habits": {
            "title_length": float(len(version["title"])),
            "title_uppercase_ratio": sum(c.isupper() for c in letters) / len(letters)
            if letters
            else math.nan,
            "title_emoji": float(emoji.emoji_count(version["title"])),
            "description_length": _number(version["description"], len),
            "tag_count": _number(version["tags"], len),
            "duration_seconds": float(duration) if duration else math.nan,
        },
        "published": published,
        "age_days": (row["observed_at"].timestamp() - published) / DAY,
        "log": float(np.log10(1.0 + views)),
        "is_short": float(duration <= 180) if duration else math.nan,
    }


def _first_aged(videos: Looks, least: float, most: float, moment: datetime) -> list[dict[str, Any]]:
    found = [
        next((look for look in looks if least <= look["age_days"] < most), None)
        for looks in videos.values()
    ]
    kept = (look for look in found if look is not None and _is_counted(look, moment))
    return sorted(kept, key=_order)


def _growth(videos: dict[str, list[dict[str, Any]]], second: dict[str, Any]) -> float:
    first = videos[second["video_id"]][0]
    if not _is_counted(first, second["observed_at"]):
        return math.nan
    elapsed = second["observed_at"].timestamp() - first["observed_at"].timestamp()
    return (second["log"] - first["log"]) / (elapsed / DAY)


def _ratio(look: dict[str, Any], count: str) -> float:
    if look[count] is None or not look["view_count"]:
        return math.nan
    return look[count] / look["view_count"]


def _audience(observed: World, channel_id: str, moment: datetime) -> dict[str, float]:
    looks = [
        row
        for row in observed.channels.to_pylist()
        if row["channel_id"] == channel_id and row["observed_at"] <= moment
    ]
    last = max(looks, key=_order, default=None)
    if last is None:
        return dict.fromkeys(AUDIENCE, math.nan)
    hidden = last["subscriber_count"] is None
    return {
        "channel_subscribers": math.nan if hidden else float(last["subscriber_count"]),
        "channel_view_count": float(last["view_count"]),
        "channel_video_count": float(last["video_count"]),
        "channel_subscribers_growth": _daily(looks, last, "subscriber_count"),
        "channel_views_growth": _daily(looks, last, "view_count"),
        "channel_country": math.nan if last["country"] is None else COUNTRIES[last["country"]],
        "are_subscribers_hidden": float(hidden),
    }


def _daily(looks: list[Row], last: Row, count: str) -> float:
    moment = last["observed_at"]
    earlier = [look for look in looks if (moment - look["observed_at"]).total_seconds() >= 7 * DAY]
    back = max(earlier, key=_order, default=None)
    if back is None or (elapsed := (moment - back["observed_at"]).total_seconds()) > 45 * DAY:
        return math.nan
    if last[count] is None or not back[count]:
        return math.nan
    return (last[count] - back[count]) / (back[count] * (elapsed / DAY))


def _order(look: Row) -> tuple[datetime, datetime, float, str]:
    """Of what was seen at the same moment the older video comes first."""
    of_video = look.get("published", 0.0), look.get("video_id", "")
    return look["observed_at"], look["ingested_at"], *of_video


def _known(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)][-20:]


def _median(values: list[float]) -> float:
    known = _known(values)
    return median(known) if known else math.nan


def _spread(values: list[float]) -> float:
    middle = median(values)
    return median([abs(value - middle) for value in values])
