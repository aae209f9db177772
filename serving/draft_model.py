"""A bundle for drafts, loaded: from a draft and its channel's features to quantiles of counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feature_repo.bundle import BundleError, Contract, bundle_digest, read_contract
from feature_repo.bundle import read_intervals as read_bundle_intervals
from feature_repo.segments import TIERS, tier
from feature_repo.targets import first_quantiles
from feature_repo.transformations.declared import names
from feature_repo.transformations.profile import DRAFT_FEATURES
from feature_repo.transformations.request import (
    CHANNEL_INPUTS,
    DRAFT_REQUEST_FEATURES,
    draft_request,
)
from serving.forecast_log import VectorLayout
from serving.model import offset_tables, supported_horizons
from serving.online_features import EntityPlan
from serving.onnx_session import OnnxSession

FloatArray = NDArray[np.float64]

SITUATION = "draft"
FEATURE_SERVICES = ("draft_v2", "draft_v1")
_VIEW = "channel_track_record"


@dataclass(frozen=True)
class Drafts:
    """What creators know of some videos of one channel before they are uploaded.

    Attributes:
        titles: Never null.
        descriptions: Null for none.
        tags: Null for none.
        category_id: NaN for none.
        duration_seconds: NaN when not known yet.
        as_of: Planned publication, whole epoch seconds.
    """

    titles: list[str]
    descriptions: list[str | None]
    tags: list[list[str] | None]
    category_id: FloatArray
    duration_seconds: FloatArray
    as_of: FloatArray

    def __len__(self) -> int:
        """Count the drafts."""
        return len(self.titles)


class DraftModel:
    """A verified bundle for drafts; never changes once loaded."""

    def __init__(self, directory: Path, version: str) -> None:
        """Load and verify a bundle.

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
        self.plan = EntityPlan.of("channel_id", _stored(self.contract))
        self.position_of = {metric: at for at, metric in enumerate(self.metrics)}
        self.supported_days = [frozenset(m.horizons) for m in self.contract.metrics.values()]
        self._supported = supported_horizons(self.contract)
        self._offsets = offset_tables(self.contract, read_bundle_intervals(directory))
        self._session = OnnxSession(directory, self.contract)
        self._defaults = np.array(
            [np.nan if c.default is None else c.default for c in self.contract.columns]
        )

    def read(self, drafts: Drafts, channel: FloatArray) -> tuple[NDArray[np.float32], str]:
        """Assemble the inputs of drafts of one channel, and name the channel's tier.

        Args:
            drafts: The drafts.
            channel: The channel's stored values, in the order of the plan; NaN where null.
        """
        stored = {
            name: np.full(len(drafts), value)
            for (_, name), value in zip(self.plan.numbers, channel.tolist(), strict=True)
        }
        known = stored | describe(drafts, stored)
        features = np.column_stack([known[name] for name in self.columns]).astype(np.float32)
        features = np.where(np.isnan(features), self._defaults, features).astype(np.float32)
        of_tier = known[self.contract.tier_column][:1].astype(np.float32).astype(np.float64)
        return features, str(tier(of_tier)[0])

    def predict(
        self, features: NDArray[np.float32], of_tier: str, days: Sequence[int]
    ) -> FloatArray:
        """Give quantiles of the counts, shape (n, metrics, days, 3); NaN where not supported."""
        logs = self.medians(features, days)
        n, metrics, asked = logs.shape
        offsets = self._offsets[TIERS.index(of_tier)][:, list(days)]
        each = np.broadcast_to(offsets, (n, metrics, asked, 3)).reshape(-1, 3)
        answer = first_quantiles(logs.reshape(-1), each).reshape(n, metrics, asked, 3)
        answer[:, ~self._supported[:, list(days)]] = np.nan
        return answer

    def medians(self, features: NDArray[np.float32], days: Sequence[int]) -> FloatArray:
        """Give the graph's outputs: log10(1 + count), shape (n, metrics, days)."""
        return self._session.evaluate(features, np.asarray(days)).astype(np.float64)

    def half_width(self, of_tier: str, metric: int, day: int) -> float:
        """Give half the width of a draft's 80 % interval, in decades."""
        low, _, high = self._offsets[TIERS.index(of_tier), metric, day]
        return float((high - low) / 2.0)


def describe(drafts: Drafts, channel: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Compute a draft's request features, as the on-demand view `draft_request` does."""
    return draft_request(
        channel, drafts.titles, drafts.descriptions, drafts.tags, drafts.category_id,
        drafts.duration_seconds, drafts.as_of,
    )  # fmt: skip


def _stored(contract: Contract) -> list[tuple[str, str]]:
    requested = set(names([*DRAFT_FEATURES, *DRAFT_REQUEST_FEATURES]))
    columns = [c.name for c in contract.columns if c.kind == "stored"]
    unknown = [c.name for c in contract.columns if c.kind != "stored" and c.name not in requested]
    if unknown:
        raise BundleError(f"the model reads {unknown[0]}, which no request feature gives")
    needed = dict.fromkeys([*columns, *CHANNEL_INPUTS, contract.tier_column])
    return [(_VIEW, name) for name in needed]


def _check_served(contract: Contract) -> None:
    if contract.situation != SITUATION or contract.feature_service not in FEATURE_SERVICES:
        raise BundleError(
            f"the bundle answers {contract.situation} videos from {contract.feature_service}, "
            f"not {SITUATION}s from {' or '.join(FEATURE_SERVICES)}"
        )
    if any(metric.count_column is not None for metric in contract.metrics.values()):
        raise BundleError("the bundle forecasts growth of a count that a draft does not have")
