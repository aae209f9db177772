"""What can still be said of a video when the online store is slow or gone: bounded, labelled."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from feature_repo.bundle import FALLBACK_FILE, BundleError
from serving.online_features import ReadPlan, StoredVector

FloatArray = NDArray[np.float64]
V = TypeVar("V")
Source = Literal["online_store", "recent_features", "fallback_curves"]

_COUNTS_PER_VECTOR = 10


class KnownCounts(NamedTuple):
    """The little that is kept of many videos: enough for the curves that know no features."""

    channel_id: str | None
    world: str | None
    observed_at: float
    event_times: list[float]
    counts: Sequence[float]
    tier: str


class _Kept(NamedTuple):
    plan: ReadPlan
    vector: StoredVector
    read_at: float
    known: KnownCounts


class RecentFeatures:
    """The vectors read last, whole for some videos, counts alone for ten times as many others."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[str, _Kept] = OrderedDict()
        self._counts: OrderedDict[str, KnownCounts] = OrderedDict()

    def remember(
        self, plan: ReadPlan, vector: StoredVector, read_at: float, known: KnownCounts
    ) -> None:
        """Keep what was just read; whatever was not read for longest is forgotten.

        Times are of the event loop's clock.
        """
        kept = _Kept(plan, vector, read_at, known)
        dropped = _keep(self._vectors, vector.video_id, kept, self._capacity)
        if dropped is not None:
            counts = self._capacity * _COUNTS_PER_VECTOR
            _keep(self._counts, dropped[0], dropped[1].known, counts)

    def __len__(self) -> int:
        return len(self._vectors) + len(self._counts)

    def vector(self, plan: ReadPlan, video_id: str) -> tuple[StoredVector, float] | None:
        """Give a video's last vector and when it was read.

        None unless the model being served reads the same features.
        """
        found = self._vectors.get(video_id)
        return None if found is None or found.plan != plan else (found.vector, found.read_at)

    def counts(self, video_id: str) -> KnownCounts | None:
        """Give a video's last counts."""
        found = self._vectors.get(video_id)
        return self._counts.get(video_id) if found is None else found.known

    def forget(self, video_id: str) -> None:
        """Drop a video: the store says that it is not there any more."""
        self._vectors.pop(video_id, None)
        self._counts.pop(video_id, None)


def _keep(kept: "OrderedDict[str, V]", key: str, value: V, capacity: int) -> tuple[str, V] | None:
    """Keep a value as the newest; give what had to go for it."""
    kept[key] = value
    kept.move_to_end(key)
    return kept.popitem(last=False) if len(kept) > capacity else None


class FallbackCurves:
    """What videos of a tier gained by each horizon: the bundle's answer without features."""

    def __init__(self, directory: Path) -> None:
        """Read the curves of a bundle.

        Raises:
            BundleError: They are not curves of decades by horizon.
        """
        path = directory / FALLBACK_FILE
        try:
            self._curves: dict[str, dict[str, _Curve]] = {
                # Where a tier had no labels, the curve of all stands in for it.
                metric: {tier: _Curve(curve) for tier, curve in tiers.items() if curve["horizons"]}
                for metric, tiers in orjson.loads(path.read_bytes()).items()
            }
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise BundleError(f"{path} holds no curves by metric and tier: {error}") from error

    def quantiles(
        self, metrics: Sequence[str], known: KnownCounts, as_of: float, days: Sequence[int]
    ) -> list[list[list[float]]]:
        """Give counts per metric and day as p10, p50, p90; NaN where hidden or beyond the curve.

        A curve starts at the last observation, which is some time before `as_of`.
        """
        elapsed = (as_of - known.observed_at) / 86_400.0
        horizons = elapsed + np.asarray(days, dtype=np.float64)
        answers = []
        for metric, count in zip(metrics, known.counts, strict=True):
            tiers = self._curves.get(metric, {})
            curve = tiers.get(known.tier) or tiers.get("all")
            growth = np.full((len(days), 3), np.nan) if curve is None else curve.at(horizons)
            answers.append(np.rint((1.0 + count) * 10.0**growth - 1.0).tolist())
        return answers


class _Curve:
    """Decades gained since the last observation, by horizon in days; never falling."""

    def __init__(self, curve: Mapping[str, list[float]]) -> None:
        self._horizons = np.array([0.0, *curve["horizons"]])
        self._levels = [np.array([0.0, *curve[level]]) for level in ("p10", "p50", "p90")]
        if any(len(level) != len(self._horizons) for level in self._levels):
            raise ValueError("a curve's columns differ in length")

    def at(self, horizons: FloatArray) -> FloatArray:
        """Interpolate, shape (len(horizons), 3); NaN beyond the curve's end."""
        inside = [
            np.interp(horizons, self._horizons, level, right=np.nan) for level in self._levels
        ]
        return np.column_stack(inside)
