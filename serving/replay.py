"""A logged forecast, worked out again from what was logged: it must come out the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from feature_repo.bundle import BundleError
from feature_repo.segments import TIERS
from serving.counts_told import metric_answers
from serving.draft_model import SITUATION as DRAFT
from serving.draft_model import DraftModel
from serving.errors import ServingError
from serving.fallback import KnownCounts
from serving.model import LoadedModel, ModelInput
from serving.question import Question
from serving.registry import MlflowRegistry, ModelCache, model_name


class ModelGone(ServingError):
    """The model of a logged forecast can no longer be had."""


@dataclass(frozen=True)
class Replay:
    """What was answered and what comes out now."""

    logged: dict[str, Any]
    replayed: dict[str, Any]

    @property
    def is_identical(self) -> bool:
        """True when every number, moment and reason is the same."""
        return self.logged == self.replayed


async def logged_model(
    receipt: dict[str, Any], cache: ModelCache, registry: MlflowRegistry
) -> LoadedModel | DraftModel:
    """Load the very model that made a logged forecast, from the cache or the registry.

    Raises:
        ModelGone: Neither has it.
    """
    digest, version = receipt["model_digest"], receipt["model_version"]
    directory = cache.path(digest) or await _fetch(receipt, cache, registry)
    try:
        load = DraftModel if receipt["situation"] == DRAFT else LoadedModel
        model = load(directory, version)
    except BundleError as error:
        raise ModelGone(f"the cached model {directory} is damaged ({error}): delete it") from error
    if model.digest != digest:
        raise ModelGone(f"version {version} in the registry is not the model {digest} any more")
    return model


async def _fetch(receipt: dict[str, Any], cache: ModelCache, registry: MlflowRegistry) -> Path:
    name = model_name(receipt["world"], receipt["situation"])
    number = receipt["model_version"]
    version = await registry.version(name, number)
    if version is None:
        raise ModelGone(f"{name} version {number} is neither cached nor registered any more")
    try:
        return await cache.fetch(registry, version)
    except BundleError as error:
        raise ModelGone(f"{name} version {number} is damaged: {error}") from error


def replay(receipt: dict[str, Any], model: LoadedModel | DraftModel) -> Replay:
    """Work out a logged forecast again from its logged vector."""
    request, vector = receipt["request"], receipt["vector"]
    question = Question(tuple(request["days"]), tuple(request["metrics"]))
    as_of = receipt["as_of"].timestamp()
    if isinstance(model, DraftModel):
        features = _features(vector, model.columns)
        counted = np.rint(model.predict(features, vector["tier"], question.days))[0].tolist()
        answers = metric_answers(model, question, {}, counted, as_of)
        return Replay(receipt["answer"]["metrics"], orjson.loads(orjson.dumps(answers)))
    counts = [_number(vector["counts"][metric]) for metric in model.metrics]
    if vector.get("features") is None:
        known = KnownCounts(None, None, vector["observed_at"], [], tuple(counts), vector["tier"])
        quantiles = model.curves.quantiles(model.metrics, known, as_of, question.days)
    else:
        given = _model_input(vector, counts, model)
        quantiles = np.rint(model.predict(given, question.days))[0].tolist()
    named = dict(zip(model.metrics, counts, strict=True))
    answers = metric_answers(model, question, named, quantiles, as_of)
    return Replay(receipt["answer"]["metrics"], orjson.loads(orjson.dumps(answers)))


def _model_input(vector: dict[str, Any], counts: list[float], model: LoadedModel) -> ModelInput:
    features = _features(vector, model.columns)
    tiers = np.array([TIERS.index(vector["tier"])])
    return ModelInput(features, np.isnan(features), np.array([counts]), tiers)


def _features(vector: dict[str, Any], columns: Sequence[str]) -> NDArray[np.float32]:
    logged = [_number(vector["features"][name]) for name in columns]
    return np.array([logged], dtype=np.float64).astype(np.float32)


def _number(logged: float | None) -> float:
    """A null is NaN."""
    return float("nan") if logged is None else float(logged)
