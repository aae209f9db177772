"""From quantiles to the answer a client reads and the record that is logged; pure."""

import itertools
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from feature_repo.segments import TIERS
from serving.contracts import DegradedReason
from serving.fallback import Source
from serving.forecast_log import ForecastRecord, VectorLayout, document
from serving.model import LoadedModel, ModelInput
from serving.online_features import StoredVector
from serving.question import Question

# A simulated clock is read a few times a second; what it lags by then is no fault of the data's.
CLOCK_TOLERANCE_SECONDS = 1.0


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


def answer(asked: Circumstances, seen: Basis, as_of_seconds: float, metrics: Any) -> ForecastRecord:
    """Compose the answer about one video.

    Args:
        asked: The request.
        seen: What the answer rests on.
        as_of_seconds: The moment the forecast is as of.
        metrics: What `metric_answers` gives, or its JSON.
    """
    model = asked.model
    as_of = _instant(as_of_seconds)
    reasons = _degraded_reasons(asked, seen)
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
            "metrics": metrics,
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
        counts=dict(zip(model.metrics, seen.counts, strict=True)),
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


@lru_cache(maxsize=256)
def _chosen(layout: VectorLayout, is_chosen: bytes) -> list[str]:
    """Name the columns that are marked; never changed by who gets it."""
    return list(itertools.compress(layout.columns, is_chosen))


@lru_cache(maxsize=1024)
def _instant(epoch_seconds: float) -> datetime:
    return datetime.fromtimestamp(epoch_seconds, UTC)


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
