"""Error bodies, in the shapes that the YouTube Data API answers today."""

from typing import Any


class ApiError(Exception):
    """A request that is answered with an error body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body["error"]["message"])
        self.response = (status, body)


def quota_exceeded() -> ApiError:
    """The day's units of a bucket are used up."""
    message = (
        "The request cannot be completed because you have exceeded your "
        '<a href="/youtube/v3/getting-started#quota">quota</a>.'
    )
    return _error(403, message, "youtube.quota", "quotaExceeded")


def daily_limit_exceeded() -> ApiError:
    """The project's daily limit is reached, as its console sets it."""
    return _error(403, "Daily Limit Exceeded", "usageLimits", "dailyLimitExceeded")


def rate_limited() -> ApiError:
    """Too much was asked in a short time, in the older shape of that answer."""
    return _error(403, "Rate Limit Exceeded", "usageLimits", "rateLimitExceeded")


def too_many_requests() -> ApiError:
    """Too much was asked in a short time."""
    message = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'."
    return _error(429, message, "global", "rateLimitExceeded", status="RESOURCE_EXHAUSTED")


def backend_error() -> ApiError:
    """Something went wrong on their side."""
    return _error(500, "Internal error encountered.", "global", "backendError", status="INTERNAL")


def unavailable() -> ApiError:
    """They cannot answer just now."""
    message = "The service is currently unavailable."
    return _error(503, message, "global", "backendError", status="UNAVAILABLE")


def invalid_key() -> ApiError:
    """The key is missing or not one that is accepted."""
    message = "API key not valid. Please pass a valid API key."
    return _error(400, message, "usageLimits", "keyInvalid", status="INVALID_ARGUMENT")


def missing(parameter: str) -> ApiError:
    """A required parameter is not there."""
    message = f"No filter selected. Expected one of: {parameter}"
    return _error(400, message, "youtube.parameter", "missingRequiredParameter", parameter)


def invalid_value(parameter: str, detail: str, reason: str = "invalidParameter") -> ApiError:
    """A parameter has a value that is not allowed."""
    message = f"The value of the {parameter} parameter is invalid: {detail}"
    return _error(400, message, "youtube.parameter", reason, parameter)


def not_found(reason: str, message: str, domain: str, parameter: str | None) -> ApiError:
    """What is asked for does not exist."""
    return _error(404, message, domain, reason, parameter)


def playlist_not_found() -> ApiError:
    """There is no such playlist."""
    message = (
        "The playlist identified with the request's <code>playlistId</code> parameter "
        "cannot be found."
    )
    return not_found("playlistNotFound", message, "youtube.playlistItem", "playlistId")


def _error(
    code: int,
    message: str,
    domain: str,
    reason: str,
    parameter: str | None = None,
    *,
    status: str | None = None,
) -> ApiError:
    detail = {"message": message, "domain": domain, "reason": reason}
    if parameter is not None:
        detail |= {"location": parameter, "locationType": "parameter"}
    error: dict[str, Any] = {"code": code, "message": message, "errors": [detail]}
    if status is not None:
        error["status"] = status
    return ApiError(code, {"error": error})
