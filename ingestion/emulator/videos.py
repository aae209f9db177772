"""The videos of a synthetic world: when they appear, what they are, how they will grow."""

from dataclasses import dataclass

import numpy as np

from ingestion.emulator.channels import Channels
from ingestion.emulator.curves import Curves, shock_factors
from ingestion.emulator.draws import (
    DAY,
    FIRST_MONDAY,
    HOUR,
    WEEK,
    BoolArray,
    FloatArray,
    IntArray,
    UploadDraws,
    identifiers,
)

PLAIN, LIVE, PREMIERE = 0, 1, 2
# A stream or premiere is announced, then runs, then is a video like any other.
ANNOUNCED_SECONDS = 20 * HOUR
_NEVER = np.inf


@dataclass(frozen=True)
class Videos:
    """The videos of a world, a value per video, in order of publication.

    `published_at` is when the API says it was published; views start at `started_at`, which is
    later for streams and premieres.
    """

    video_ids: tuple[str, ...]
    channel: IntArray
    published_at: FloatArray
    started_at: FloatArray
    duration_seconds: FloatArray
    broadcast: IntArray
    is_short: BoolArray
    capitals: BoolArray
    question: BoolArray
    number: BoolArray
    emoji: BoolArray
    hides_likes: BoolArray
    comments_off: BoolArray
    captioned: BoolArray
    is_sd: BoolArray
    has_maxres: BoolArray
    edited_at: FloatArray
    deleted_at: FloatArray
    moved_at: FloatArray
    moved_to: IntArray
    lacks_statistics: BoolArray
    curves: Curves


def synthetic_videos(seed: int, channels: Channels, draws: UploadDraws) -> Videos:
    """Make videos of drawn uploads."""
    published = _published_at(channels, draws)
    order = np.argsort(published, kind="stable")
    draws, published = _reordered(draws, order), published[order]
    u, channel = draws.uniform, draws.channel
    is_short = u["short"] < channels.short_share[channel]
    kinds = [is_short | (u["broadcast"] >= 0.016), u["broadcast"] >= 0.008]
    broadcast = np.select(kinds, [PLAIN, PREMIERE], LIVE)
    started = published + np.where(broadcast == PLAIN, 0.0, ANNOUNCED_SECONDS)
    style = {"capitals": u["capitals"] < 0.15, "question": u["question"] < 0.18,
             "number": u["number"] < 0.22, "emoji": u["emoji"] < 0.2}  # fmt: skip
    kids = np.array([c.made_for_kids for c in channels.each])[channel]
    return Videos(
        video_ids=tuple(_ids(seed, draws)),
        channel=channel,
        published_at=published,
        started_at=started,
        duration_seconds=_durations(channels, draws, is_short),
        broadcast=broadcast,
        is_short=is_short,
        **style,
        hides_likes=u["hidden_likes"] < 0.02,
        comments_off=(u["comments_off"] < 0.02) | kids,
        captioned=u["captions"] < 0.25,
        is_sd=u["definition"] < 0.03,
        has_maxres=u["maxres"] < 0.9,
        edited_at=_moment(u["edited"] < 0.04, published, 18 + 14 * u["edited_age"]),
        deleted_at=_moment(u["deleted"] < 0.008, published, 12 + 900 * u["deleted_age"] ** 2),
        moved_at=_moment(u["moved"] < 0.002, published, 24 + 240 * u["moved_age"]),
        moved_to=np.floor(u["moved_to"] * len(channels.each)).astype(np.int64),
        # Streams of television stations: nobody is told how many watch.
        lacks_statistics=(broadcast == LIVE) & (u["lacks_statistics"] < 0.25),
        curves=_curves(channels, draws, started, is_short, style),
    )


def _published_at(channels: Channels, draws: UploadDraws) -> FloatArray:
    """Spread a channel's uploads over its favourite weekdays, at about its favourite hour."""
    in_week = np.bincount(draws.channel * 10_000 + draws.week)
    share = (draws.place + draws.uniform["day"]) / in_week[draws.channel * 10_000 + draws.week]
    reached = np.cumsum(channels.weekday_weights, axis=1)[draws.channel]
    weekday = np.minimum(np.sum(share[:, np.newaxis] >= reached, axis=1), 6)
    hour = np.clip(channels.hour[draws.channel] + 1.3 * draws.normal["hour"], 0, 23.9)
    second = np.floor(draws.uniform["second"] * 300)
    return FIRST_MONDAY + draws.week * WEEK + weekday * DAY + np.floor(hour * HOUR) + second


def _reordered(draws: UploadDraws, order: IntArray) -> UploadDraws:
    return UploadDraws(
        channel=draws.channel[order],
        week=draws.week[order],
        place=draws.place[order],
        normal={name: values[order] for name, values in draws.normal.items()},
        uniform={name: values[order] for name, values in draws.uniform.items()},
        shocks=draws.shocks[order],
    )


def _ids(seed: int, draws: UploadDraws) -> list[str]:
    places = zip(draws.channel.tolist(), draws.week.tolist(), draws.place.tolist(), strict=True)
    return identifiers(seed, [(3, *place) for place in places], length=11)


def _durations(channels: Channels, draws: UploadDraws, is_short: BoolArray) -> FloatArray:
    z = draws.normal["duration"]
    short = np.clip(38 * np.exp(0.5 * z), 8, 180)
    long = np.clip(channels.long_seconds[draws.channel] * np.exp(0.4 * z), 185, 6 * HOUR)
    return np.floor(np.where(is_short, short, long))


def _moment(happens: BoolArray, published: FloatArray, hours: FloatArray) -> FloatArray:
    return np.where(happens, published + hours * HOUR, _NEVER)


def _curves(
    channels: Channels,
    draws: UploadDraws,
    started: FloatArray,
    is_short: BoolArray,
    style: dict[str, BoolArray],
) -> Curves:
    z, u, channel = draws.normal, draws.uniform, draws.channel
    hour = started % DAY / HOUR
    weekend = (started - FIRST_MONDAY) % WEEK >= 5 * DAY
    decades = (
        channels.level_at(channel, started)
        + 0.10 * is_short
        + 0.05 * weekend
        + 0.05 * np.cos(2 * np.pi * (hour - 17) / 24)
        + 0.06 * style["capitals"]
        + 0.04 * style["question"]
        + 0.03 * style["number"]
        - 0.02 * style["emoji"]
        + channels.luck_spread[channel] * z["luck"]
    )
    breaks_out = u["breakout"] < 0.04
    corrected = u["corrected"] < 0.006
    return Curves(
        published_at=started,
        peak_hour=(channels.hour[channel] + 5) % 24,
        scale=10 ** np.clip(decades, 1.0, 8.6),
        delay=np.where(is_short, 30.0, 14.0) * np.exp(0.6 * z["delay"]),
        decay=np.where(is_short, 0.7, 0.85) * np.exp(0.3 * z["decay"]),
        evergreen=np.clip(0.2 * np.exp(0.8 * z["evergreen"]), 0.02, 0.85),
        shocks=shock_factors(draws.shocks),
        breakout_size=np.where(breaks_out, 0.5 * np.exp(2.5 * u["breakout_size"]), 0.0),
        breakout_age=110 * np.exp(0.9 * z["breakout_age"]),
        breakout_width=14 * np.exp(0.4 * z["breakout_width"]),
        corrected_age=np.where(corrected, 20 + 400 * u["corrected_age"], _NEVER),
        corrected_share=0.04 + 0.2 * u["corrected_size"],
        like_ratio=channels.like_ratio[channel] * np.exp(0.3 * z["like_ratio"]),
        like_shape=np.clip(0.95 + 0.03 * z["like_shape"], 0.8, 1.0),
        comment_ratio=channels.comment_ratio[channel] * np.exp(0.5 * z["comment_ratio"]),
        comment_shape=np.clip(0.88 + 0.05 * z["comment_shape"], 0.6, 1.0),
        is_short=is_short,
    )
