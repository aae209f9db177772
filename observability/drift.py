"""Which inputs, forecasts and truths moved, and what that does to forecasts; pure."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_repo.segments import AGE_BAND_EDGES_HOURS, AGE_BANDS, view_definition
from observability.asked import Vectors
from observability.distances import (
    Distances,
    distances,
    effective_size,
    index,
    mapped_to,
)

FloatArray = NDArray[np.float64]
Predict = Callable[[FloatArray], FloatArray]
Status = Literal["stable", "drifted", "too_few", "view_definition_changed"]

# Sample floors: below them a distance says more about chance than about the world.
MIN_ROWS = 200
MIN_CHANNELS = 100
# The rule of thumb of those who use PSI: from 0.25 on, act. What chance gives is allowed on top.
PSI_LIMIT = 0.25
CHANCE_FACTOR = 2.0
EFFECT_ROWS = 1_000
# A day from which on a feature is another is named when the halves differ beyond any doubt.
_CLEAR_CHANGE = 6.0
_DAY = 86_400.0
# Places of a truth among p10, p50 and p90, as an 80 % interval promises.
TRUTH_SHARES = np.array([0.1, 0.4, 0.4, 0.1])


class Drift(NamedTuple):
    """One feature, forecast or truth, now against the reference.

    Attributes:
        kind: `feature`; `forecast`: the median growth answered; `label`: where truths fell
            among the quantiles, against the shares that an 80 % interval promises.
        reference_rows: Effective number, after matching the ages that are asked about.
        effect: Mean change of the 7-day views forecast, in decades, had the reference's rows this
            feature's present values: drift times importance. None where not a feature.
        changed_since: The day on which it became another, where that is clear.
    """

    kind: Literal["feature", "forecast", "label"]
    name: str
    status: Status
    reference_rows: float
    current_rows: int
    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    effect: float | None = None
    changed_since: datetime | None = None
    note: str | None = None


def age_bands(age_hours: FloatArray) -> NDArray[np.str_]:
    """Name the age band of each row."""
    return np.array(AGE_BANDS)[np.digitize(age_hours, AGE_BAND_EDGES_HOURS)]


def counted_anew(asked: Vectors, trained_until: datetime) -> float:
    """Give the share of videos whose views are counted otherwise than in training."""
    known = asked.definition != ""
    if not known.any():
        return 0.0
    then = [view_definition(str(format_), trained_until) for format_ in asked.format[known]]
    return float(np.mean(asked.definition[known] != np.array(then)))


def feature_drift(
    names: Sequence[str],
    reference: FloatArray,
    asked: Vectors,
    weights: FloatArray,
    predict: Predict,
    *,
    is_counted_anew: bool,
    seed: int,
) -> list[Drift]:
    """Compare every feature; the one that moves forecasts most comes first.

    Args:
        names: The model's columns.
        reference: Shape (rows, len(names)).
        asked: What was asked of late.
        weights: Of the reference's rows.
        predict: The model, from features to decades of growth.
        is_counted_anew: What a view is has changed since training: what is made of views is then
            no drift of the world, and told apart.
        seed: Of the rows on which effects are measured.
    """
    random = np.random.default_rng(seed)
    channels = len(np.unique(asked.channel_id))
    rows = _drawn(len(reference), weights, random)
    base = predict(reference[rows]) if len(rows) else np.zeros(0)
    found = []
    for at, name in enumerate(names):
        was, now = reference[:, at], asked.features[:, at]
        of_channel = "channel" in name
        enough = len(now) >= MIN_ROWS and effective_size(weights) >= MIN_ROWS
        if not enough or (of_channel and channels < MIN_CHANNELS):
            found.append(Drift("feature", name, "too_few", effective_size(weights), len(now)))
            continue
        apart = distances(was, weights, now)
        moved = reference[rows].copy()
        moved[:, at] = mapped_to(moved[:, at], np.ones(len(rows)), now, random)
        effect = float(np.mean(np.abs(predict(moved) - base)))
        status = _status(apart, effective_size(weights), channels if of_channel else len(now))
        since = change_day(now, asked.as_of) if status == "drifted" else None
        if status == "drifted" and is_counted_anew and "view" in name:
            status = "view_definition_changed"
        found.append(
            Drift(
                "feature", name, status, effective_size(weights), len(now),
                apart.psi, apart.ks, apart.wasserstein, effect, since, _in_words(was, now, weights),
            )
        )  # fmt: skip
    return sorted(found, key=lambda drift: -(drift.effect or 0.0))


def forecast_drift(
    name: str,
    reference: FloatArray,
    weights: FloatArray,
    current: FloatArray,
    channels: int,
    *,
    is_new: bool,
) -> Drift:
    """Compare the median growth answered of late with that for the reference's rows.

    Videos of a channel grow alike: what chance may do goes by the number of channels asked about.
    """
    size = effective_size(weights)
    if min(len(current), size) < MIN_ROWS:
        return Drift("forecast", name, "too_few", size, len(current))
    apart = distances(reference, weights, current)
    status = _status(apart, size, min(channels, len(current)))
    if status == "drifted" and is_new:
        status = "view_definition_changed"
    note = _in_words(reference, current, weights)
    return Drift("forecast", name, status, size, len(current), *_measures(apart), note=note)


def label_drift(name: str, places: FloatArray, channels: int) -> Drift:
    """Compare where truths fell among the quantiles with the shares they promise.

    As with forecasts, what chance may do goes by the number of channels whose truths they are.
    """
    total = float(places.sum())
    if total < MIN_ROWS:
        return Drift("label", name, "too_few", float("inf"), int(total))
    shares = places / total
    psi = index(TRUTH_SHARES, shares, 1e9, total)
    ks = float(np.max(np.abs(np.cumsum(shares - TRUTH_SHARES))))
    limit = PSI_LIMIT + CHANCE_FACTOR * (len(places) - 1) / min(channels, total)
    note = f"{shares[1] + shares[2]:.0%} inside the interval, {shares[2] + shares[3]:.0%} above p50"
    status: Status = "drifted" if psi > limit else "stable"
    return Drift("label", name, status, float("inf"), int(total), psi, ks, note=note)


def change_day(values: FloatArray, as_of: FloatArray) -> datetime | None:
    """Name the day from which on a feature is another; None where no day stands out.

    The day that splits the values into the two most different parts (two-sample t), tried for the
    values and for their being null.
    """
    day = np.floor(as_of / _DAY)
    ranks = np.searchsorted(np.sort(values[~np.isnan(values)]), values).astype(float)
    best, when = _CLEAR_CHANGE, None
    for signal in (ranks[~np.isnan(values)], np.isnan(values).astype(float)):
        days = day if len(signal) == len(day) else day[~np.isnan(values)]
        for border in np.unique(days)[1:]:
            t = _t(signal[days < border], signal[days >= border])
            if t > best:
                best, when = t, border
    if when is None:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=float(when))


def _t(before: FloatArray, after: FloatArray) -> float:
    if min(len(before), len(after)) < 20:
        return 0.0
    spread = np.sqrt(before.var() / len(before) + after.var() / len(after))
    gap = abs(float(before.mean() - after.mean()))
    if spread == 0:
        return np.inf if gap > 0 else 0.0
    return gap / float(spread)


def _status(apart: Distances, n: float, m: float) -> Status:
    chance = (apart.bins - 1) * (1.0 / n + 1.0 / m)
    return "drifted" if apart.psi > PSI_LIMIT + CHANCE_FACTOR * chance else "stable"


def _measures(apart: Distances) -> tuple[float, float | None, float | None]:
    return apart.psi, apart.ks, apart.wasserstein


def _drawn(count: int, weights: FloatArray, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw reference rows by weight, with replacement."""
    if weights.sum() == 0:
        return np.zeros(0, dtype=np.int64)
    return random.choice(count, EFFECT_ROWS, p=weights / weights.sum())


def _in_words(was: FloatArray, now: FloatArray, weights: FloatArray) -> str:
    """Say how the middle moved, and how much is null."""
    known = ~np.isnan(was)
    total = weights.sum()
    before = np.average(was[known], weights=weights[known]) if weights[known].any() else np.nan
    after = float(np.nanmean(now)) if not np.isnan(now).all() else np.nan
    null = weights[~known].sum() / total if total else np.nan
    return f"mean {before:.3g} -> {after:.3g}, null {null:.0%} -> {np.isnan(now).mean():.0%}"
