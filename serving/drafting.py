"""The use case of drafts: what a creator knows, and the channel's features -> model -> forecast."""

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from feature_repo.statuses import age_limit_seconds
from feature_repo.transformations.declared import DEFAULT
from serving.answers import new_forecast_id
from serving.champion import Champion
from serving.contracts import Draft, DraftComparison
from serving.counts_told import metric_answers
from serving.draft_model import DraftModel, Drafts
from serving.errors import UnknownChannel
from serving.forecast_log import ForecastLog, ForecastRecord, document
from serving.metrics import ServingMetrics
from serving.online_features import FloatArray, OnlineFeatures
from serving.question import Question

_COMPARED_DAYS = (7, 1, 3, 30)


class Drafter:
    """Answers questions about videos that are not uploaded yet."""

    def __init__(
        self,
        features: OnlineFeatures,
        champion: Champion[DraftModel],
        log: ForecastLog,
        now: Callable[[], datetime],
        metrics: ServingMetrics,
        max_age_seconds: float,
    ) -> None:
        self._features = features
        self.champion = champion
        self._log = log
        self._now = now
        self._metrics = metrics
        self._max_age_seconds = max_age_seconds

    async def forecast(self, draft: Draft, question: Question) -> bytes:
        """Forecast a draft, in JSON.

        Raises:
            ModelUnavailable: There is no model for drafts.
            UnknownChannel: Nothing is stored of the channel.
            FeaturesUnavailable: The online store does not answer.
        """
        model = self.champion.model()
        planned = _planned(draft, self._now())
        channel, observed = await self._channel(model, draft.channel_id, planned)
        features, tier, counted = await asyncio.to_thread(
            _predict, model, as_arrays([draft], self._now()), channel, question.days
        )
        quantiles = np.rint(counted[0]).tolist()
        missing = [model.columns[at] for at in np.flatnonzero(np.isnan(features[0])).tolist()]
        reasons = self._reasons(observed, planned)
        forecast_id = new_forecast_id()
        told = orjson.dumps(
            {
                "forecast_id": forecast_id,
                "channel_id": draft.channel_id,
                "world": model.world,
                "as_of": datetime.fromtimestamp(planned, UTC),
                "observed_at": datetime.fromtimestamp(observed, UTC),
                "tier": tier,
                "model_version": model.version,
                "model_digest": model.digest,
                "degraded": bool(reasons),
                "degraded_reasons": reasons,
                "missing_features": missing,
                "metrics": metric_answers(model, question, {}, quantiles, planned),
            },
            option=orjson.OPT_UTC_Z,
        )
        self._log.append(
            ForecastRecord(
                forecast_id=forecast_id,
                asked_at=self._now(),
                as_of=datetime.fromtimestamp(planned, UTC),
                situation=model.situation,
                world=model.world,
                video_id=None,
                channel_id=draft.channel_id,
                model_version=model.version,
                model_digest=model.digest,
                request=document(question.logged() | {"draft": draft.model_dump(mode="json")}),
                layout=model.layout,
                features=features[0],
                counts={},
                tier=tier,
                source="online_store",
                observed_at=observed,
                views=("channel_track_record",),
                event_times=[observed],
                degraded=reasons,
                answer=told,
            )
        )
        self._metrics.count_forecasts(["degraded" if reasons else "answered"])
        return told

    async def compare(self, channel_id: str, drafts: Sequence[Draft]) -> DraftComparison:
        """Rank variants of one video by what their forecasts differ; raises as `forecast` does.

        All variants share the channel, so what is uncertain about it cancels in the differences.
        How much of a draft's error they share is not known: a difference counts only beyond half
        the interval's width.
        """
        model = self.champion.model()
        planned = min(_planned(draft, self._now()) for draft in drafts)
        channel, _ = await self._channel(model, channel_id, planned)
        supported = model.supported_days[model.position_of["views"]]
        day = next((day for day in _COMPARED_DAYS if day in supported), min(supported))
        arrays = as_arrays(drafts, self._now())
        _, tier, counted = await asyncio.to_thread(_predict, model, arrays, channel, (day,))
        at = model.position_of["views"]
        medians = np.log10(1.0 + counted[:, at, 0, 1])
        order = np.argsort(-medians, kind="stable").tolist()
        threshold = model.half_width(tier, at, day)
        lead = float(medians[order[0]] - medians[order[1]])
        return DraftComparison.model_validate(
            {
                "channel_id": channel_id,
                "metric": "views",
                "horizon_days": day,
                "can_tell": lead > threshold,
                "best": order[0] if lead > threshold else None,
                "threshold_log10": threshold,
                "model_version": model.version,
                "ranking": [
                    {
                        "variant": one,
                        "title": drafts[one].title,
                        "p50": round(float(counted[one, at, 0, 1])),
                        "difference_log10": float(medians[one] - medians[order[0]]),
                        "times_the_best": float(10.0 ** (medians[one] - medians[order[0]])),
                        "is_told_apart": float(medians[order[0]] - medians[one]) > threshold,
                    }
                    for one in order
                ],
            }
        )

    async def _channel(
        self, model: DraftModel, channel_id: str, as_of: float
    ) -> tuple[FloatArray, float]:
        found = await self._features.read_channels(model.plan, [channel_id])
        values, times = found[channel_id]
        if times[0] != times[0]:  # NaN: no row
            raise UnknownChannel(channel_id)
        return np.full_like(values, DEFAULT) if _is_out(times[0], as_of) else values, times[0]

    def _reasons(self, observed: float, planned: float) -> list[str]:
        reasons = []
        is_old = observed < self._now().timestamp() - self._max_age_seconds
        if is_old or _is_out(observed, planned):
            reasons.append("stale_features")
        if not self.champion.is_confirmed:
            reasons.append("model_unconfirmed")
        return reasons


def _is_out(observed: float, as_of: float) -> bool:
    """Tell whether a channel's features are too old to be read at a moment."""
    return as_of - observed > age_limit_seconds("channel_track_record")


def as_arrays(drafts: Sequence[Draft], now: datetime) -> Drafts:
    """Give drafts as the arrays that transformations take; as with YouTube, no tags are null."""
    return Drafts(
        [draft.title for draft in drafts],
        [draft.description for draft in drafts],
        [draft.tags or None for draft in drafts],
        np.array([_or_nan(draft.category_id) for draft in drafts]),
        np.array([_or_nan(draft.duration_seconds) for draft in drafts]),
        np.array([_planned(draft, now) for draft in drafts]),
    )


def _planned(draft: Draft, now: datetime) -> float:
    return float(math.floor((draft.planned_at or now).timestamp()))


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _predict(
    model: DraftModel, drafts: Drafts, channel: FloatArray, days: Sequence[int]
) -> tuple[Any, str, FloatArray]:
    features, tier = model.read(drafts, channel)
    return features, tier, model.predict(features, tier, days)
