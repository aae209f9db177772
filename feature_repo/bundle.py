"""The model bundle: what training writes and serving and observability read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

MODEL_FILE = "model.onnx"
INTERVALS_FILE = "intervals.json"
FALLBACK_FILE = "fallback_curves.json"
CONTRACT_FILE = "contract.json"
REFERENCE_FILE = "reference.parquet"
CARD_FILE = "card.md"
NATIVE_DIRECTORY = "native"

# Everything a forecast depends on; the contract holds a digest of each.
DIGESTED_FILES = (MODEL_FILE, INTERVALS_FILE, FALLBACK_FILE)

MODEL_INPUT = "features"


class BundleError(Exception):
    """A model bundle is missing a part, or a part does not agree with its contract."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Column(_Frozen):
    """One input column of the model, in order.

    `view` is the feature view whose feature it is; the name alone is unique within a service.
    A null becomes `default` (NaN unless a number is stated), here and nowhere else.
    """

    name: str
    view: str
    kind: Literal["stored", "request"]
    default: float | None = None


class MetricContract(_Frozen):
    """How one metric is answered: the model's output and the horizons it was calibrated for.

    With a `count_column` the output is growth of log10(1 + count) since that column's count, and
    the offsets are relative errors; the graph may end in the product of trees and
    `targets.age_scale`. With null nothing was observed yet: the output is
    log10(1 + count) itself and the offsets are added to it.
    """

    output: str
    count_column: str | None
    horizons: tuple[int, ...]


class Contract(_Frozen):
    """What a model expects of a feature vector and promises of its answer.

    The model's input is float32 of shape (rows, len(columns) + 1): the columns in order, then the
    horizon in days since `as_of`, which for a draft is its planned publication. Each metric is one
    output of shape (rows, 1) that never falls with the horizon: see MetricContract. A draft's
    horizon may be NaN, which asks for its counts at first sight, as trending lists show them.
    Intervals go by tier and age band; by the tier alone where there is no `age_column`.
    """

    version: Literal[1] = 1
    situation: Literal["published", "draft"]
    feature_service: str
    world: str
    columns: tuple[Column, ...]
    horizon_column: str
    metrics: dict[str, MetricContract]
    tier_column: str
    age_column: str | None = None
    trained_until: str
    dataset_digest: str
    schema_hash: str
    seed: int
    digests: dict[str, str]


class OffsetTable(_Frozen):
    """Calibrated errors by horizon: three ascending columns, each non-decreasing in it."""

    horizons: tuple[int, ...]
    p10: tuple[float, ...]
    p50: tuple[float, ...]
    p90: tuple[float, ...]
    n: tuple[int, ...]

    def at(self, horizons: Sequence[float]) -> NDArray[np.float64]:
        """Give the offsets at some horizons, interpolated, shape (len(horizons), 3)."""
        curves = (self.p10, self.p50, self.p90)
        return np.column_stack([np.interp(horizons, self.horizons, curve) for curve in curves])


class Intervals(_Frozen):
    """Offset tables by metric, then by group: a tier and age band, `1e5@to_36h`.

    `all@to_36h` serves the tiers without a table at that age, `all` those that are left.
    """

    tables: dict[str, dict[str, OffsetTable]]

    def table(self, metric: str, group: str) -> OffsetTable:
        """Give the table of a group, or the next wider one where the group was too small."""
        tables = self.tables[metric]
        _, at, band = group.partition("@")
        return tables.get(group) or tables.get(f"all{at}{band}") or tables["all"]


def schema_hash(feature_service: str, columns: Sequence[Column]) -> str:
    """Give the digest of an ordered column list: two equal ones read the same vectors."""
    text = "\n".join(
        [feature_service, *(f"{c.view}:{c.name}:{c.kind}:{c.default}" for c in columns)]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bundle_digest(contract: Contract) -> str:
    """Give the digest that names a model: of its contract, which names its parts' digests."""
    return hashlib.sha256(contract.model_dump_json().encode()).hexdigest()


def read_contract(directory: Path) -> Contract:
    """Read and verify the contract of a bundle.

    Raises:
        BundleError: The contract cannot be read, or a part is missing or differs from its digest.
    """
    path = directory / CONTRACT_FILE
    try:
        contract = Contract.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is not the contract of a model bundle: {error}") from error
    for name in DIGESTED_FILES:
        part = directory / name
        if not part.is_file():
            raise BundleError(f"{part} is missing from the bundle")
        if file_digest(part) != contract.digests.get(name):
            raise BundleError(f"{part} differs from the digest in its contract")
    if schema_hash(contract.feature_service, contract.columns) != contract.schema_hash:
        raise BundleError(f"the columns in {path} differ from its schema hash")
    return contract


def read_intervals(directory: Path) -> Intervals:
    """Read the calibrated offsets of a bundle.

    Raises:
        BundleError: They cannot be read, or have another shape than this version knows.
    """
    path = directory / INTERVALS_FILE
    try:
        return Intervals.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} does not hold the offsets of a bundle: {error}") from error
