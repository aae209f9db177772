"""What is asked about videos: of a query, a batch or a draft alike."""

from typing import Any, NamedTuple

from feature_repo.targets import METRICS
from serving.contracts import DEFAULT_DAYS


class Question(NamedTuple):
    """What is asked about each video: whole days ahead, ascending, and metrics."""

    days: tuple[int, ...] = DEFAULT_DAYS
    metrics: tuple[str, ...] = METRICS

    def logged(self) -> dict[str, Any]:
        """Give the question as it is logged."""
        return {"days": self.days, "metrics": self.metrics}
