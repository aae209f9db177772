"""Errors as RFC 9457 problem documents, whatever raised them."""

import logging
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from serving.errors import FAULT, InvalidRequest, InvalidVideoId, Problem

PROBLEM_JSON = "application/problem+json"

_CODES = {404: "not_found", 405: "method_not_allowed"}
_SHOWN_ERRORS = 5

_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Turn a problem into an answer."""
    return Response(orjson.dumps(problem.body()), problem.status, headers, media_type=PROBLEM_JSON)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if any(tuple(one["loc"]) == ("path", "video_id") for one in errors):
        return response(InvalidVideoId(request.path_params["video_id"]))
    found = [
        {"at": ".".join(map(str, one["loc"])), "message": one["msg"]}
        for one in errors[:_SHOWN_ERRORS]
    ]
    detail = "; ".join(f"{one['at']}: {one['message']}" for one in found)
    return response(InvalidRequest(detail, errors=found))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.BAD_REQUEST:  # FastAPI's word for a body that is not even text
        return response(InvalidRequest("The body is not JSON"))
    code = _CODES.get(status.value, "http_error")
    body = {
        "type": f"urn:foreview:problem:{code}",
        "title": status.phrase,
        "status": status.value,
        "code": code,
        "detail": f"{request.method} {request.url.path}: {status.description or status.phrase}",
    }
    headers = dict(error.headers or {})
    return Response(orjson.dumps(body), status.value, headers, media_type=PROBLEM_JSON)


def unexpected(scope: Scope, error: Exception) -> Response:
    """Log and count an error that no one foresaw, and turn it into an answer that tells nothing."""
    method, path = scope["method"], scope["path"]
    _log.error("%s %s failed", method, path, exc_info=error)
    if path.startswith("/v1/"):
        scope["state"]["metrics"].count_forecasts(["internal_error"])
    return response(Problem(FAULT))
