"""A model bundle, loaded: from stored features to quantiles of counts."""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_repo.bundle import (
    MODEL_FILE,
    BundleError,
    Contract,
    Intervals,
    bundle_digest,
    read_contract,
    read_intervals,
)
from feature_repo.online_layout import JOIN_KEY_OF_VIEW
from feature_repo.segments import AGE_BANDS, TIERS
from feature_repo.targets import MAX_HORIZON_DAYS, QUANTILES, age_scale
from feature_repo.transformations.declared import names
from feature_repo.transformations.performance import PERFORMANCE_FEATURES
from feature_repo.transformations.published import PUBLISHED_INPUTS, PUBLISHED_REQUEST_FEATURES
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES
from serving.fallback import FallbackCurves
from serving.forecast_log import VectorLayout
from serving.online_features import PERFORMANCE_VIEW, PROFILE_VIEW, ReadPlan
from serving.onnx_session import OnnxSession
from serving.remembered_sums import RememberedSums
from serving.row_kernel import assemble, spread
from serving.trees import Forest, OtherGraph

FloatArray = NDArray[np.float64]

SERVED_SITUATION = "published"
# A model of an earlier version is served on until a later one takes its place.
FEATURE_SERVICES = ("published_v2", "published_v1")
OBSERVED_AT = "observed_at"
NEEDED_VIEWS = (PROFILE_VIEW, PERFORMANCE_VIEW)

_REQUESTED = names(PUBLISHED_REQUEST_FEATURES)
_PROBES, _ALONE = 64, 16

_log = logging.getLogger(__name__)


class ModelInput(NamedTuple):
    """What a model reads of some videos: all that is needed to repeat its answer.

    Attributes:
        features: float32, shape (n, columns), defaults filled in.
        missing: Where a feature was null before that, shape (n, columns).
        counts: Present counts, shape (n, metrics); NaN when hidden.
        tiers: The channel's tier as TIERS numbers it, shape (n,).
        as_of: The moment that each row is forecast as of, whole epoch seconds; none in a replay.
        nulls: How many stored values were null, for each view of the plan; none in a replay.
    """

    features: NDArray[np.float32]
    missing: NDArray[np.bool_]
    counts: FloatArray
    tiers: NDArray[np.int64]
    as_of: Sequence[float] = ()
    nulls: Sequence[int] = ()


class LoadedModel:
    """A verified bundle with what evaluates it; never changes once loaded."""

    def __init__(
        self,
        directory: Path,
        version: str,
        remembered: int = 0,
        count: Callable[[str, int], None] = lambda source, rows: None,
    ) -> None:
        """Load and verify a bundle.

        Args:
            directory: The bundle.
            version: Its name in the registry.
            remembered: For how many rows to remember what the trees answered.
            count: Told how many rows were answered from memory, and how many by the trees.

        Raises:
            BundleError: A part is missing, differs from its digest, or the parts do not agree.
        """
        self.contract = read_contract(directory)
        _check_served(self.contract)
        self.version = version
        self.digest = bundle_digest(self.contract)
        self.world = self.contract.world
        self.situation = self.contract.situation
        self.metrics = tuple(self.contract.metrics)
        self.columns = tuple(column.name for column in self.contract.columns)
        self.layout = VectorLayout(self.columns)
        self.plan = ReadPlan.of(_stored_features(self.contract))
        self.needed_views = [self.plan.views.index(view) for view in NEEDED_VIEWS]
        self._assembly = _Assembly.of(self.contract, self.plan)
        self.observed_at = self._assembly.observed
        self._offsets = offset_tables(self.contract, read_intervals(directory))
        # What was not calibrated is not told: its quantiles come out null.
        self._offsets[:, ~supported_horizons(self.contract)] = np.nan
        self._age = _position(self.columns, self.contract.age_column)
        self.supported_days = [frozenset(m.horizons) for m in self.contract.metrics.values()]
        self.position_of = {metric: at for at, metric in enumerate(self.metrics)}
        self.curves = FallbackCurves(directory)
        session = OnnxSession(directory, self.contract)
        self._forest = _open_forest(directory, self.contract, session)
        if self._forest is None:
            self._session = session  # is held by nothing else: its copy of the trees is a large one
        else:
            outputs = len(self.metrics)
            self._sums = RememberedSums(self._forest.walk, outputs, remembered, count)

    def read(self, stored: FloatArray, now: float) -> ModelInput:
        """Assemble model inputs; no forecast is as of a time before its observation.

        Args:
            stored: Values as stored, shape (n, values), in the order of the plan.
            now: The moment of asking, whole epoch seconds: training knows it to the second.
        """
        n, how = len(stored), self._assembly
        as_of, known = np.empty(n), np.empty((n, stored.shape[1] + len(_REQUESTED)))
        features = np.empty((n, len(how.columns)), np.float32)
        missing, tiers = np.empty(features.shape, np.bool_), np.empty(n, np.int64)
        counts, nulls = np.empty((n, len(how.counted))), np.zeros(len(self.plan.views), np.int64)
        assemble(stored, now, *how, as_of, known, features, missing, tiers, counts, nulls)
        return ModelInput(features, missing, counts, tiers, as_of.tolist(), nulls.tolist())

    def predict(self, given: ModelInput, horizons: Sequence[int]) -> FloatArray:
        """Give quantiles, shape (n, metrics, horizons, 3).

        NaN where the count is hidden and where a metric does not support the horizon. One tree
        evaluation for all rows and horizons; a row's answer does not depend on the other rows.
        """
        return multiplied(self.factors(given, horizons), given.counts)

    def factors(self, given: ModelInput, horizons: Sequence[int]) -> FloatArray:
        """Give what present counts are multiplied by, shape (n, metrics, horizons, 3)."""
        days = _as_array(tuple(horizons))
        answered = self._growth(given.features, days)
        growth = np.empty((*answered.shape, len(QUANTILES)))
        spread(answered, given.features, given.tiers, self._age, days, self._offsets, growth)
        # numpy's power, as `feature_repo.targets.quantiles` has it: a compiler's own may differ.
        return np.power(10.0, growth, out=growth)

    def growth_of(self, given: ModelInput, metric: str, day: int) -> float:
        """Give the graph's output for the first row: decades of growth of one metric."""
        return float(
            self._growth(given.features[:1], np.array([day]))[0, self.position_of[metric], 0]
        )

    def scale_of(self, given: ModelInput, day: int) -> float | None:
        """Give what the trees' answer for the first row is multiplied by; None if by nothing."""
        scaled_by = None if self._forest is None else self._forest.scaled_by
        if scaled_by is None:
            return None
        age, waited = given.features[0, list(scaled_by)].astype(np.float64).tolist()
        return float(age_scale(age, waited, float(day)))

    @property
    def engine(self) -> str:
        """What evaluates the model: `trees`; `onnxruntime` for any other graph."""
        return "onnxruntime" if self._forest is None else "trees"

    def _growth(self, features: NDArray[np.float32], days: NDArray[np.int_]) -> NDArray[np.float32]:
        """Evaluate rows crossed with horizons; shape (n, metrics, horizons)."""
        if self._forest is None:
            return self._session.evaluate(features, days)
        return self._forest.evaluate(features, days, self._sums.sums)


def _open_forest(directory: Path, contract: Contract, session: OnnxSession) -> Forest | None:
    """Lay the trees out for fast walking; what they answer must be the graph's, to the bit."""
    outputs = [metric.output for metric in contract.metrics.values()]
    columns = [column.name for column in contract.columns]
    try:
        forest = Forest(directory / MODEL_FILE, outputs, columns)
    except OtherGraph as reason:
        _log.info("onnxruntime evaluates this model: %s", reason)
        return None
    probes, days = forest.probes(_PROBES), np.array([1, 7, MAX_HORIZON_DAYS])
    together = forest.evaluate(probes, days)
    alone = np.concatenate([forest.evaluate(probes[at : at + 1], days) for at in range(_ALONE)])
    wanted = session.evaluate(probes, days)
    if np.array_equal(together, wanted) and np.array_equal(alone, wanted[:_ALONE]):
        return forest
    _log.warning("onnxruntime evaluates this model: its trees walked differ from its graph")
    return None


@lru_cache(maxsize=256)
def _as_array(days: tuple[int, ...]) -> NDArray[np.int64]:
    """Give horizons as an array; never changed by who gets it."""
    return np.array(days, np.int64)


def multiplied(factors: FloatArray, present: FloatArray) -> FloatArray:
    """Give counts, shape (..., metrics, horizons, 3), from factors and counts (..., metrics)."""
    return (1.0 + present)[..., np.newaxis, np.newaxis] * factors - 1.0


class _Assembly(NamedTuple):
    """How stored values become a model's input: what `assemble` takes of a plan and a contract."""

    observed: int
    inputs: NDArray[np.int64]
    columns: NDArray[np.int64]
    defaults: NDArray[np.float32]
    tier: int
    counted: NDArray[np.int64]
    view_of_value: NDArray[np.int64]

    @classmethod
    def of(cls, contract: Contract, plan: ReadPlan) -> "_Assembly":
        stored = {name: at for at, (_, name) in enumerate(plan.numbers)}
        position = {name: at for at, name in enumerate((*stored, *_REQUESTED))}
        defaults = [np.nan if c.default is None else c.default for c in contract.columns]
        return cls(
            stored[OBSERVED_AT],
            np.array([stored[name] for name in PUBLISHED_INPUTS]),
            np.array([position[column.name] for column in contract.columns]),
            np.array(defaults, dtype=np.float32),
            position[contract.tier_column],
            np.array([position[count] for count in _count_columns(contract)]),
            np.array([plan.views.index(view) for view, _ in plan.numbers]),
        )


def _check_served(contract: Contract) -> None:
    if contract.situation != SERVED_SITUATION or contract.feature_service not in FEATURE_SERVICES:
        raise BundleError(
            f"the bundle answers {contract.situation} videos from {contract.feature_service}; "
            f"this server serves {SERVED_SITUATION} ones from {' or '.join(FEATURE_SERVICES)}"
        )


def _stored_features(contract: Contract) -> list[tuple[str, str]]:
    """List what to read: the model's own columns, the request's inputs, counts, tier, time."""
    for column in contract.columns:
        if column.kind == "request" and column.name not in _REQUESTED:
            raise BundleError(f"the model reads {column.name}, which no request feature gives")
        if column.kind == "stored" and column.view not in JOIN_KEY_OF_VIEW:
            raise BundleError(f"the model reads the unknown feature view {column.view}")
    columns = [(column.view, column.name) for column in contract.columns if column.kind == "stored"]
    others = [*PUBLISHED_INPUTS, OBSERVED_AT, *_count_columns(contract), contract.tier_column]
    read = {name for _, name in columns}.union(_REQUESTED)
    views = view_of_feature()
    columns += [(views(name), name) for name in dict.fromkeys(others) if name not in read]
    return columns


def _count_columns(contract: Contract) -> list[str]:
    """Name the present count of each metric; a model of growth has one for each."""
    counts = [metric.count_column for metric in contract.metrics.values()]
    if None in counts:
        raise BundleError("the bundle forecasts growth, but not since which count")
    return [count for count in counts if count is not None]


def view_of_feature() -> Callable[[str], str]:
    """Give the view of a feature that need not be a column of the model."""
    performance = set(names(PERFORMANCE_FEATURES))
    track_record = set(names(TRACK_RECORD_FEATURES))

    def view_of(name: str) -> str:
        if name in track_record:
            return "channel_track_record"
        return PERFORMANCE_VIEW if name in performance else "video_profile"

    return view_of


def offset_tables(contract: Contract, intervals: Intervals) -> FloatArray:
    """Tabulate offsets by possible group, metric and day: shape (groups, metrics, 31, 3).

    Groups are the tiers, then each tier by age band.
    """
    by_metric = [intervals.tables.get(metric, {}) for metric in contract.metrics]
    if not all("all" in tables for tables in by_metric):
        raise BundleError("the intervals lack a table for all tiers of some metric")
    groups = [*TIERS, *(f"{tier}@{band}" for tier in TIERS for band in AGE_BANDS)]
    days = range(MAX_HORIZON_DAYS + 1)
    offsets = [[intervals.table(m, name).at(days) for m in contract.metrics] for name in groups]
    return np.array(offsets)


def _position(columns: Sequence[str], name: str | None) -> int:
    """Give the place of a column; -1 where none is named."""
    if name is None:
        return -1
    if name not in columns:
        raise BundleError(f"the contract's age column {name} is not a column of the model")
    return columns.index(name)


def supported_horizons(contract: Contract) -> NDArray[np.bool_]:
    """Mark the days each metric was calibrated for, shape (metrics, 31)."""
    supported = np.zeros((len(contract.metrics), MAX_HORIZON_DAYS + 1), dtype=np.bool_)
    for row, metric in zip(supported, contract.metrics.values(), strict=True):
        row[list(metric.horizons)] = True
    return supported
