"""The multivariate models of Pinto, Almeida and Goncalves (WSDM 2013), for irregular looks; pure.

Both predict the count at a horizon as a linear function of how the count came about, and minimize
the mean relative squared error, sum((forecast / truth - 1)^2). The paper has a gain per day since
the upload; looks at a video are sparser here, so its count is divided into what it gained in the
last day, the two before, the four before those, and earlier; a gain nobody saw counts as earlier.
One model per horizon and band of ages: it stands for the paper's reference time.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from feature_repo.segments import AGE_BAND_EDGES_HOURS
from training.dataset import AGE_COLUMN, TrainingSet, names

FloatArray = NDArray[np.float64]
Predict = Callable[[TrainingSet], FloatArray]

WINDOWS_DAYS = (1, 3, 7)
CENTERS = 50
RIDGE = 1e-2
# Fewer labels than this say too little about so many coefficients.
LEAST_LABELS = 200
MOST_LABELS = 20_000

Transform = Callable[[FloatArray], FloatArray]


def multivariate_linear(fitted_on: TrainingSet, metric: str) -> Predict:
    """Fit the ML model: one coefficient per gain.

    Source: Pinto, Almeida, Goncalves, Using early view patterns to predict the popularity of
    YouTube videos, WSDM 2013, section 3.2.
    """
    return _fitted(fitted_on, metric, lambda _gains: lambda gains: gains, ridge=0.0)


def multivariate_rbf(fitted_on: TrainingSet, metric: str) -> Predict:
    """Fit the MRBF model: the gains and their similarity to those of some training videos.

    Source: the same, section 3.3: Gaussian kernels around videos drawn at random, with a ridge.
    Distances are between logs of gains, since counts here span eight decades.
    """
    return _fitted(fitted_on, metric, _with_kernels, ridge=RIDGE)


def relative_least_squares(given: FloatArray, counts: FloatArray, ridge: float) -> FloatArray:
    """Give the coefficients that minimize sum((given @ c / counts - 1)^2) + ridge * n * |c|^2.

    Columns are scaled to unit mean square first, so that the ridge is the same for all.
    """
    relative = given / counts[:, np.newaxis]
    scale = np.sqrt(np.mean(relative**2, axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = relative / scale
    normal = scaled.T @ scaled + ridge * len(counts) * np.eye(scaled.shape[1])
    target = scaled.T @ np.ones(len(counts))
    return np.asarray(np.linalg.lstsq(normal, target, rcond=None)[0] / scale)


def gains(asked: TrainingSet, metric: str) -> FloatArray:
    """Divide present counts into their gains; shape (questions, windows + 1), rows sum to them."""
    columns = names(asked.columns)
    count = 10.0 ** asked.present[metric] - 1.0
    parts, counted = [], np.zeros(len(count))
    for window in WINDOWS_DAYS:
        name = f"log10_{metric}_growth_{window}d"
        if name not in columns:
            continue
        growth = asked.features[:, columns.index(name)].astype(np.float64) * window
        gained = np.clip((count + 1.0) * (1.0 - 10.0**-growth), 0.0, count)
        upto = np.where(np.isnan(gained), counted, np.maximum(gained, counted))
        parts.append(upto - counted)
        counted = upto
    return np.column_stack([*parts, count - counted])


def _fitted(
    fitted_on: TrainingSet, metric: str, prepare: Callable[[FloatArray], Transform], ridge: float
) -> Predict:
    seen = gains(fitted_on, metric)
    truth = 10.0 ** fitted_on.truth(metric) - 1.0
    row = fitted_on.labels["row"].to_numpy()
    models = {}
    for key, chosen in _cells(fitted_on).items():
        at = np.flatnonzero(chosen & (truth >= 1) & ~np.isnan(seen[row]).any(axis=1))
        if len(at) < LEAST_LABELS:
            continue
        at = at[:: max(len(at) // MOST_LABELS, 1)]
        transform = prepare(seen[row[at]])
        given = transform(seen[row[at]])
        models[key] = transform, relative_least_squares(given, truth[at], ridge)

    def predict(asked: TrainingSet) -> FloatArray:
        known, row = gains(asked, metric), asked.labels["row"].to_numpy()
        growth = np.full(len(row), np.nan)
        for key, chosen in _cells(asked).items():
            if key in models and chosen.any():
                transform, coefficients = models[key]
                counts = np.maximum(transform(known[row[chosen]]) @ coefficients, 0.0)
                grown = np.log10(1.0 + counts) - asked.present[metric][row[chosen]]
                growth[chosen] = np.maximum(grown, 0.0)
        return growth

    return predict


def _cells(asked: TrainingSet) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """Mark the labels of each horizon and band of ages."""
    row = asked.labels["row"].to_numpy()
    hours = asked.features[:, names(asked.columns).index(AGE_COLUMN)].astype(np.float64)
    band = np.digitize(hours, AGE_BAND_EDGES_HOURS)[row]
    days = np.rint(asked.labels["horizon_days"].to_numpy(np.float64)).astype(int)
    return {
        (int(day), int(of)): (days == day) & (band == of)
        for day in np.unique(days)
        for of in np.unique(band)
    }


def _with_kernels(seen: FloatArray) -> Transform:
    """Give the transform that adds kernels around some of the videos seen, scaled by the count."""
    logs = np.log10(1.0 + seen)
    centers = logs[:: max(len(logs) // CENTERS, 1)][:CENTERS]
    width = np.median(np.linalg.norm(logs[:, np.newaxis] - centers, axis=2)) or 1.0

    def transform(given: FloatArray) -> FloatArray:
        apart = np.linalg.norm(np.log10(1.0 + given)[:, np.newaxis] - centers, axis=2)
        # A kernel is about 1; times the count it says by how much a video like these multiplies.
        kernels = np.exp(-(apart**2) / (2.0 * width**2)) * given.sum(axis=1, keepdims=True)
        return np.hstack([given, kernels])

    return transform
