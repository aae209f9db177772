"""What collection will cost: units a day and bucket for the days to come, by number of channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from ingestion import planner
from ingestion.discovery import FIRST_SIGHT
from ingestion.errors import IngestionError
from ingestion.quota import DAILY_LIMITS, LIST, STATISTICS
from ingestion.youtube import MAX_IDS

FloatArray = NDArray[np.float64]

DAYS = 14
# Of a channel of which nothing is known yet.
USUAL_UPLOADS_PER_DAY = 0.28
# Requests that are not full, retries, checks of what is missing.
_OVERHEAD = 1.1
_DAY = timedelta(days=1)

_AGES = text("""
    SELECT extract(epoch FROM CAST(:now AS timestamptz) - published_at) / 86400.0 AS age
    FROM collection_targets
    WHERE world = :world AND kind = 'video' AND gone_at IS NULL
        AND published_at > CAST(:now AS timestamptz) - interval '120 days'
""")
_CHANNELS = text("""
    SELECT c.last_observed_at IS NULL AS is_new, (
        SELECT count(*) FROM collection_targets v WHERE v.kind = 'video'
            AND v.channel_id = c.target_id
            AND v.published_at > CAST(:now AS timestamptz) - interval '28 days'
    ) AS uploads
    FROM collection_targets c WHERE c.world = :world AND c.kind = 'channel' AND c.gone_at IS NULL
""")


class QuotaTooSmall(IngestionError):
    """More is to be collected than a day's units pay for."""


@dataclass(frozen=True)
class Load:
    """What is collected.

    Attributes:
        video_ages_days: Ages of the videos that are watched.
        uploads_per_day: A value per channel that was read before.
        new_channels: Channels whose uploads were never read.
    """

    video_ages_days: FloatArray
    uploads_per_day: FloatArray
    new_channels: int = 0

    @property
    def channels(self) -> int:
        """Count the channels."""
        return len(self.uploads_per_day) + self.new_channels

    def with_channels(self, count: int) -> "Load":
        """Give the load with as many more new channels."""
        return Load(self.video_ages_days, self.uploads_per_day, self.new_channels + count)

    def scaled_to(self, channels: int) -> "Load":
        """Give the load of another number of channels of the same kinds, all of them known."""
        rates = self.uploads_per_day
        if not rates.size:
            rates = np.array([USUAL_UPLOADS_PER_DAY])
        known = np.resize(rates, channels)
        times = channels / max(len(self.uploads_per_day), 1)
        ages = self.video_ages_days
        if not self.uploads_per_day.size:
            ages = np.repeat(np.arange(90) + 0.5, max(round(USUAL_UPLOADS_PER_DAY * channels), 1))
            times = 1.0
        return Load(np.resize(ages, round(len(ages) * times)), known)


def read_load(engine: Engine, world: str, now: datetime) -> Load:
    """Read what is collected of a world."""
    asked = {"world": world, "now": now}
    with engine.connect() as connection:
        ages = np.array([float(a) for a in connection.scalars(_AGES, asked)])
        channels = connection.execute(_CHANNELS, asked).all()
    rates = np.array([row.uploads / 28 for row in channels if not row.is_new], dtype=float)
    return Load(ages, rates, sum(row.is_new for row in channels))


def forecast(
    load: Load, days: int = DAYS, limit: int = DAILY_LIMITS[LIST]
) -> dict[str, FloatArray]:
    """Give the units of each bucket on each of the next days.

    Channels that are new are read for the first time as fast as the units of a day allow, so that
    their first days may be full; what counts is whether the days after them are not.
    """
    rate = float(load.uploads_per_day.sum()) + load.new_channels * USUAL_UPLOADS_PER_DAY
    described, counted = np.zeros(days), np.zeros(days)
    cohorts: list[tuple[FloatArray, float, int]] = [(load.video_ages_days, 1.0, 0)]
    cohorts += [(np.array([0.5]), rate, day) for day in range(days)]
    history: FloatArray = np.arange(1, 90, dtype=np.float64) + 0.5
    cohorts.append((history, load.new_channels * USUAL_UPLOADS_PER_DAY, 0))
    for ages, weight, born in cohorts:
        for day in range(born, days):
            often, deep = looks_per_day(ages + day - born)
            described[day] += weight * deep.sum() / MAX_IDS
            counted[day] += weight * (often - deep).sum() / MAX_IDS
    listed = described + _channel_units(load) + rate
    first_sight = load.new_channels * (1 + FIRST_SIGHT / MAX_IDS)
    for day in range(days):  # the first reading takes what the daily work leaves
        spent = min(first_sight, max(limit - listed[day] * _OVERHEAD, 0) / _OVERHEAD)
        listed[day] += spent
        first_sight -= spent
    return {LIST: listed * _OVERHEAD, STATISTICS: counted * _OVERHEAD}


def _channel_units(load: Load) -> float:
    """Give the units a day for channels' own counts and for uploads read by rhythm."""
    shortest, longest = (span / _DAY for span in planner.UPLOADS_BETWEEN)
    rates = np.concatenate(
        [load.uploads_per_day, np.full(load.new_channels, USUAL_UPLOADS_PER_DAY)]
    )
    gaps = np.clip(1 / np.maximum(rates, 1e-9), shortest, longest)
    looks = load.channels * (_DAY / planner.CHANNEL_EVERY) / MAX_IDS
    return float(looks + (1 / gaps).sum())


def looks_per_day(ages_days: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give how often videos of these ages are looked at, and how often with their descriptions."""
    often, deep = np.zeros(len(ages_days)), np.zeros(len(ages_days))
    younger = np.zeros(len(ages_days), dtype=bool)
    for until, every in planner.AGE_TIERS:
        tier = ~younger & (ages_days < until / _DAY)
        often[tier] = _DAY / every
        younger |= tier
    new = ages_days < planner.DESCRIBED_UNTIL / _DAY
    deep[younger] = 1 / 7
    deep[new] = often[new]
    return often, np.minimum(deep, often)


def require_capacity(load: Load, limits: Mapping[str, int] = DAILY_LIMITS) -> None:
    """Raise QuotaTooSmall where the last of the coming days costs more than its units."""
    for bucket, units in forecast(load).items():
        if units[-1] > limits[bucket]:
            raise QuotaTooSmall(
                f"{load.channels:,} channels would cost about {units[-1]:,.0f} units of the bucket "
                f"{bucket!r} a day, of which there are {limits[bucket]:,}: watch fewer, ask "
                "YouTube for more units, or say --force to fall behind"
            )


def outlook(load: Load, numbers: Sequence[int], days: int) -> list[dict[str, Any]]:
    """Give the units a day for the channels that are watched, twice as many, and others."""
    loads = [load, *(load.scaled_to(n) for n in sorted({2 * load.channels, *numbers} - {0}))]
    rows = []
    for one in loads:
        units = forecast(one, days)
        fits = all(units[bucket][-1] <= DAILY_LIMITS[bucket] for bucket in units)
        told = {bucket: np.ceil(values).astype(int).tolist() for bucket, values in units.items()}
        rows.append({"channels": one.channels, **told, "fits": fits})
    return rows


def most_channels(load: Load, limits: Mapping[str, int] = DAILY_LIMITS) -> int:
    """Give how many channels of the kinds watched can be served."""
    low, high = 0, 200_000
    while high - low > 100:
        middle = (low + high) // 2
        units = forecast(load.scaled_to(middle), days=1)
        fits = all(units[bucket][-1] <= limits[bucket] for bucket in units)
        low, high = (middle, high) if fits else (low, middle)
    return low
