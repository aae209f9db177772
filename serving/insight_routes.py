"""Routes beside the forecasts of published videos: why, how unusual, channels, drafts, targets."""

from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from feature_repo.targets import MAX_HORIZON_DAYS
from feature_repo.transformations.declared import names
from feature_repo.transformations.titles import WORD_COUNTS
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES
from serving.contracts import (
    CHANNEL_ID_PATTERN,
    MAX_IDS,
    ChannelTrackRecord,
    ComparisonRequest,
    Draft,
    DraftComparison,
    DraftForecast,
    DraftRequest,
    Explanation,
    ForecastBatch,
    MetricName,
    Outlier,
    Scorecard,
    Target,
    TargetRequest,
)
from serving.dependencies import (
    ForecasterDependency,
    MomentDependency,
    QuestionDependency,
    VideoId,
)
from serving.errors import UnknownChannel
from serving.forecaster import Forecaster, Look
from serving.online_features import EntityPlan
from serving.question import Question
from serving.routes import JSON, batch_body, problems
from serving.tracking import parse_target, told

insights = APIRouter(prefix="/v1")

ChannelId = Annotated[str, Path(pattern=CHANNEL_ID_PATTERN, examples=["UCuAXFkgsw1L7xaCfnd5JJOw"])]
_CHANNEL_PLAN = EntityPlan.of(
    "channel_id",
    [
        ("channel_track_record", name)
        for name in names(TRACK_RECORD_FEATURES)
        if name not in WORD_COUNTS  # of hashed words: nothing that a person reads
    ],
)
_BAND = 1.4826 * 1.2816  # a median absolute deviation -> half of a normal's middle four fifths


@insights.get(
    "/videos/{video_id}/explanation",
    responses=problems(404, 409, 422, 503),
    tags=["insight"],
    summary="Explain a forecast",
)
async def explain(
    request: Request,
    video_id: VideoId,
    forecaster: ForecasterDependency,
    days: Annotated[int, Query(ge=1, le=MAX_HORIZON_DAYS)] = 7,
    metric: MetricName = "views",
    top: Annotated[int, Query(ge=1, le=50, description="Features told one by one")] = 10,
) -> Explanation:
    """Split a median into terms that add up: the present, usual growth, each feature's effect.

    The features' terms are exact tree SHAP values; one term is for what comes after the trees.
    """
    seen = await forecaster.look(video_id)
    explained = await request.state.explainer.explain(
        seen.model, seen.directory, seen.given, metric, days, top
    )
    return Explanation(
        video_id=video_id, as_of=seen.as_of, model_version=seen.model.version, **explained
    )


@insights.get(
    "/videos/{video_id}/outlier",
    responses=problems(404, 409, 422, 503),
    tags=["insight"],
    summary="Is a video unusual for its channel?",
)
async def outlier(video_id: VideoId, forecaster: ForecasterDependency) -> Outlier:
    """Set a video's views beside the channel's normal at the same age."""
    return _outlier(video_id, await forecaster.look(video_id))


@insights.get(
    "/channels/{channel_id}",
    responses=problems(404, 422, 503),
    tags=["channels"],
    summary="Show a channel's track record",
)
async def channel(
    channel_id: ChannelId, forecaster: ForecasterDependency, moment: MomentDependency
) -> ChannelTrackRecord:
    """Give what is usual for a channel, as the model reads it; null where unknown."""
    found = await forecaster.features.read_channels(_CHANNEL_PLAN, [channel_id])
    values, (observed,) = found[channel_id]
    if observed != observed:  # NaN: no row
        raise UnknownChannel(channel_id)
    age = moment().timestamp() - observed
    return ChannelTrackRecord(
        channel_id=channel_id,
        observed_at=datetime.fromtimestamp(observed, UTC),
        feature_age_seconds=age,
        is_stale=age > forecaster.max_age_seconds,
        features={
            name: None if value != value else value
            for (_, name), value in zip(_CHANNEL_PLAN.numbers, values.tolist(), strict=True)
        },
    )


@insights.get(
    "/channels/{channel_id}/forecasts",
    response_model=ForecastBatch,
    responses=problems(404, 422, 503),
    tags=["channels"],
    summary="Forecast a channel's latest videos",
)
async def channel_forecasts(
    request: Request,
    channel_id: ChannelId,
    question: QuestionDependency,
    forecaster: ForecasterDependency,
    last: Annotated[int, Query(ge=1, le=MAX_IDS, description="How many videos")] = 50,
) -> Response:
    """Forecast the latest videos seen of a channel, the latest first."""
    world = forecaster.champion.model().world
    video_ids = await request.state.warehouse.latest_videos(channel_id, world, last)
    if not video_ids:
        raise UnknownChannel(channel_id)
    request.state.guard.charge_more(request.scope, len(video_ids) - 1)
    outcomes = await forecaster.forecast(video_ids, question)
    return Response(batch_body(video_ids, outcomes), media_type=JSON)


@insights.post(
    "/drafts/forecast",
    response_model=DraftForecast,
    responses=problems(404, 413, 422, 503),
    tags=["drafts"],
    summary="Forecast a draft",
)
async def forecast_draft(request: Request, draft: DraftRequest) -> Response:
    """Forecast a video that is not uploaded yet, from what its creator knows and the channel."""
    question = Question(tuple(draft.days), tuple(draft.metrics))
    known = Draft.model_validate(draft.model_dump(exclude={"days", "metrics"}))
    return Response(await request.state.drafter.forecast(known, question), media_type=JSON)


@insights.post(
    "/drafts/compare",
    responses=problems(404, 413, 422, 503),
    tags=["drafts"],
    summary="Compare variants of a draft",
)
async def compare_drafts(request: Request, asked: ComparisonRequest) -> DraftComparison:
    """Rank two to ten variants by their views, or say that the model cannot tell."""
    drafts = [
        Draft.model_validate(variant.model_dump() | {"channel_id": asked.channel_id})
        for variant in asked.variants
    ]
    compared: DraftComparison = await request.state.drafter.compare(asked.channel_id, drafts)
    return compared


@insights.post(
    "/targets",
    responses=problems(413, 422, 503),
    tags=["targets"],
    summary="Track a video or channel",
)
async def track(
    request: Request,
    asked: TargetRequest,
    forecaster: ForecasterDependency,
    moment: MomentDependency,
) -> Target:
    """Have a video or channel observed from now on; tracking it twice changes nothing."""
    kind, target_id = parse_target(asked.target)
    warehouse, world, now = request.state.warehouse, _world(request, forecaster), moment()
    is_new, row = await warehouse.add_target(kind, target_id, world, now)
    return told(kind, target_id, row, await warehouse.quota_resets_at(world, now), is_new=is_new)


@insights.get(
    "/scorecard",
    response_model=Scorecard,
    responses=problems(503),
    tags=["insight"],
    summary="How past forecasts did",
)
async def scorecard(request: Request, forecaster: ForecasterDependency) -> Response:
    """Score past forecasts against what then happened, by metric, horizon and tier."""
    world = _world(request, forecaster)
    content: dict[str, Any] = {
        "world": world,
        "scores": await request.state.warehouse.scorecard(world),
    }
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), media_type=JSON)


def _world(request: Request, forecaster: Forecaster) -> str:
    """Name the world that is served; before there is a model, the one that the settings name."""
    current = forecaster.champion.current
    return str(request.state.world if current is None else current.world)


def _outlier(video_id: str, seen: Look) -> Outlier:
    read = dict(zip(seen.model.columns, seen.given.features[0].tolist(), strict=True))
    nan = float("nan")
    observed_at = float(seen.vector.values[seen.model.observed_at])
    views = float(seen.given.counts[0, seen.model.position_of["views"]])
    normal = read.get("channel_normal_log10_views", nan)
    spread = read.get("channel_early_spread", nan)
    difference = float(np.log10(1.0 + views)) - normal
    half = spread * _BAND
    verdict = "unknown"
    if difference == difference and half == half:  # neither is NaN
        verdict = "above" if difference > half else "below" if difference < -half else "within"
    return Outlier.model_validate(
        {
            "video_id": video_id,
            "channel_id": seen.vector.channel_id,
            "observed_at": datetime.fromtimestamp(observed_at, UTC),
            "age_hours": read.get("age_at_observation_hours", read.get("age_hours", nan)),
            "views": _whole(views),
            "normal_views": _whole(10.0**normal - 1.0),
            "times_normal": _known(10.0**difference),
            "difference_log10": _known(difference),
            "band_log10": None
            if half != half or normal != normal
            else (normal - half, normal + half),
            "verdict": verdict,
        }
    )


def _known(value: float) -> float | None:
    return None if value != value else value  # NaN


def _whole(value: float) -> int | None:
    return None if value != value else round(value)
