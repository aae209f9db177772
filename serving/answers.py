"""From quantiles to the answer a client reads and the record that is logged; pure."""

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from feature_repo.segments import TIERS
from feature_repo.targets import METRICS, QUANTILES
from serving.contracts import DEFAULT_DAYS, DegradedReason, Reason
from serving.draft_model import DraftModel
from serving.fallback import Source
from serving.forecast_log import ForecastRecord, VectorLayout, document
from serving.model import LoadedModel, ModelInput
from serving.online_features import StoredVector

# A simulated clock is read a few times a second; what it lags by then is no fault of the data's.
CLOCK_TOLERANCE_SECONDS = 1.0

# Stands in a form for a count; what a count will never be.
_FIRST_PLACE, _PLACE = 10**15, re.compile(rb"\b1000000000000\d{3}\b")


class Question(NamedTuple):
    """What is asked about each video: whole days ahead, ascending, and metrics."""

    days: tuple[int, ...] = DEFAULT_DAYS
    metrics: tuple[str, ...] = METRICS

    def logged(self) -> dict[str, Any]:
        """Give the question as it is logged."""
        return {"days": self.days, "metrics": self.metrics}


class Circumstances(NamedTuple):
    """What holds for every answer of one request; `second` is `now` without its fraction."""

    model: LoadedModel
    is_model_confirmed: bool
    question: Question
    asked_at: datetime
    now: float
    second: float
    max_age_seconds: float


class Basis(NamedTuple):
    """What an answer rests on, and where it was had from.

    Attributes:
        source: Where the features come from.
        read_seconds_ago: How long ago they were read, unless just now.
        observed_at: When the counts were read at YouTube, epoch seconds.
        counts: Present counts, in the order of the model's metrics; NaN when hidden.
        tier: The channel's.
        features: The model's inputs; None for curves, which have none.
        missing: The model's columns that were null.
    """

    video_id: str
    channel_id: str | None
    event_times: list[float]
    source: Source
    read_seconds_ago: float | None
    observed_at: float
    counts: Sequence[float]
    tier: str
    features: Any
    missing: Sequence[str]


def basis(
    model: LoadedModel,
    vector: StoredVector,
    given: ModelInput,
    row: int,
    read_seconds_ago: float | None,
) -> Basis:
    """Give what the model's answer about one video rests on."""
    return Basis(
        vector.video_id,
        vector.channel_id,
        vector.event_times,
        "online_store" if read_seconds_ago is None else "recent_features",
        read_seconds_ago,
        float(vector.values[model.observed_at]),
        given.counts[row].tolist(),
        TIERS[given.tiers[row]],
        given.features[row],
        _chosen(model.layout, given.missing[row].tobytes()),
    )


def answer(
    asked: Circumstances, seen: Basis, as_of_seconds: float, quantiles: list[list[list[float]]]
) -> ForecastRecord:
    """Compose the answer about one video.

    Args:
        asked: The request.
        seen: What the answer rests on.
        as_of_seconds: The moment the forecast is as of.
        quantiles: Rounded counts, by metric of the model, horizon and quantile; NaN for none.
    """
    model = asked.model
    as_of = _instant(as_of_seconds)
    reasons = _degraded_reasons(asked, seen)
    counts = dict(zip(model.metrics, seen.counts, strict=True))
    forecast_id = new_forecast_id()
    told = orjson.dumps(
        {
            "forecast_id": forecast_id,
            "video_id": seen.video_id,
            "channel_id": seen.channel_id,
            "world": model.world,
            "as_of": as_of,
            "observed_at": _instant(seen.observed_at),
            "feature_age_seconds": as_of_seconds - seen.observed_at,
            "features_from": seen.source,
            "features_read_seconds_ago": seen.read_seconds_ago,
            "model_version": model.version,
            "model_digest": model.digest,
            "degraded": bool(reasons),
            "degraded_reasons": reasons,
            "missing_features": seen.missing,
            "metrics": _metrics_told(model, asked.question, counts, quantiles, as_of_seconds),
        },
        option=orjson.OPT_UTC_Z,
    )
    return ForecastRecord(
        forecast_id=forecast_id,
        asked_at=asked.asked_at,
        as_of=as_of,
        situation=model.situation,
        world=model.world,
        video_id=seen.video_id,
        channel_id=seen.channel_id,
        model_version=model.version,
        model_digest=model.digest,
        request=_logged(asked.question),
        layout=model.layout,
        features=seen.features,
        counts=counts,
        tier=seen.tier,
        source=seen.source,
        observed_at=seen.observed_at,
        views=model.plan.views,
        event_times=seen.event_times,
        degraded=reasons,
        answer=told,
    )


@lru_cache(maxsize=256)
def _logged(question: Question) -> bytes:
    return document(question.logged())


def new_forecast_id() -> str:
    """Draw a random UUID (version 4, RFC 9562), without the cost of making it an object first."""
    drawn = os.urandom(16).hex()
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-8{drawn[17:20]}-{drawn[20:]}"


def _metrics_told(
    model: LoadedModel,
    question: Question,
    counts: Mapping[str, float],
    quantiles: list[list[list[float]]],
    as_of_seconds: float,
) -> Any:
    """Give `metric_answers` as JSON, or as they are where there is a number missing."""
    form = _form(model, question, as_of_seconds)
    if form is not None:
        numbers: list[float] = []
        for metric in question.metrics:
            numbers.append(counts[metric])
            for ahead in quantiles[model.position_of[metric]]:
                numbers += ahead
        try:
            return orjson.Fragment(form % tuple(numbers))
        except ValueError:
            pass  # a count is hidden: NaN is no number
    return metric_answers(model, question, counts, quantiles, as_of_seconds)


@lru_cache(maxsize=256)
def _form(model: LoadedModel, question: Question, as_of_seconds: float) -> bytes | None:
    """Give `metric_answers` as JSON with a place for each number, in the order of the question.

    Most answers of a moment differ in their numbers alone. None where some are never told.
    """
    positions = model.position_of
    if not all(
        metric in positions and model.supported_days[positions[metric]].issuperset(question.days)
        for metric in question.metrics
    ):
        return None
    places = map(float, itertools.count(_FIRST_PLACE))
    counts: dict[str, float] = {}
    quantiles: list[list[list[float]]] = [[] for _ in positions]
    for metric in question.metrics:
        counts[metric] = next(places)
        quantiles[positions[metric]] = [
            list(itertools.islice(places, len(QUANTILES))) for _ in question.days
        ]
    told = orjson.dumps(metric_answers(model, question, counts, quantiles, as_of_seconds))
    return _PLACE.sub(b"%d", told.replace(b"%", b"%%"))


def metric_answers(
    model: LoadedModel | DraftModel,
    question: Question,
    counts: Mapping[str, float],
    quantiles: list[list[list[float]]],
    as_of_seconds: float,
) -> dict[str, Any]:
    """Give the numbers of an answer: all that a replay has to repeat."""
    moments = moments_ahead(as_of_seconds, question.days)
    days, supported, positions = question.days, model.supported_days, model.position_of
    answers = {}
    for metric in question.metrics:
        current = counts.get(metric, float("nan"))
        at = positions.get(metric)
        if at is None:
            ahead = [_none(day, moments[n], "metric_not_supported") for n, day in enumerate(days)]
        else:
            own, known = quantiles[at], supported[at]
            ahead = [
                _horizon(day, moments[n], own[n], is_supported=day in known)
                for n, day in enumerate(days)
            ]
        answers[metric] = {
            "current": int(current) if current == current else None,  # NaN is not itself
            "forecasts": ahead,
        }
    return answers


@lru_cache(maxsize=256)
def _chosen(layout: VectorLayout, is_chosen: bytes) -> list[str]:
    """Name the columns that are marked; never changed by who gets it."""
    return list(itertools.compress(layout.columns, is_chosen))


@lru_cache(maxsize=1024)
def _instant(epoch_seconds: float) -> datetime:
    return datetime.fromtimestamp(epoch_seconds, UTC)


@lru_cache(maxsize=256)
def moments_ahead(as_of_seconds: float, days: tuple[int, ...]) -> list[str]:
    """Give the moments that lie some days after another, in ISO 8601."""
    as_of = datetime.fromtimestamp(as_of_seconds, UTC)
    return [
        (as_of + timedelta(days=day)).isoformat().replace("+00:00", "Z") for day in days
    ]  # fmt: skip


def _horizon(day: int, moment: str, values: list[float], *, is_supported: bool) -> dict[str, Any]:
    if not is_supported:
        return _none(day, moment, "horizon_not_supported")
    p10, p50, p90 = values
    if p50 != p50:  # NaN
        return _none(day, moment, "count_hidden")
    return {
        "horizon_days": day, "at": moment, "p10": int(p10), "p50": int(p50), "p90": int(p90),
        "reason": None,
    }  # fmt: skip


def _none(day: int, moment: str, reason: Reason) -> dict[str, Any]:
    return {
        "horizon_days": day, "at": moment, "p10": None, "p50": None, "p90": None, "reason": reason,
    }  # fmt: skip


def _degraded_reasons(asked: Circumstances, seen: Basis) -> list[DegradedReason]:
    reasons: list[DegradedReason] = []
    if seen.source != "online_store":
        reasons += ["online_store_unavailable", seen.source]
    oldest, lacks_channel = seen.observed_at, False
    for time in seen.event_times[len(asked.model.plan.video.views) :]:
        oldest = min(oldest, time)
        lacks_channel |= time != time  # NaN: no row
    if oldest < asked.now - asked.max_age_seconds:
        reasons.append("stale_features")
    if lacks_channel:
        reasons.append("channel_features_missing")
    if seen.observed_at > asked.now + CLOCK_TOLERANCE_SECONDS:
        reasons.append("clock_behind_data")
    if not asked.is_model_confirmed:
        reasons.append("model_unconfirmed")
    return reasons
