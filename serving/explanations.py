"""Why a forecast is what it is: exact tree SHAP of the log median, in terms that add up to it."""

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.bundle import NATIVE_DIRECTORY
from feature_repo.transformations.declared import Feature
from feature_repo.transformations.performance import PERFORMANCE_FEATURES
from feature_repo.transformations.profile import PROFILE_FEATURES
from feature_repo.transformations.request import PUBLISHED_REQUEST_FEATURES
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES
from serving.errors import ExplanationUnavailable
from serving.lightgbm_native import NativeModel, NativeModelError
from serving.model import LoadedModel, ModelInput

_TOLERANCE = 1e-4
_SMALL = 0.0005
_DECLARED: tuple[Feature, ...] = (
    *PROFILE_FEATURES,
    *PERFORMANCE_FEATURES,
    *TRACK_RECORD_FEATURES,
    *PUBLISHED_REQUEST_FEATURES,
)
_BY_NAME = {feature.name: feature for feature in _DECLARED}

Term = dict[str, Any]


class Explainer:
    """Explains forecasts of the model being served, in a thread beside the event loop."""

    async def explain(
        self,
        model: LoadedModel,
        directory: Path,
        given: ModelInput,
        metric: str,
        day: int,
        top: int,
    ) -> dict[str, Any]:
        """Give the additive terms of one forecast, largest first.

        Raises:
            ExplanationUnavailable: The bundle has no native models, or they are not its graph's.
        """
        return await asyncio.to_thread(_explain, model, directory, given, metric, day, top)


def _explain(
    model: LoadedModel, directory: Path, given: ModelInput, metric: str, day: int, top: int
) -> dict[str, Any]:
    at = model.position_of[metric]
    count = float(given.counts[0, at])
    quantiles = model.predict(given, (day,))[0, at, 0]
    if np.isnan(quantiles[1]):
        raise ExplanationUnavailable(
            f"There is no forecast of {metric} in {day} days to explain: the count is hidden or "
            "the horizon not supported"
        )
    contributions = _contributions(model, directory, given, metric, day)
    present, final = float(np.log10(1.0 + count)), float(np.log10(1.0 + quantiles[1]))
    shares = dict(zip((*model.columns, "horizon_days"), contributions[:-1].tolist(), strict=True))
    values = given.features[0].tolist()
    features = [
        _term(name, shares[name], value)
        for name, value in zip((*model.columns, "horizon_days"), (*values, day), strict=True)
    ]
    features.sort(key=lambda term: -abs(term["contribution_log10"]))
    shown, others = features[:top], features[top:]
    terms = [
        _term("present_count", present, count),
        _term("usual_growth", float(contributions[-1]), None),
        *shown,
        _term("other_features", sum(term["contribution_log10"] for term in others), None),
    ]
    rest = final - sum(term["contribution_log10"] for term in terms)
    terms.append(_term("post_processing", rest, None))
    return {
        "metric": metric,
        "horizon_days": day,
        "p10": round(float(quantiles[0])),
        "p50": round(float(quantiles[1])),
        "p90": round(float(quantiles[2])),
        "log10_p50": final,
        "terms": terms,
    }


def _contributions(
    model: LoadedModel, directory: Path, given: ModelInput, metric: str, day: int
) -> NDArray[np.float64]:
    """Give SHAP values of the inputs and, last, the model's usual output."""
    row = np.append(given.features[0].astype(np.float64), float(day))
    try:
        native = _native_model(directory / NATIVE_DIRECTORY / f"{metric}.txt")
        contributions = native.contributions(row)
    except NativeModelError as error:
        raise ExplanationUnavailable(
            f"The bundle's native models cannot be read: {error}"
        ) from error
    answered, scale = model.growth_of(given, metric, day), model.scale_of(given, day)
    told = contributions.sum()
    if scale is not None:  # the same for every term: what videos of that age gain by that day
        contributions = contributions * scale
        told = max(told * scale, 0.0)  # growth by scale is never taken for less than none
    if abs(told - answered) > _TOLERANCE:
        raise ExplanationUnavailable("The bundle's native models are not those of its graph")
    return contributions


@lru_cache(maxsize=8)
def _native_model(path: Path) -> NativeModel:
    if not path.is_file():
        raise ExplanationUnavailable("The model being served has no native form to explain")
    return NativeModel(path)


def _term(name: str, contribution: float, value: float | None) -> Term:
    known = None if value is None or value != value else float(value)  # NaN is unknown
    return {
        "name": name,
        "value": known,
        "contribution_log10": contribution,
        "factor": float(10.0**contribution),
        "words": _words(name, contribution, known),
    }


def _words(name: str, contribution: float, value: float | None) -> str:
    if name == "present_count":
        return f"It has {value:,.0f} now" if value is not None else "Its count is hidden"
    percent = (10.0**contribution - 1.0) * 100.0
    effect = (
        "makes no difference"
        if abs(contribution) < _SMALL
        else f"{'raises' if percent > 0 else 'lowers'} the forecast by {abs(percent):,.1f} %"
    )
    if name == "horizon_days":
        return f"Looking {value:g} days ahead {effect}"
    phrases = {
        "usual_growth": "What videos usually gain",
        "other_features": "Everything else together",
        "post_processing": "Calibration on held-out time, and never below the present,",
    }
    if name in phrases:
        return f"{phrases[name]} {effect}"
    feature = _BY_NAME.get(name)
    about = feature.description if feature else name
    unit = f" {feature.unit}" if feature and feature.unit not in ("0/1", "ratio") else ""
    shown = "unknown" if value is None else f"{value:,.4g}{unit}"
    return f"{about} ({name}: {shown}) {effect}"
