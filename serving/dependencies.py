"""What a route may ask for."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, TypedDict, cast

from fastapi import Depends, Path, Query, Request

from feature_repo.targets import MAX_HORIZON_DAYS, METRICS
from serving.contracts import DEFAULT_DAYS, VIDEO_ID_PATTERN
from serving.drafting import Drafter
from serving.errors import InvalidRequest
from serving.explanations import Explainer
from serving.forecaster import Forecaster
from serving.guard import Guard
from serving.life import Life
from serving.metrics import ServingMetrics
from serving.moment import Moment
from serving.question import Question
from serving.warehouse import Warehouse


class State(TypedDict):
    """What the application holds while it runs."""

    drafter: Drafter
    warehouse: Warehouse
    explainer: Explainer
    guard: Guard
    life: Life
    world: str
    forecaster: Forecaster
    metrics: ServingMetrics
    moment: Moment


async def get_forecaster(request: Request) -> Forecaster:
    """Give the forecaster of this application."""
    return cast("Forecaster", request.state.forecaster)


async def get_metrics(request: Request) -> ServingMetrics:
    """Give the metrics of this application."""
    return cast("ServingMetrics", request.state.metrics)


async def get_moment(request: Request) -> Moment:
    """Give the clock of this application."""
    return cast("Moment", request.state.moment)


MAX_DAYS_TEXT, MAX_METRICS_TEXT = 200, 100

_DAYS = Query(
    description=f"Whole days ahead, 1 to {MAX_HORIZON_DAYS}, separated by commas",
    examples=["1,7,30"],
    max_length=MAX_DAYS_TEXT,
)
_METRICS = Query(
    description="Any of views, likes and comments, separated by commas",
    examples=["views,likes"],
    max_length=MAX_METRICS_TEXT,
)


async def get_question(
    days: Annotated[str, _DAYS] = ",".join(map(str, DEFAULT_DAYS)),
    metrics: Annotated[str, _METRICS] = ",".join(METRICS),
) -> Question:
    """Read the question from the query.

    Raises:
        InvalidRequest: A day or a metric is not one that can be asked for.
    """
    return parse_question(days, metrics)


@lru_cache(maxsize=1024)
def parse_question(days: str, metrics: str) -> Question:
    """Read days and metrics from comma-separated texts; each counts once, days ascending.

    Raises:
        InvalidRequest: A day or a metric is not one that can be asked for.
    """
    numbers = {_day(text) for text in _parts(days, "days")}
    chosen = tuple(dict.fromkeys(_parts(metrics, "metrics")))
    unknown = [metric for metric in chosen if metric not in METRICS]
    if unknown:
        raise InvalidRequest(f"{unknown[0]!r} is no metric: ask for any of {', '.join(METRICS)}")
    return Question(tuple(sorted(numbers)), chosen)


def _parts(text: str, name: str) -> Sequence[str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MAX_HORIZON_DAYS:
        raise InvalidRequest(f"{name} has {len(parts)} parts; {MAX_HORIZON_DAYS} are allowed")
    return parts


def _day(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= 2
    if not is_number or not 1 <= int(text) <= MAX_HORIZON_DAYS:
        raise InvalidRequest(
            f"{text!r} is no horizon: days are whole numbers from 1 to {MAX_HORIZON_DAYS}, "
            "as in days=1,7,30"
        )
    return int(text)


VideoId = Annotated[
    str,
    Path(
        pattern=VIDEO_ID_PATTERN,
        description="As after `watch?v=` in a video's address",
        examples=["dQw4w9WgXcQ"],
    ),
]
ForecasterDependency = Annotated[Forecaster, Depends(get_forecaster)]
MetricsDependency = Annotated[ServingMetrics, Depends(get_metrics)]
MomentDependency = Annotated[Moment, Depends(get_moment)]
QuestionDependency = Annotated[Question, Depends(get_question)]
