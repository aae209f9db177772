"""The route that is asked most: documented as any other, answered without the way round."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from feature_repo.targets import METRICS
from serving.contracts import DEFAULT_DAYS
from serving.dependencies import MAX_DAYS_TEXT, MAX_METRICS_TEXT, parse_question
from serving.errors import InvalidRequest, InvalidVideoId, Problem
from serving.forecaster import Forecaster
from serving.question import Question
from serving.video_ids import is_video_id

_DEFAULTS = {"days": ",".join(map(str, DEFAULT_DAYS)), "metrics": ",".join(METRICS)}
_MAX_QUERY_BYTES = 2048
_LIMITS = {"days": MAX_DAYS_TEXT, "metrics": MAX_METRICS_TEXT}


class DirectRoute(APIRoute):
    """A route of the router, whose endpoint's signature documents what `answer_directly` reads.

    FastAPI resolves an endpoint's dependencies anew for each request, which costs more than the
    forecast. Everything else is as for other routes: middleware, router, errors, OpenAPI. Tests
    hold both ways of answering to the same answers.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = answer_directly


async def answer_directly(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `GET /v1/videos/{video_id}/forecast`."""
    video_id: str = scope["path_params"]["video_id"]
    if not is_video_id(video_id):
        raise InvalidVideoId(video_id)
    query: bytes = scope["query_string"]
    if len(query) > _MAX_QUERY_BYTES:
        raise InvalidRequest(f"The query exceeds {_MAX_QUERY_BYTES} bytes")
    question = question_of(query)
    forecaster: Forecaster = scope["state"]["forecaster"]
    outcome = await forecaster.forecast_one(video_id, question)
    if isinstance(outcome, Problem):
        raise outcome
    body = outcome.answer
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@lru_cache(maxsize=1024)
def question_of(query: bytes) -> Question:
    """Read the question from a query string.

    Raises:
        InvalidRequest: A part of it is not as documented.
    """
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"))
    asked = _DEFAULTS | {name: given[name] for name in _DEFAULTS if name in given}
    for name, limit in _LIMITS.items():
        if len(asked[name]) > limit:
            raise InvalidRequest(f"query.{name}: at most {limit} characters are allowed")
    return parse_question(asked["days"], asked["metrics"])
