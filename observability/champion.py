"""The model being watched: its bundle from MLflow, by REST, and what it forecasts."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo import bundle
from feature_repo.segments import interval_group, tier
from feature_repo.targets import log_count, quantiles
from observability.errors import NothingToCompare, ObservabilityError

FloatArray = NDArray[np.float64]

_FILES = (bundle.CONTRACT_FILE, *bundle.DIGESTED_FILES, bundle.REFERENCE_FILE)
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Champion:
    """A verified bundle, open.

    Attributes:
        columns: Names of the model's features, in order.
        reference: What the model was fitted on, a sample, shape (rows, len(columns)).
    """

    version: str
    contract: bundle.Contract
    columns: tuple[str, ...]
    reference: FloatArray
    intervals: bundle.Intervals
    session: onnxruntime.InferenceSession

    def growth(self, features: FloatArray, metric: str, days: int) -> FloatArray:
        """Give the model's own output for rows of features, shape (rows,), in decades."""
        horizon = np.full((len(features), 1), days, dtype=np.float32)
        rows = np.hstack([features.astype(np.float32), horizon])
        output = self.contract.metrics[metric].output
        answer = self.session.run([output], {bundle.MODEL_INPUT: rows})[0]
        return np.maximum(answer[:, 0].astype(np.float64), 0.0)

    def median_growth(self, features: FloatArray, metric: str, days: int) -> FloatArray:
        """Give the decades of growth that would be answered as the median, shape (rows,)."""
        position = {name: at for at, name in enumerate(self.columns)}
        tiers = tier(features[:, position[self.contract.tier_column]])
        age = self.contract.age_column
        groups = interval_group(tiers, features[:, position[age]]) if age else tiers
        offsets = np.empty((len(features), 3))
        for group in np.unique(groups):
            table = self.intervals.table(metric, str(group))
            offsets[groups == group] = table.at([days])
        growth = self.growth(features, metric, days)
        return log_count(quantiles(np.zeros(len(features)), growth, offsets)[:, 1])

    def horizons(self, metric: str) -> tuple[int, ...]:
        """Give the horizons that are answered for a metric; none for one that is not."""
        found = self.contract.metrics.get(metric)
        return () if found is None else found.horizons


class ModelRegistry:
    """An MLflow server, asked for the champion of a world."""

    def __init__(self, tracking_uri: str) -> None:
        self._address = tracking_uri.rstrip("/")
        self._client = httpx.Client(base_url=self._address, timeout=_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        """Open connections as they are needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close them."""
        self._client.close()

    def champion(self, world: str) -> Champion:
        """Fetch the champion for published videos of a world.

        Raises:
            NothingToCompare: The world has no champion.
            ObservabilityError: The registry does not answer, or not with a sound bundle.
        """
        name = f"foreview-published-{world}"
        found = self._get(
            "/api/2.0/mlflow/registered-models/alias", {"name": name, "alias": "champion"}
        )
        if found.status_code in (httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST):
            raise NothingToCompare(f"{name} has no champion: run `foreview train` first")
        version = found.raise_for_status().json()["model_version"]
        with TemporaryDirectory() as directory:
            for file in _FILES:
                answer = self._get(*_artifact(version, file))
                if answer.is_error:
                    raise ObservabilityError(
                        f"{name} version {version['version']} has no {file} in the registry"
                    )
                (Path(directory) / file).write_bytes(answer.content)
            return open_champion(Path(directory), str(version["version"]))

    def _get(self, route: str, query: dict[str, str]) -> httpx.Response:
        try:
            return self._client.get(route, params=query)
        except httpx.HTTPError as error:
            raise ObservabilityError(
                f"the model registry at {self._address} (FOREVIEW_MLFLOW_TRACKING_URI) does not "
                f"answer: {type(error).__name__}"
            ) from error


def open_champion(directory: Path, version: str) -> Champion:
    """Open a bundle on disk; raises ObservabilityError where it is not sound."""
    try:
        contract = bundle.read_contract(directory)
    except bundle.BundleError as error:
        raise ObservabilityError(f"version {version} is damaged: {error}") from error
    columns = tuple(column.name for column in contract.columns)
    reference = pq.read_table(directory / bundle.REFERENCE_FILE, columns=list(columns))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = (directory / bundle.MODEL_FILE).read_bytes()
    return Champion(
        version,
        contract,
        columns,
        np.column_stack([reference[name].to_numpy().astype(np.float64) for name in columns]),
        bundle.read_intervals(directory),
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]),
    )


def _artifact(version: dict[str, Any], file: str) -> tuple[str, dict[str, str]]:
    """Give the route and query of a file; a source `runs:/` the server resolves only by run."""
    source = str(version["source"])
    if source.startswith("runs:/"):
        run_id, _, path = source.removeprefix("runs:/").partition("/")
        return "/get-artifact", {"run_uuid": run_id, "path": f"{path}/{file}".lstrip("/")}
    query = {"name": version["name"], "version": str(version["version"]), "path": file}
    return "/model-versions/get-artifact", query
