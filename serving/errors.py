"""What can go wrong in serving, and how it is told over HTTP: RFC 9457 problem details."""

from typing import Any, ClassVar


class ServingError(Exception):
    """Base of every error of the forecast service."""


class SettingMissing(ServingError):
    """A server's address is not set."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"{variable} is not set: run `foreview up` for private servers, or set it")


class RegistryError(ServingError):
    """The model registry answered, but not with a model that can be served."""


class RegistryUnreachable(ServingError):
    """The model registry does not answer."""


FAULT = "This is a fault of ours; it is in the server's log"


class Problem(ServingError):
    """An error with a stable code, told to the client as problem details."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(self, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with the problem."""
        return {"Retry-After": "1"} if self.status == 503 else {}

    def body(self) -> dict[str, Any]:
        """Give the members of the problem document."""
        return {
            "type": f"urn:foreview:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        } | self.members


class InvalidVideoId(Problem):
    """Not the form of a YouTube video id."""

    status, code, title = 422, "invalid_video_id", "Not a YouTube video id"

    def __init__(self, video_id: str) -> None:
        shown = video_id if len(video_id) <= 40 else f"{video_id[:40]}…"
        super().__init__(
            f"{shown!r} is not a video id: eleven letters, digits, '-' or '_', as after "
            "`watch?v=` in an address"
        )


class Unauthorized(Problem):
    """No valid API key came with the request."""

    status, code, title = 401, "unauthorized", "A valid API key is needed"

    @property
    def headers(self) -> dict[str, str]:
        """Say how to send one."""
        return {"WWW-Authenticate": "Bearer"}


class KeysUnavailable(Problem):
    """No API key can be checked yet."""

    status, code, title = 503, "keys_unavailable", "API keys cannot be checked now"


class Forbidden(Problem):
    """The API key opens other things."""

    status, code, title = 403, "forbidden", "The API key does not open this"


class TooManyRequests(Problem):
    """The rate limit is reached."""

    status, code, title = 429, "too_many_requests", "Too many requests"

    @property
    def headers(self) -> dict[str, str]:
        """Say when to come again, if that helps."""
        wait = self.members.get("retry_after")
        return {} if wait is None else {"Retry-After": str(wait)}


class InvalidRequest(Problem):
    """Something else in the request is not as documented."""

    status, code, title = 422, "invalid_request", "The request is not as documented"


class RequestTooLarge(Problem):
    """The body of a request is larger than allowed."""

    status, code, title = 413, "request_too_large", "The request is too large"


class UnknownVideo(Problem):
    """Nothing is stored about a video."""

    status, code, title = 404, "unknown_video", "This video is not tracked"

    def __init__(self, video_id: str) -> None:
        super().__init__(
            f"Nothing is known about the video {video_id}. Track it with POST /v1/targets "
            f'{{"target": "{video_id}"}} or `foreview targets add {video_id}`; it can be forecast '
            "once it has been observed. Until then POST /v1/drafts/forecast answers for a channel "
            "that is known",
            track={"method": "POST", "href": "/v1/targets", "body": {"target": video_id}},
        )


class UnknownChannel(Problem):
    """Nothing is stored about a channel."""

    status, code, title = 404, "unknown_channel", "This channel is not tracked"

    def __init__(self, channel_id: str) -> None:
        super().__init__(
            f"Nothing is known about the channel {channel_id}. Track it with POST /v1/targets "
            f'{{"target": "{channel_id}"}}; its track record exists once its videos were observed',
            track={"method": "POST", "href": "/v1/targets", "body": {"target": channel_id}},
        )


class InvalidTarget(Problem):
    """Not a video or channel that can be tracked."""

    status, code, title = 422, "invalid_target", "Not a video or channel of YouTube"


class WarehouseUnavailable(Problem):
    """The database does not answer."""

    status, code, title = 503, "warehouse_unavailable", "The database does not answer"


class ExplanationUnavailable(Problem):
    """There is nothing to explain, or nothing to explain it with."""

    status, code, title = 409, "explanation_unavailable", "This forecast cannot be explained"


class FeaturesIncomplete(Problem):
    """Part of what is needed about a video is not in the online store."""

    # Of one video: 503 would tell a proxy that this instance is ill.
    status, code, title = 409, "features_incomplete", "The features of this video are incomplete"

    def __init__(self, video_id: str, views: list[str]) -> None:
        super().__init__(
            f"The online store has no row of {video_id} in {', '.join(views)}, or none within its "
            "age limit: collect it again, or materialize with `foreview features materialize`"
        )


class WorldMismatch(Problem):
    """A video of one world was asked of a model of the other."""

    status, code, title = 409, "world_mismatch", "The video is of another world than the model"

    def __init__(self, video_id: str, video_world: str | None, model_world: str) -> None:
        super().__init__(
            f"{video_id} is of the world {video_world!r}, the model being served of "
            f"{model_world!r}: set FOREVIEW_WORLD={video_world} and train on that world"
        )


class ModelUnavailable(Problem):
    """There is no model to forecast with."""

    status, code, title = 503, "model_unavailable", "No model is being served"


class FeaturesUnavailable(Problem):
    """The online store does not answer."""

    status, code, title = 503, "features_unavailable", "The online store does not answer"


class UnknownForecast(Problem):
    """No forecast is logged under an id."""

    status, code, title = 404, "unknown_forecast", "No forecast has this id"

    def __init__(self, forecast_id: str) -> None:
        super().__init__(
            f"No forecast {forecast_id} is logged; one just made takes a moment to be logged"
        )


class ForecastPurged(Problem):
    """A forecast's receipt was emptied: what it rested on may not be kept any longer."""

    status, code, title = 410, "forecast_purged", "The receipt of this forecast was purged"

    def __init__(self, forecast_id: str) -> None:
        super().__init__(
            f"The receipt of {forecast_id} was emptied when the data it rested on were purged"
        )


class ForecastLogUnavailable(Problem):
    """The forecast log does not answer."""

    status, code, title = 503, "forecast_log_unavailable", "The forecast log does not answer"


class NotReady(Problem):
    """The server cannot answer forecasts now."""

    status, code, title = 503, "not_ready", "Not ready to forecast"
