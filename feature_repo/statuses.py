"""What a feature is worth at the moment of asking: its age limit, its status, its default."""

from datetime import timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from feature_repo.transformations.declared import DEFAULT

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int8]
Status = Literal["present", "null", "stale", "missing_entity"]

# A status as a number is its place in this list.
STATUSES: tuple[Status, ...] = ("present", "null", "stale", "missing_entity")
PRESENT, NULL, STALE, MISSING_ENTITY = range(len(STATUSES))

# How old a row may be to be read at all: each is the ttl of its view, which Feast applies to
# history and the readers of the online store apply to what they find there.
AGE_LIMITS = {
    # True until it is edited: there is a row per change, and none while nothing changes.
    "video_profile": timedelta(days=3650),
    # No forecast reaches further ahead; counts older than that say little of the present.
    "video_performance": timedelta(days=30),
    # A channel that was not looked at for a year is a stranger again.
    "channel_track_record": timedelta(days=365),
}


def age_limit_seconds(view: str) -> float:
    """Give the age, in seconds, beyond which a row of a view is stale; infinite for other views."""
    limit = AGE_LIMITS.get(view)
    return float("inf") if limit is None else limit.total_seconds()


def status_codes(
    view: str, values: FloatArray, event_times: FloatArray, as_of: FloatArray
) -> CodeArray:
    """Give the status of each feature of a view's rows.

    Args:
        view: Whose age limit holds.
        values: Shape (rows, features), NaN where null.
        event_times: Epoch seconds of each row; NaN where the entity has none.
        as_of: The moment of asking per row, epoch seconds.

    Returns:
        Places in STATUSES, shape (rows, features).
    """
    absent = np.isnan(event_times)[:, np.newaxis]
    stale = (as_of - event_times > age_limit_seconds(view))[:, np.newaxis]
    codes = np.where(np.isnan(values), NULL, PRESENT)
    return np.where(absent, MISSING_ENTITY, np.where(stale, STALE, codes)).astype(np.int8)


def enforced(values: FloatArray, codes: CodeArray) -> FloatArray:
    """Give values as a model reads them: the typed default for every one that is not present."""
    return np.where(codes == PRESENT, values, DEFAULT)


def status_of(view: str, value: float | None, event_time: float | None, as_of: float) -> Status:
    """Give the status of one feature; times in epoch seconds, no event time for no row."""
    if event_time is None:
        return "missing_entity"
    if as_of - event_time > age_limit_seconds(view):
        return "stale"
    return "null" if value is None or value != value else "present"
