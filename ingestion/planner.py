"""What to look at next: when a target is due, and full requests of what is; pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ingestion.targets import Target

# A video changes fastest when it is new: (until this age, look this often); later never again.
AGE_TIERS = (
    (timedelta(hours=48), timedelta(hours=6)),
    (timedelta(days=30), timedelta(hours=24)),
    (timedelta(days=90), timedelta(days=7)),
)
DESCRIBED_UNTIL = AGE_TIERS[0][0]
CHANNEL_EVERY = timedelta(hours=12)
# A request costs the same for 1 or 50 ids: those due this soon fill it up.
FILL_AHEAD = timedelta(hours=3)
# The number of videos that channels.list tells may lag, so uploads are also read by rhythm.
UPLOADS_BETWEEN = (timedelta(days=2), timedelta(days=7))
MISSING_CHECKS = 2
# Views that still double in a day when a video is days old are worth a closer look.
HOT_DECADES_A_DAY = 0.3
# How far apart the looks around a label may be, and how late the one after it may come.
LABEL_BRACKET, LABEL_AGE_SHARE = timedelta(hours=6), 0.25
LABEL_LATENESS = timedelta(hours=1)
_RECHECK = timedelta(hours=6)
_WEEK = timedelta(days=7)
_NEVER = timedelta(days=36_500)


@dataclass(frozen=True)
class VideoRequest:
    """Up to 50 videos for one request.

    Attributes:
        video_ids: Which.
        described: With what their creators wrote, or counts only.
        has_label: Whether a forecast waits for the truth about one of them.
    """

    video_ids: Sequence[str]
    described: bool
    has_label: bool = False


def interval(age: timedelta) -> timedelta | None:
    """Give how long to wait after looking at a video of this age; null to stop looking."""
    return next((every for until, every in AGE_TIERS if age < until), None)


def observed(target: Target, at: datetime, views: int | None = None) -> Target:
    """Note that a video was seen: when it is due again depends on its age and its growth."""
    age = at - (target.published_at or at)
    wait = interval(age)
    if wait is not None and is_hot(target, at, views):
        wait = min(wait, AGE_TIERS[0][1])
    return replace(
        target,
        last_observed_at=at,
        next_due_at=at + (wait or _NEVER),
        missing_checks=0,
        label_due_at=None,
        last_count=target.last_count if views is None else views,
    )


def is_hot(target: Target, at: datetime, views: int | None) -> bool:
    """Tell whether a video's views grew fast since its last look, whatever its age."""
    if views is None or target.last_count is None or target.last_observed_at is None:
        return False
    days = (at - target.last_observed_at) / timedelta(days=1)
    if days <= 0:
        return False
    return math.log10((1 + views) / (1 + target.last_count)) / days >= HOT_DECADES_A_DAY


def channel_observed(channel: Target, at: datetime, videos: int | None) -> Target:
    """Note a channel's own counts; a changed number of videos makes its uploads due."""
    changed = channel.last_count is not None and channel.last_count != videos
    return replace(
        channel,
        statistics_due_at=at + CHANNEL_EVERY,
        next_due_at=at if changed else channel.next_due_at,
        last_count=videos,
        missing_checks=0,
    )


def channel_missed(channel: Target, at: datetime) -> Target:
    """Note that YouTube left a channel out of an answer."""
    return replace(missed(channel, at), statistics_due_at=at + CHANNEL_EVERY)


def label_look(
    label: datetime, last_observed_at: datetime | None, published_at: datetime | None
) -> datetime | None:
    """Give when to look next so that a count can be read at `label`; null where it can be already.

    A count is read between two looks no further apart than six hours or a quarter of the age: one
    that is too long before the moment asks for another shortly before it, then for one after it.
    """
    if last_observed_at is not None and last_observed_at >= label:
        return None
    age = label - (published_at or label)
    oldest = label - max(LABEL_BRACKET, age * LABEL_AGE_SHARE) + LABEL_LATENESS
    if last_observed_at is not None and last_observed_at >= oldest:
        return label
    return label - LABEL_BRACKET / 2


def missed(target: Target, at: datetime) -> Target:
    """Note that YouTube left a video or channel out: once may be an accident, twice it is gone."""
    checks = target.missing_checks + 1
    return replace(
        target,
        last_observed_at=at,
        label_due_at=None,
        next_due_at=at + _RECHECK,
        missing_checks=checks,
        gone_at=at if checks >= MISSING_CHECKS else None,
    )


def handle_looked_up(handle: Target, at: datetime, channel_id: str | None) -> Target:
    """Note whose handle it is; nobody's, like a video that is left out, is given up after twice."""
    if channel_id is None:
        return replace(missed(handle, at), last_observed_at=None)
    return replace(
        handle,
        channel_id=channel_id,
        last_observed_at=at,
        next_due_at=at + _NEVER,
        missing_checks=0,
    )


def uploads_read(channel: Target, at: datetime, published: Sequence[datetime]) -> Target:
    """Note that a channel's uploads were read; one that uploads often is read again soon.

    Whether the channel is there, only its own counts tell: its missing checks stay.

    Args:
        channel: The channel.
        at: When they were read.
        published: When its latest known videos were published.
    """
    shortest, longest = UPLOADS_BETWEEN
    latest = sorted(published)[-10:]
    gap = (latest[-1] - latest[0]) / (len(latest) - 1) if len(latest) > 1 else longest
    due_at = at + min(max(gap, shortest), longest)
    return replace(channel, last_observed_at=at, next_due_at=due_at)


def due(targets: Iterable[Target], now: datetime) -> list[VideoRequest]:
    """Give the requests for the videos to look at, and as many more as fill each request."""
    soon = [t for t in targets if t.gone_at is None and t.next_due_at <= now + FILL_AHEAD]
    soon.sort(key=lambda t: (_label_first(t, now), t.next_due_at, t.target_id))
    requests = []
    for described in (True, False):
        alike = [t for t in soon if needs_description(t, now) == described]
        count = sum(t.next_due_at <= now for t in alike)
        ids = [t.target_id for t in alike[: _whole_requests(count)]]
        labels = {t.target_id for t in alike if not _label_first(t, now)}
        requests += [
            VideoRequest(batch, described, not labels.isdisjoint(batch)) for batch in batches(ids)
        ]
    return sorted(requests, key=lambda request: not request.has_label)


def _label_first(target: Target, now: datetime) -> bool:
    return target.label_due_at is None or target.label_due_at > now


def needs_description(video: Target, now: datetime) -> bool:
    """Tell whether to read what the creator wrote too: at first, while new, then once a week.

    Also while no views were told: only so is an announced video known to have begun.
    """
    if video.last_observed_at is None or video.published_at is None or video.last_count is None:
        return True
    age, seen_at_age = now - video.published_at, video.last_observed_at - video.published_at
    return age < DESCRIBED_UNTIL or age // _WEEK > seen_at_age // _WEEK


def batches(ids: Sequence[str], size: int = 50) -> list[Sequence[str]]:
    """Divide ids into requests."""
    return [ids[first : first + size] for first in range(0, len(ids), size)]


def _whole_requests(count: int, size: int = 50) -> int:
    return -(-count // size) * size
