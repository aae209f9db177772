"""A logged forecast, told input by input; pure."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from feature_repo.statuses import status_of
from feature_repo.transformations.declared import names
from feature_repo.transformations.profile import DRAFT_FEATURES
from feature_repo.transformations.request import (
    DRAFT_REQUEST_FEATURES,
    PUBLISHED_REQUEST_FEATURES,
)
from serving.errors import ForecastPurged, UnknownForecast
from serving.model import view_of_feature

PURGED = "purged"  # all that a purge leaves in `degraded`

_REQUESTED = {
    "published": frozenset(names(PUBLISHED_REQUEST_FEATURES)),
    "draft": frozenset(names([*DRAFT_FEATURES, *DRAFT_REQUEST_FEATURES])),
}


def kept_receipt(forecast_id: UUID, found: dict[str, Any] | None) -> dict[str, Any]:
    """Give what was found in the log under an id.

    Raises:
        UnknownForecast: Nothing was.
        ForecastPurged: The receipt was emptied.
    """
    if found is None:
        raise UnknownForecast(str(forecast_id))
    if PURGED in found["degraded"]:
        raise ForecastPurged(str(forecast_id))
    return found


def receipt_features(logged: dict[str, Any]) -> list[dict[str, Any]]:
    """Give each input with its view, event time, age at `as_of` and status; none for curves."""
    vector = logged["vector"].get("features") or {}
    requested = _REQUESTED.get(logged["situation"], frozenset())
    view_of = view_of_feature()
    told = []
    for name, value in vector.items():
        view = "request" if name in requested else view_of(name)
        time = _instant(logged["feature_times"].get(view))
        if view == "request":
            time = logged["as_of"]
        moment = None if time is None else time.timestamp()
        status = status_of(view, value, moment, logged["as_of"].timestamp())
        told.append(
            {
                "name": name,
                "value": value,
                "feature_view": view,
                "event_time": time,
                "age_seconds": None if time is None else (logged["as_of"] - time).total_seconds(),
                "status": status,
            }
        )
    return told


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
