"""How views, likes and comments of synthetic videos grow with age: pure, an array at a time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from feature_repo.segments import EVERY_FORMAT_CHANGE, SHORTS_CHANGE
from ingestion.emulator.draws import DAY, HOUR, SHOCKS, BoolArray, FloatArray, IntArray

# Between these ages (hours) a video grows faster or slower than its curve by a factor of its own.
SHOCK_AGES = np.array([0, 3, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 2688, 5376], dtype=float)
SHOCK_SPREAD = 0.45
FULL_AGE = 30 * 24.0
_DAILY_SWING = 0.35
# From these moments on, more of what people do counts as a view; what was counted stays.
_SHORTS_CHANGE, _EVERY_CHANGE = SHORTS_CHANGE.timestamp(), EVERY_FORMAT_CHANGE.timestamp()
_SHORTS_FACTOR, _EVERY_FACTOR = 1.35, 1.12


@dataclass(frozen=True)
class Curves:
    """The growth of each video; a value per video, ages in hours.

    Views reach `scale` at 30 days but for shocks and breakouts: a share saturates (`delay`,
    `decay`: a power law), the rest (`evergreen`) keeps growing with the logarithm of age.
    """

    published_at: FloatArray
    peak_hour: FloatArray
    scale: FloatArray
    delay: FloatArray
    decay: FloatArray
    evergreen: FloatArray
    shocks: FloatArray
    breakout_size: FloatArray
    breakout_age: FloatArray
    breakout_width: FloatArray
    corrected_age: FloatArray
    corrected_share: FloatArray
    like_ratio: FloatArray
    like_shape: FloatArray
    comment_ratio: FloatArray
    comment_shape: FloatArray
    is_short: BoolArray

    def views(self, videos: IntArray, time: float) -> IntArray:
        """Give the views of some videos at a moment, after YouTube's corrections."""
        age = self._effective_age(videos, time)
        grown = self._grown(videos, age)
        corrected_at = self.corrected_age[videos]
        dropped = np.where(
            age >= corrected_at,
            self.corrected_share[videos] * self._grown(videos, np.minimum(corrected_at, age)),
            0.0,
        )
        return np.floor(grown - dropped + self._counted_anew(videos, time, grown)).astype(np.int64)

    def _counted_anew(self, videos: IntArray, time: float, grown: FloatArray) -> FloatArray:
        """Give the views that count since the definition of a view was widened."""
        more = np.zeros(len(videos))
        changes = (
            (_SHORTS_CHANGE, _SHORTS_FACTOR, self.is_short[videos]),
            (_EVERY_CHANGE, _EVERY_FACTOR, np.ones(len(videos), dtype=bool)),
        )
        for moment, factor, applies in changes:
            if time <= moment:
                continue
            before = np.zeros(len(videos))
            older = np.flatnonzero(applies & (self.published_at[videos] < moment))
            if older.size:
                of = videos[older]
                before[older] = self._grown(of, self._effective_age(of, moment))
            more += applies * (factor - 1) * (grown - before)
        return more

    def likes(self, videos: IntArray, time: float) -> IntArray:
        """Give the likes, a fraction of the views before corrections that falls slowly with age."""
        return self._fraction(videos, time, self.like_ratio, self.like_shape)

    def comments(self, videos: IntArray, time: float) -> IntArray:
        """Give the comments, fewer and earlier than likes."""
        return self._fraction(videos, time, self.comment_ratio, self.comment_shape)

    def _fraction(
        self, videos: IntArray, time: float, ratio: FloatArray, shape: FloatArray
    ) -> IntArray:
        grown = self._grown(videos, self._effective_age(videos, time))
        scale = self.scale[videos]
        return np.floor(ratio[videos] * scale * (grown / scale) ** shape[videos]).astype(np.int64)

    def _effective_age(self, videos: IntArray, time: float) -> FloatArray:
        """Give the age in hours of watching: a day has 24 of them, nights fewer than evenings."""
        published, peak = self.published_at[videos], self.peak_hour[videos]
        age = (time - published) / HOUR + _swing(time, peak) - _swing(published, peak)
        return np.maximum(age, 0.0)

    def _grown(self, videos: IntArray, age: FloatArray) -> FloatArray:
        """Give views before corrections: increments of the curve, each times its age's shock."""
        starts = self._starts[videos]
        now = self._smooth(videos, age)
        ends = np.concatenate([starts[:, 1:], np.full((len(videos), 1), np.inf)], axis=1)
        parts = np.clip(now[:, np.newaxis], starts, ends) - starts
        first_wave = np.sum(parts * self.shocks[videos], axis=1)
        return self.scale[videos] * (first_wave + self._wave(videos, age))

    @cached_property
    def _starts(self) -> FloatArray:
        every = np.arange(len(self.scale))[:, np.newaxis]
        return self._smooth(every, SHOCK_AGES[np.newaxis, :])

    def _smooth(self, videos: IntArray, age: FloatArray) -> FloatArray:
        delay, decay, evergreen = self.delay[videos], self.decay[videos], self.evergreen[videos]
        saturating = (1 - (1 + age / delay) ** -decay) / (1 - (1 + FULL_AGE / delay) ** -decay)
        endless = np.log1p(age / 168) / np.log1p(FULL_AGE / 168)
        return (1 - evergreen) * saturating + evergreen * endless

    def _wave(self, videos: IntArray, age: FloatArray) -> FloatArray:
        """Give the second wave of a video that breaks out, as a multiple of its scale."""
        at, width = self.breakout_age[videos], self.breakout_width[videos]
        risen = 1 / (1 + np.exp(-np.clip((age - at) / width, -50, 50)))
        before = 1 / (1 + np.exp(np.clip(at / width, -50, 50)))
        return self.breakout_size[videos] * np.maximum(risen - before, 0.0)


def shock_factors(normals: FloatArray) -> FloatArray:
    """Turn standard normals, a column per age interval, into factors with mean one."""
    assert normals.shape[1] == SHOCKS == len(SHOCK_AGES)
    return np.exp(SHOCK_SPREAD * normals - SHOCK_SPREAD**2 / 2)


def _swing(time: float | FloatArray, peak_hour: FloatArray) -> FloatArray:
    turn = 2 * np.pi * (np.asarray(time) % DAY / HOUR - peak_hour) / 24
    return _DAILY_SWING * 24 / (2 * np.pi) * np.sin(turn)
