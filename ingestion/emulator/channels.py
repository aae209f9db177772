"""The channels of a synthetic world: size, rhythm, language and what they publish."""

from dataclasses import dataclass

import numpy as np

from ingestion.emulator.draws import DAY, FloatArray, channel_generator, identifier
from ingestion.emulator.wording import LANGUAGES

# Levels are those of this day; channels grow or shrink slowly around it.
_LEVEL_DAY = 1_767_225_600.0  # 2026-01-01
_YEAR = 365.25 * DAY
_CATEGORIES = (10, 17, 20, 22, 23, 24, 25, 26, 27, 28)


@dataclass(frozen=True)
class Channel:
    """What never changes about a channel."""

    channel_id: str
    handle: str
    title: str
    description: str
    language: str
    country: str
    category_id: int
    published_at: float
    hides_subscribers: bool
    made_for_kids: bool


@dataclass(frozen=True)
class Channels:
    """The channels of a world and, a value per channel, what their videos are drawn from."""

    each: tuple[Channel, ...]
    level: FloatArray
    trend: FloatArray
    phase: FloatArray
    subscribers: FloatArray
    uploads_per_week: FloatArray
    weekday_weights: FloatArray
    hour: FloatArray
    short_share: FloatArray
    luck_spread: FloatArray
    long_seconds: FloatArray
    like_ratio: FloatArray
    comment_ratio: FloatArray
    earlier_views: FloatArray
    earlier_videos: FloatArray

    def level_at(self, channel: np.ndarray, time: FloatArray) -> FloatArray:
        """Give log10 of the views that a channel's usual video gets in 30 days."""
        years = (time - _LEVEL_DAY) / _YEAR
        season = 0.08 * np.sin(2 * np.pi * time / (90 * DAY) + self.phase[channel])
        return self.level[channel] + self.trend[channel] * years + season

    def subscribers_at(self, channel: int, time: float) -> int:
        """Give the exact number of subscribers, which YouTube shows rounded."""
        years = (time - _LEVEL_DAY) / _YEAR
        return int(self.subscribers[channel] * 10 ** (self.trend[channel] * years))


def synthetic_channels(seed: int, count: int) -> Channels:
    """Draw the channels of a world: views over four decades, from daily to twice a month."""
    rows = [_draw(seed, number) for number in range(count)]
    columns = {name: np.array([row[1][name] for row in rows]) for name in rows[0][1]}
    return Channels(each=tuple(row[0] for row in rows), **columns)


def _draw(seed: int, number: int) -> tuple[Channel, dict[str, float | FloatArray]]:
    generator = channel_generator(seed, number)
    z = generator.standard_normal(12)
    level = float(np.clip(4.4 + 0.9 * z[0], 2.3, 6.8))
    uploads = float(np.clip(1.4 * np.exp(0.75 * z[1]), 0.4, 9.0))
    earlier_videos = np.floor(np.exp(5.0 + 0.8 * z[7]))
    traits: dict[str, float | FloatArray] = {
        "level": level,
        "trend": 0.15 + 0.15 * z[2],
        "phase": float(generator.uniform(0, 2 * np.pi)),
        "subscribers": 10 ** (0.9 * level + 0.7 + 0.3 * z[3]),
        "uploads_per_week": uploads,
        "weekday_weights": generator.dirichlet(np.full(7, 1.2)),
        "hour": float(generator.uniform(6, 22)),
        "short_share": float(generator.beta(0.45, 0.7)),
        "luck_spread": float(np.clip(0.28 + 0.07 * z[4], 0.12, 0.5)),
        "long_seconds": 60 * np.exp(2.4 + 0.6 * z[5]),
        "like_ratio": 0.035 * np.exp(0.45 * z[6]),
        "comment_ratio": 0.0035 * np.exp(0.7 * z[8]),
        "earlier_videos": earlier_videos,
        "earlier_views": np.floor(earlier_videos * 10 ** (level + 0.1 + 0.1 * z[9])),
    }
    return _identity(seed, number, generator), traits


def _identity(seed: int, number: int, generator: np.random.Generator) -> Channel:
    language = str(generator.choice(list(LANGUAGES), p=[w.weight for w in LANGUAGES.values()]))
    words = LANGUAGES[language]
    subject = str(generator.choice(words.subjects))
    name = str(generator.choice(words.channel_names)).format(subject=subject)
    suffix = identifier(seed, 2, number, length=5).replace("-", "x").replace("_", "y").lower()
    return Channel(
        channel_id="UC" + identifier(seed, 1, number, length=22),
        handle=f"@channel{number}{suffix}",
        title=name,
        description=f"{name}. {words.description}",
        language=language,
        country=str(generator.choice(words.countries)),
        category_id=int(generator.choice(_CATEGORIES)),
        published_at=_LEVEL_DAY - float(generator.uniform(1.5, 12)) * _YEAR,
        hides_subscribers=bool(generator.random() < 0.05),
        made_for_kids=bool(generator.random() < 0.05),
    )
