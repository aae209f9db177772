"""One forecast beside the truth: what the count was when it was due, and how far off; pure."""

import math
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

# A count is read between two looks no further apart than this, or a quarter of the age.
NARROW_BRACKET = timedelta(hours=6)
AGE_SHARE = 4
# Truth that reaches us later than this after the horizon closed is late.
LATE_AFTER = timedelta(hours=24)
# How long a forecast without a truth is looked at again; rows can still arrive.
GIVE_UP_AFTER = timedelta(days=7)

LEVELS = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

Status = Literal["scored", "waiting", "never", "deleted", "hidden", "view_definition_changed"]


class Look(NamedTuple):
    """A count as it was read once."""

    value: int
    observed_at: datetime
    ingested_at: datetime
    view_definition: str


class Answered(NamedTuple):
    """What was answered about one metric and horizon; counts of YouTube, whole."""

    current: int | None
    p10: int
    p50: int
    p90: int


class Circumstances(NamedTuple):
    """What is known by now about a video around the moment a forecast was for.

    Attributes:
        due_at: When the horizon closed.
        published_at: Null where the video's metadata are gone.
        view_definition: In force at the observation that the forecast started from.
        before: The last look at or before `due_at` that shows the metric.
        after: The first one at or after it.
        was_seen_after: Some look after `due_at` exists, whether it shows the metric or not.
        is_gone: YouTube no longer shows the video.
    """

    due_at: datetime
    published_at: datetime | None
    view_definition: str | None
    before: Look | None
    after: Look | None
    was_seen_after: bool
    is_gone: bool


class Truth(NamedTuple):
    """The truth, or why there is none; `value` is an interpolated count, so not whole."""

    status: Status
    value: float | None = None
    known_at: datetime | None = None
    is_late: bool | None = None


class Scores(NamedTuple):
    """How far a forecast was off; errors in decades of log10(1 + count), positive if too low."""

    error_log10: float
    persistence_error_log10: float | None
    is_covered: bool
    width_log10: float
    pinball_log10: float
    absolute_percentage_error: float | None


def interpolated_count(
    before: Look, after: Look, moment: datetime, published_at: datetime
) -> float | None:
    """Read a count at a moment between two looks, on a log scale.

    None, never extrapolated, when the looks are further apart than the larger of six hours and a
    quarter of the age at the moment.
    """
    if before.observed_at == moment:
        return float(before.value)
    width = after.observed_at - before.observed_at
    if width > max(NARROW_BRACKET, (moment - published_at) / AGE_SHARE):
        return None
    share = (moment - before.observed_at) / width
    low, high = _log_count(before.value), _log_count(after.value)
    return float(10.0 ** (low + (high - low) * share) - 1.0)


def truth(found: Circumstances, now: datetime) -> Truth:
    """Say what the count was when the horizon closed, or why nobody can say."""
    before, after = found.before, found.after
    if before is None or after is None:
        return Truth(_why_not_bracketed(found, now))
    definitions = {found.view_definition, before.view_definition, after.view_definition}
    if len(definitions) > 1:
        return Truth("view_definition_changed")
    if found.published_at is None:
        return Truth("never")
    count = interpolated_count(before, after, found.due_at, found.published_at)
    if count is None:
        return Truth("never")
    is_exact = before.observed_at == found.due_at
    known_at = before.ingested_at if is_exact else max(before.ingested_at, after.ingested_at)
    return Truth("scored", count, known_at, known_at > found.due_at + LATE_AFTER)


def _why_not_bracketed(found: Circumstances, now: datetime) -> Status:
    if found.after is not None:
        return "never"  # what came before is no longer kept
    if found.was_seen_after:
        return "hidden"
    if found.is_gone:
        return "deleted"
    return "waiting" if now <= found.due_at + GIVE_UP_AFTER else "never"


def score(answered: Answered, count: float) -> Scores:
    """Score an answer against the truth.

    Coverage compares whole counts, as they were answered. Pinball is the mean loss of the three
    quantiles on the log scale.
    """
    actual = _log_count(count)
    levels = {name: _log_count(getattr(answered, name)) for name in LEVELS}
    losses = [
        max(level * (actual - levels[name]), (level - 1.0) * (actual - levels[name]))
        for name, level in LEVELS.items()
    ]
    current = answered.current
    return Scores(
        error_log10=actual - levels["p50"],
        persistence_error_log10=None if current is None else actual - _log_count(current),
        is_covered=answered.p10 <= round(count) <= answered.p90,
        width_log10=levels["p90"] - levels["p10"],
        pinball_log10=sum(losses) / len(losses),
        absolute_percentage_error=abs(answered.p50 - count) / count if count > 0 else None,
    )


def _log_count(count: float) -> float:
    return math.log10(1.0 + count)
