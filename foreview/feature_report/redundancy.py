"""Which features say the same: clusters by rank correlation; pure."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from training.dataset import TrainingSet, names

Row = dict[str, Any]

ALIKE = 0.9
MOST_ROWS = 5_000


def correlations(asked: TrainingSet) -> "pd.DataFrame":
    """Give the rank correlation of every two features over the rows that know both; 0 for none."""
    step = max(-(-len(asked.features) // MOST_ROWS), 1)
    frame = pd.DataFrame(asked.features[::step].astype(np.float64), columns=names(asked.columns))
    return frame.corr("spearman", min_periods=100).fillna(0.0)


def clusters(correlation: "pd.DataFrame") -> list[Row]:
    """Give features whose rank correlation with each other is 0.9 or more on average.

    Returns:
        A row per cluster of two features or more, largest first: `features` and `least`, the
        smallest absolute correlation between two of them.
    """
    strength = np.abs(correlation.to_numpy(np.float64))
    of = _codes(strength)
    found = []
    for code in np.unique(of):
        at = np.flatnonzero(of == code)
        if len(at) > 1:
            least = float(strength[np.ix_(at, at)].min())
            found.append(
                {"features": [str(correlation.columns[int(i)]) for i in at], "least": least}
            )
    return sorted(found, key=lambda row: (-len(row["features"]), row["features"]))


def _codes(strength: NDArray[np.float64]) -> NDArray[np.int64]:
    distance = np.clip(1.0 - (strength + strength.T) / 2.0, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")
    return fcluster(tree, 1.0 - ALIKE, "distance")
