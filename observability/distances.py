"""How far two samples of one number are apart; null is a value of its own; pure.

PSI: population stability index over the reference's deciles, as credit scoring uses it. KS:
Kolmogorov-Smirnov. Wasserstein: the mean distance to move, in standard deviations of the
reference.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

FloatArray = NDArray[np.float64]

BINS = 10
# Half a row in every bin, so that an empty one has a finite logarithm.
_PSEUDO_COUNT = 0.5


class Distances(NamedTuple):
    """Distances of a current sample from the reference.

    `bins` is how many PSI had to compare: chance alone gives it about (bins - 1)(1/n + 1/m).
    KS and Wasserstein compare the known values only and are None where either side has none.
    """

    psi: float
    bins: int
    ks: float | None
    wasserstein: float | None


def distances(reference: FloatArray, weights: FloatArray, current: FloatArray) -> Distances:
    """Compare a current sample, shape (m,), with a weighted reference, shape (n,)."""
    known, is_known = ~np.isnan(reference), ~np.isnan(current)
    edges = _edges(reference[known], weights[known])
    expected = _bin_shares(reference, weights, edges)
    actual = _bin_shares(current, np.ones(len(current)), edges)
    ks = wasserstein = None
    if known.any() and is_known.any() and weights[known].sum() > 0:
        pair = reference[known], weights[known], current[is_known]
        ks, wasserstein = _ks(*pair), _wasserstein(*pair)
    psi = index(expected, actual, effective_size(weights), len(current))
    return Distances(psi, int(np.sum((expected > 0) | (actual > 0))), ks, wasserstein)


def index(expected: FloatArray, actual: FloatArray, n: float, m: float) -> float:
    """Give the population stability index of two lists of shares, of n and m rows."""
    used = (expected > 0) | (actual > 0)
    bins = int(used.sum())
    was = (expected[used] * n + _PSEUDO_COUNT) / (n + _PSEUDO_COUNT * bins)
    now = (actual[used] * m + _PSEUDO_COUNT) / (m + _PSEUDO_COUNT * bins)
    return float(np.sum((now - was) * np.log(now / was)))


def effective_size(weights: FloatArray) -> float:
    """Give Kish's effective number of rows of a weighted sample."""
    return float(weights.sum() ** 2 / np.sum(weights**2)) if weights.any() else 0.0


def matched_weights(reference: NDArray[np.str_], current: NDArray[np.str_]) -> FloatArray:
    """Weigh reference rows so that their strata are as frequent as the current sample's.

    Whether much is asked about young videos or old ones is a matter of who asks. Without this it
    would look like drift of everything that changes with age.
    """
    weights = np.zeros(len(reference))
    for stratum in np.unique(current):
        inside = reference == stratum
        if inside.any():
            weights[inside] = np.mean(current == stratum) / inside.sum()
    return weights


def mapped_to(
    reference: FloatArray, weights: FloatArray, current: FloatArray, random: np.random.Generator
) -> FloatArray:
    """Move reference values to the current distribution, each keeping its rank; null sorts first.

    Ties are broken at random, so that a share of them moves where shares differ. Where the two
    distributions are equal nothing moves, but for chance.
    """
    filled = np.where(np.isnan(reference), -np.inf, reference)
    order = np.lexsort((random.random(len(filled)), filled))
    share = np.cumsum(weights[order]) - weights[order] / 2
    ordered = np.sort(np.where(np.isnan(current), -np.inf, current))
    at = np.clip((share / weights.sum() * len(ordered)).astype(int), 0, len(ordered) - 1)
    moved = np.empty(len(filled))
    moved[order] = ordered[at]
    # A value that stands for the same thing on both sides stays to the bit.
    return np.where(np.isneginf(moved), np.nan, moved)


def _edges(known: FloatArray, weights: FloatArray) -> FloatArray:
    """Give the inner borders of the reference's deciles; few values get a bin each."""
    values = np.unique(known[weights > 0])
    if len(values) <= BINS:  # what lies between two of them, or outside, is in no bin of theirs
        return np.unique(np.concatenate([values, np.nextafter(values, np.inf)]))
    order = np.argsort(known, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    at = np.searchsorted(share, np.arange(1, BINS) / BINS)
    return np.unique(known[order][np.minimum(at, len(known) - 1)])


def _bin_shares(values: FloatArray, weights: FloatArray, edges: FloatArray) -> FloatArray:
    """Give the share of rows in each bin; the last one is of nulls."""
    unknown = np.isnan(values)
    bin_ = np.where(unknown, len(edges) + 1, np.searchsorted(edges, values, side="right"))
    counts = np.bincount(bin_, weights=weights, minlength=len(edges) + 2)
    return counts / max(float(counts.sum()), 1e-300)


def _ks(reference: FloatArray, weights: FloatArray, current: FloatArray) -> float:
    order = np.argsort(reference, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weights[order]) / weights.sum()])
    at = np.unique(np.concatenate([reference, current]))
    was = below[np.searchsorted(reference[order], at, side="right")]
    now = np.searchsorted(np.sort(current), at, side="right") / len(current)
    return float(np.max(np.abs(was - now)))


def _wasserstein(reference: FloatArray, weights: FloatArray, current: FloatArray) -> float | None:
    mean = np.average(reference, weights=weights)
    spread = float(np.sqrt(np.average((reference - mean) ** 2, weights=weights)))
    if spread == 0:
        return None
    return float(wasserstein_distance(reference, current, weights, None)) / spread
