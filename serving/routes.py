"""The API over HTTP: parse, call, return."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, FastAPI, Request, Response

from serving.contracts import (
    Forecast,
    ForecastBatch,
    ForecastRequest,
    ModelDescription,
    Readiness,
    Receipt,
)
from serving.dependencies import (
    ForecasterDependency,
    MetricsDependency,
    MomentDependency,
    QuestionDependency,
    VideoId,
)
from serving.direct import DirectRoute
from serving.errors import (
    FeaturesUnavailable,
    NotReady,
    Problem,
    WarehouseUnavailable,
)
from serving.forecast_log import ForecastRecord
from serving.forecaster import Outcome
from serving.problems import PROBLEM_JSON
from serving.question import Question
from serving.receipts import kept_receipt, receipt_features
from serving.registry import model_name

JSON = "application/json"
_SURROGATE = re.compile("[\ud800-\udfff]")

_PROBLEMS = {
    404: "Unknown",
    409: "The video is of another world than the model",
    410: "The receipt was emptied by a purge",
    401: "No valid API key came with the request",
    403: "The API key lacks the scope",
    413: "The body is too large",
    422: "Not as documented",
    429: "The rate limit is reached",
    503: "A model, the online store, the log or the API keys are not there now",
}

api = APIRouter(prefix="/v1")
operations = APIRouter(tags=["operations"])
exposition = APIRouter(tags=["operations"])


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the problems a route may answer with."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {
            "description": _PROBLEMS[status],
            "content": {PROBLEM_JSON: {"schema": schema}},
        }
        for status in (*statuses, 401, 403, 429)
    }


# Forecasts are composed as JSON once, for the answer and for the log: a Response made of it skips
# FastAPI's second serialization. A test holds every answer against the documented contract.
async def forecast_video(
    video_id: VideoId, question: QuestionDependency, forecaster: ForecasterDependency
) -> Response:
    """Say how many views, likes and comments a tracked video will have, with 80 % intervals."""
    outcome = await forecaster.forecast_one(video_id, question)
    if isinstance(outcome, Problem):
        raise outcome
    return Response(outcome.answer, media_type=JSON)


def install(app: FastAPI, *, has_metrics: bool) -> None:
    """Add all routes; the one asked most comes first."""
    app.router.add_api_route(
        "/v1/videos/{video_id}/forecast",
        forecast_video,
        route_class_override=DirectRoute,
        response_model=Forecast,
        responses=problems(404, 409, 422, 503),
        tags=["forecasts"],
        summary="Forecast a video",
    )
    app.router.routes.insert(0, app.router.routes.pop())  # before FastAPI's own of the document
    from serving.insight_routes import insights  # it builds on this module

    app.include_router(api)
    app.include_router(insights)
    app.include_router(operations)
    if has_metrics:
        app.include_router(exposition)


@api.post(
    "/forecasts",
    response_model=ForecastBatch,
    responses=problems(413, 422, 503),
    tags=["forecasts"],
    summary="Forecast many videos",
)
async def forecast_videos(
    request: Request, asked: ForecastRequest, forecaster: ForecasterDependency
) -> Response:
    """Forecast up to 1,000 videos; an id without a forecast is an entry with an error."""
    request.state.guard.charge_more(request.scope, len(asked.video_ids) - 1)
    question = Question(tuple(asked.days), tuple(asked.metrics))
    outcomes = await forecaster.forecast(asked.video_ids, question)
    return Response(batch_body(asked.video_ids, outcomes), media_type=JSON)


def batch_body(video_ids: Sequence[str], outcomes: Sequence[Outcome]) -> bytes:
    """Give one entry per id, in order: a forecast or an error."""
    entries = [
        outcome.answer
        if isinstance(outcome, ForecastRecord)
        else orjson.dumps({"video_id": _readable(video_id), "error": outcome.body()})
        for video_id, outcome in zip(video_ids, outcomes, strict=True)
    ]
    return b'{"forecasts":[' + b",".join(entries) + b"]}"


def _readable(text: str) -> str:
    # JSON may name half a surrogate pair; UTF-8 and most readers of JSON have no such character.
    return _SURROGATE.sub("\ufffd", text)


@api.get(
    "/forecasts/{forecast_id}",
    response_model=Receipt,
    responses=problems(404, 410, 422, 503),
    tags=["forecasts"],
    summary="Read a forecast's receipt",
)
async def receipt(
    request: Request, forecast_id: UUID, forecaster: ForecasterDependency
) -> Response:
    """Show a forecast as it was logged: the question, the vector, the model, the answer.

    A forecast is logged a moment after it is answered.
    """
    found = kept_receipt(forecast_id, await forecaster.log.read(forecast_id))
    try:
        outcomes = await request.state.warehouse.outcomes(forecast_id)
    except WarehouseUnavailable:
        outcomes = None
    content = found | {"features": receipt_features(found), "outcomes": outcomes}
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), media_type=JSON)


@api.get(
    "/model",
    response_model=ModelDescription,
    responses=problems(503),
    tags=["forecasts"],
    summary="Describe the model being served",
)
async def describe_model(forecaster: ForecasterDependency) -> ModelDescription:
    """Say which model answers, what it reads and which horizons it supports."""
    champion = forecaster.champion
    model = champion.model()
    contract = model.contract
    return ModelDescription(
        name=model_name(model.world),
        version=model.version,
        digest=model.digest,
        world=model.world,
        situation=contract.situation,
        feature_service=contract.feature_service,
        schema_hash=contract.schema_hash,
        engine=model.engine,
        trained_until=contract.trained_until,
        features=list(model.columns),
        horizons={name: list(metric.horizons) for name, metric in contract.metrics.items()},
        is_confirmed=champion.is_confirmed,
        problem=champion.problem,
    )


@operations.get("/livez", summary="Is the process alive?")
async def livez() -> Response:
    """Answer, which is all that is asked."""
    return Response(b'{"alive":true}', media_type=JSON)


@operations.get(
    "/readyz",
    response_model=Readiness,
    responses=problems(503),
    summary="Can it answer forecasts?",
)
async def readyz(
    request: Request, forecaster: ForecasterDependency, moment: MomentDependency
) -> Readiness:
    """Say ready when a model is loaded and there is something to forecast from.

    An online store that is away makes no server unready that has read videos before: it answers
    from what it remembers, labelled, and all servers share the store, so that none would be left.
    """
    champion = forecaster.champion
    reasons: list[str] = []
    notes: list[str] = []
    if request.state.life.is_draining:
        reasons.append("the server is on its way out")
    if request.state.guard.problem is not None:
        reasons.append(request.state.guard.problem)
    if champion.current is None:
        reasons.append(champion.problem or "no model was looked for yet")
    try:
        await forecaster.features.check()
    except FeaturesUnavailable as problem:
        (notes if forecaster.remembers else reasons).append(problem.detail)
    if reasons:
        raise NotReady("; ".join(reasons), reasons=reasons)
    model = champion.model()
    notes += [note for note in (champion.problem, moment.problem) if note]
    return Readiness(
        ready=True,
        model_version=model.version,
        model_digest=model.digest,
        world=model.world,
        notes=notes,
    )


@exposition.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(serving_metrics: MetricsDependency) -> Response:
    """Give all metrics in Prometheus' text format."""
    return Response(serving_metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
